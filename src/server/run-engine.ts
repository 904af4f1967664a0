import type { Client } from "@temporalio/client";

import type { RunState } from "../core/contract.ts";
import type { ApprovalId, RunId } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import { cancelRun, fetchHistories, fetchHistory, queryRunState, startAgentRun, wakeRun } from "../temporal/index.ts";
import type { RecordedHistory } from "../temporal/index.ts";

/** What the server asks of Temporal. All throw `temporal_unavailable` where it does not answer. */
export type RunEngine = {
  /** Safe to repeat. */
  start(run: RunId): Promise<void>;
  /** Throws `run_not_found` where no workflow of the run is open. */
  wake(run: RunId, request: ApprovalId): Promise<void>;
  cancel(run: RunId): Promise<void>;
  state(run: RunId): Promise<RunState>;
  histories(run: RunId, firstTemporalRunId: string): Promise<readonly RecordedHistory[]>;
  /** Of one execution; undefined where Temporal has it no more. */
  history(run: RunId, temporalRunId: string): Promise<Json | undefined>;
  isReachable(): Promise<boolean>;
};

const reachableWithinMs = 2_000;

/** The real one. `taskQueue` is the queue that the workers listen to. */
export function temporalEngine(client: Client, taskQueue: string): RunEngine {
  return {
    start: (run) => startAgentRun(client, { run, taskQueue }),
    wake: (run, request) => wakeRun(client, run, request),
    cancel: (run) => cancelRun(client, run),
    state: (run) => queryRunState(client, run),
    histories: (run, first) => fetchHistories(client, run, first),
    history: (run, temporalRunId) => fetchHistory(client, run, temporalRunId),
    async isReachable() {
      const { connection } = client;
      return connection
        .withDeadline(Date.now() + reachableWithinMs, () => connection.workflowService.getSystemInfo({}))
        .then(
          () => true,
          () => false,
        );
    },
  };
}
