import { setTimeout as sleep } from "node:timers/promises";

import { ApiError } from "../api/index.ts";
import type { RunView, WatchEvent } from "../api/index.ts";
import type { Cli } from "./cli.ts";
import { CliError } from "./cli-error.ts";

export type Closed = Extract<WatchEvent, { type: "closed" }>;

const retryMs = 1_000;
const retries = 5;

/** Follows a run until it is closed; undefined where Ctrl-C came first. A broken stream is taken up again. */
export async function followRun(
  cli: Cli,
  run: RunView["id"],
  onEvent: (event: WatchEvent) => void,
): Promise<Closed | undefined> {
  const seen = new Set<string>();
  for (let failures = 0; ; failures += 1) {
    try {
      for await (const event of cli.client.watch(run, cli.interrupted)) {
        // A stream starts with what happened so far: after a break, that was shown before.
        const print = event.type === "delta" ? undefined : JSON.stringify(event);
        if (print !== undefined && seen.has(print)) continue;
        if (print !== undefined) seen.add(print);
        failures = 0;
        onEvent(event);
        if (event.type === "closed") return event;
      }
      if (cli.interrupted.aborted) return undefined;
      throw new ApiError("stream_broken", "the stream ended before the run closed", {
        hint: `countersign run watch ${run}`,
      });
    } catch (error) {
      const broken =
        error instanceof ApiError && (error.code === "stream_broken" || error.code === "server_unreachable");
      if (!broken || failures >= retries || cli.interrupted.aborted) throw error;
      await sleep(retryMs);
    }
  }
}

/** Throws `run_failed` for a run that did not complete: the command's exit code says so. */
export function assertCompleted(run: RunView): void {
  if (run.status === "completed") return;
  const why = run.failure === null ? "" : `: ${run.failure.message}`;
  throw new CliError("run_failed", `run ${run.id} ${run.status}${why}`, { hint: `countersign run show ${run.id}` });
}
