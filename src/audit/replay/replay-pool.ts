import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";

import type { RunRecord } from "../../core/run-record.ts";
import { sha256 } from "../../store/canonical.ts";
import type { ReplayTask } from "./replay-process.ts";
import { notChecked, reportOf } from "../report.ts";
import type { AuditReport } from "../report.ts";

/** Replays runs in processes of its own, one for each core, since workflow code keeps its thread. */
export type ReplayPool = {
  /** As `replayRun`. `incomplete` where the code did not come to an end, or took its process with it. */
  replay(record: RunRecord, code: string | undefined): Promise<AuditReport>;
  /** How many are worth having under way at once. */
  readonly atOnce: number;
  close(): void;
};

type Answer = { readonly id: number; readonly report?: AuditReport; readonly error?: string };
type Task = {
  readonly record: RunRecord;
  readonly code: string | undefined;
  readonly done: (report: AuditReport) => void;
};
type Worker = { readonly child: ChildProcess; readonly codes: Set<string>; busy: boolean };

const script = fileURLToPath(new URL("./replay-process.ts", import.meta.url));
/** The longest that one run may take. */
const defaultTimeoutMs = 120_000;

export function createReplayPool({
  processes = availableParallelism(),
  timeoutMs = defaultTimeoutMs,
}: { readonly processes?: number; readonly timeoutMs?: number } = {}): ReplayPool {
  const workers = new Set<Worker>();
  const waiting: Task[] = [];
  // Hashing half a megabyte for each of a thousand runs would cost as much as replaying them.
  const digests = new Map<string, string>();
  let next = 0;

  function startWorker(): Worker {
    const child = fork(script, [], { execArgv: [], stdio: ["ignore", "ignore", "inherit", "ipc"] });
    const worker: Worker = { child, codes: new Set(), busy: false };
    // A process is started where all others are at work, and no more than there are cores.
    workers.add(worker);
    return worker;
  }

  function pump(): void {
    while (waiting.length > 0) {
      const idle = [...workers].find(({ busy }) => !busy);
      if (idle === undefined && workers.size >= processes) return;
      const task = waiting.shift();
      if (task !== undefined) give(idle ?? startWorker(), task);
    }
  }

  function give(worker: Worker, { record, code, done }: Task): void {
    const { child, codes } = worker;
    const id = (next += 1);
    const digest = code === undefined ? undefined : digestOf(code);
    const timer = setTimeout(
      () => end(`the workflow code did not come to an end in ${timeoutMs / 1_000} s`),
      timeoutMs,
    );
    const exited = (): void => end("the process that replays ended");
    const answered = ({ id: of, report, error }: Answer): void => {
      if (of !== id) return;
      if (report === undefined) end(error ?? "the run could not be replayed");
      else settle(report);
    };
    function settle(report: AuditReport): void {
      clearTimeout(timer);
      child.off("exit", exited).off("error", exited).off("message", answered);
      worker.busy = false;
      done(report);
      pump();
    }
    /** Nothing is known of the state that it is in: the next run gets another. */
    function end(why: string): void {
      workers.delete(worker);
      child.kill("SIGKILL");
      settle(reportOf([notChecked("history", why)]));
    }
    worker.busy = true;
    child.on("exit", exited).on("error", exited).on("message", answered);
    const known = digest === undefined || codes.has(digest);
    if (digest !== undefined) codes.add(digest);
    child.send({ id, record, digest, code: known ? undefined : code } satisfies ReplayTask, (error) => {
      if (error !== null) exited();
    });
  }

  function digestOf(code: string): string {
    const digest = digests.get(code) ?? sha256(code);
    digests.set(code, digest);
    return digest;
  }

  return {
    atOnce: processes * 2,
    replay: (record, code) =>
      new Promise((done) => {
        waiting.push({ record, code, done });
        pump();
      }),
    close() {
      for (const { child } of workers) child.kill();
      workers.clear();
    },
  };
}
