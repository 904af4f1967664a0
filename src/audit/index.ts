/**
 * What auditors ask of the record, by idea: `replay/` runs workflow code again on its histories, and knows their seals and losses; `decisions/`
 * decides again; `approvals/` verifies whatever people signed; `ledger/` compares the record with the log; `backtest/` decides other policies on
 * past runs; `fork/` runs a past run on in another way; `export/` writes evidence bundles, and `offline/` verifies them without any server.
 */
export { replayRun, verifyRun } from "./audit.ts";
export { peopleKeyOf } from "./approvals/keys.ts";
export { createReplayPool } from "./replay/replay-pool.ts";
export type { ReplayPool } from "./replay/replay-pool.ts";
export { continuedAs, eventsOf, executionHasEnded, hasEnded } from "./replay/history-events.ts";
export { lostExecutions } from "./replay/losses.ts";
export { createReplayers } from "./replay/replayers.ts";
export type { Replayers } from "./replay/replayers.ts";
export { exportBundle } from "./export/export-bundle.ts";
export type { Exported } from "./export/export-bundle.ts";
export type { BundleSource, ExportOptions } from "./export/bundle-source.ts";
export { erasureOf } from "./erasure.ts";
export type { Erasure } from "./erasure.ts";
export type { AuditCheck, AuditReport } from "./report.ts";
export { timelineOf } from "./timeline.ts";
export type { TimelineEntry } from "./timeline.ts";
export { backtest } from "./backtest/backtest.ts";
export type { BacktestExample, BacktestReport, BacktestRequest } from "./backtest/backtest.ts";
export { explainDecision } from "./backtest/explain.ts";
export type { DecisionExplanation } from "./backtest/explain.ts";
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
