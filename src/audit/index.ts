export { replayRun, verifyRun } from "./audit.ts";
export { hasEnded } from "./history-events.ts";
export type { AuditCheck, AuditReport } from "./report.ts";
export { timelineOf } from "./timeline.ts";
export type { TimelineEntry } from "./timeline.ts";
export { backtest } from "./backtest.ts";
export type { BacktestExample, BacktestReport, BacktestRequest } from "./backtest.ts";
export { explainDecision } from "./backtest-explain.ts";
export type { DecisionExplanation } from "./backtest-explain.ts";
