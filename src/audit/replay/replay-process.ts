/** A process that replays runs: started by `replay-pool.ts`, with one message for each run, and one back. */
import v8 from "node:v8";
import vm from "node:vm";

import type { RunRecord } from "../../core/run-record.ts";
import { replayRun } from "../audit.ts";
import { createReplayers } from "./replayers.ts";

export type ReplayTask = {
  readonly id: number;
  readonly record: RunRecord;
  /** The workflow code's digest, and the code itself where this process has not had it yet. */
  readonly digest: string | undefined;
  readonly code: string | undefined;
};

// What Temporal's SDK spends most of a replay on, and nobody here wants; this process does nothing else. It keeps the stack of every
// promise, for a query that is never asked, and says itself that it can do without.
v8.promiseHooks.createHook = () => () => undefined;
// It gives each call into the workflow 49 days, which starts a thread each time. Who waits for this process has a time-out of its own.
// oxlint-disable-next-line typescript/unbound-method -- called with its own `this` below
const run = vm.Script.prototype.runInContext;
vm.Script.prototype.runInContext = function runInContext(context, { timeout: _none, ...options } = {}) {
  return run.call(this, context, options);
};

const replayers = createReplayers();
const codes = new Map<string, string>();

process.on("message", (task: ReplayTask) => {
  const { id, record, digest, code } = task;
  if (digest !== undefined && code !== undefined) codes.set(digest, code);
  void replayRun(record, digest === undefined ? undefined : codes.get(digest), replayers).then(
    (report) => process.send?.({ id, report }),
    (error: unknown) => process.send?.({ id, error: error instanceof Error ? error.message : "replay failed" }),
  );
});
// Whoever started it is gone, or done.
process.on("disconnect", () => process.exit(0));
