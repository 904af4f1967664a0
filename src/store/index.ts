export { canonicalBytes, CanonicalError, canonicalText, digestOf, sha256 } from "./canonical.ts";
export { createPool, inOneTrip, inSnapshot, inTransaction, StoreError } from "./database.ts";
export type { Pool, Tx } from "./database.ts";
export { archiveExecution, endedExecutions, executionsOf, loseExecution, noteExecution } from "./executions.ts";
export type { ExecutionRow } from "./executions.ts";
export { migrate } from "./migrate.ts";
export {
  getPayload,
  getPayloads,
  loadOrCreatePayloadKeys,
  maxPayloadBytes,
  payloadKeysOf,
  putPayloads,
  sealedRows,
  sealedSql,
  sealPayload,
  subjectKey,
  writeSealed,
} from "./payloads.ts";
export type { PayloadKeys, SealedPayload } from "./payloads.ts";
export { createRun, decisionsOf, listRuns, runById, stepsOf } from "./runs.ts";
export type { DecisionRow, NewRun, RunFilter, RunRow, StepRow, StepState } from "./runs.ts";
export { listenForDeltas, publishDelta, renewWatch } from "./watch.ts";
export type { WatchDelta } from "./watch.ts";
