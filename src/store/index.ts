export {
  canonicalBytes,
  CanonicalError,
  canonicalText,
  contentDigest,
  digestOf,
  maxPayloadBytes,
  sha256,
} from "./canonical.ts";
export { createPool, inOneTrip, inSnapshot, inTransaction, StoreError, timeOf } from "./database.ts";
export type { Pool, Tx } from "./database.ts";
export { archiveExecution, endedExecutions, executionsOf, loseExecution, noteExecution } from "./executions.ts";
export type { ExecutionRow } from "./executions.ts";
export { canRewriteLedger, grantAppRole } from "./app-role.ts";
export { migrate } from "./migrate.ts";
export { dataKeyOf, holdDataKey, newRunKey, runContentKey, saltOf, sealingOf } from "./data-keys.ts";
export type { DataKey } from "./data-keys.ts";
export { vaultKeyProvider } from "./vault-provider.ts";
export { countPayloads, destroyDataKey, destroyRunKey, lockContents, runsToErase } from "./erasure.ts";
export type { ContentsOf, RunToErase } from "./erasure.ts";
export { holdById, holdsOn, liftHold, listHolds, placeHold } from "./holds.ts";
export type { LegalHold } from "./holds.ts";
export { retentionsInForce, runsPastRetention, setRetention } from "./retention.ts";
export { openBytes, sealBytes } from "./key-provider.ts";
export type { KeyProvider } from "./key-provider.ts";
export { keyedDigest, loadOrCreatePayloadKeys, payloadKeysOf, subjectKey } from "./payload-keys.ts";
export type { ContentKey, PayloadKeys, Sealing } from "./payload-keys.ts";
export {
  getContents,
  getPayload,
  getPayloads,
  putPayloads,
  sealedRows,
  sealedSql,
  sealPayload,
  writeSealed,
} from "./payloads.ts";
export type { Content, SealedPayload } from "./payloads.ts";
export { createRun, decisionsOf, listRuns, runById, stepsOf } from "./runs.ts";
export type { DecisionRow, NewRun, RunFilter, RunRow, StepRow } from "./runs.ts";
export type { StepState } from "../core/states.ts";
export { teamList } from "./team-filter.ts";
export type { TeamFilter } from "./team-filter.ts";
export { listenForDeltas, publishDelta, renewWatch } from "./watch.ts";
export type { WatchDelta } from "./watch.ts";
