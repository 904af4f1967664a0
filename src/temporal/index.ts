export { bundleWorkflows, readBundle, TemporalError } from "./bundle.ts";
export type { WorkflowBundle } from "./bundle.ts";
export { cancelRun, connectTemporal, queryRunState, startAgentRun, wakeRun } from "./client.ts";
export type { TemporalConnection } from "./client.ts";
// Only this room knows that a workflow is gone, so it is what hands out the way to close a run without one.
export { closeLostRun } from "../gate/index.ts";
export { createPayloadCodec, runOfPayload } from "./codec.ts";
export { fetchHistories, fetchHistory } from "./history.ts";
export type { RecordedHistory } from "./history.ts";
export { startWorker } from "./worker.ts";
export type { AgentWorker, AgentWorkerOptions } from "./worker.ts";
