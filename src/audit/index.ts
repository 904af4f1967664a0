export { replayRun, verifyRun } from "./audit.ts";
export { peopleKeyOf } from "./keys.ts";
export { createReplayPool } from "./replay-pool.ts";
export type { ReplayPool } from "./replay-pool.ts";
export { continuedAs, eventsOf, executionHasEnded, hasEnded } from "./history-events.ts";
export { lostExecutions } from "./losses.ts";
export { createReplayers } from "./replayers.ts";
export type { Replayers } from "./replayers.ts";
export { exportBundle } from "./export-bundle.ts";
export type { BundleSource, Exported, ExportOptions } from "./export-bundle.ts";
export { erasureOf } from "./erasure.ts";
export type { Erasure } from "./erasure.ts";
export type { AuditCheck, AuditReport } from "./report.ts";
export { timelineOf } from "./timeline.ts";
export type { TimelineEntry } from "./timeline.ts";
export { backtest } from "./backtest.ts";
export type { BacktestExample, BacktestReport, BacktestRequest } from "./backtest.ts";
export { explainDecision } from "./backtest-explain.ts";
export type { DecisionExplanation } from "./backtest-explain.ts";
export {
  answerInFork,
  approvalAnswers,
  carriedBy,
  createForkAnswers,
  effectAnswers,
  ForkError,
  planFork,
  readForked,
  reportFork,
  seedFork,
} from "./fork/index.ts";
export type {
  ApprovalAnswers,
  EffectAnswers,
  ForkPlan,
  ForkReport,
  ForkSide,
  StepComparison,
  WouldWait,
} from "./fork/index.ts";
