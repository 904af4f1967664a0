import { setTimeout as sleep } from "node:timers/promises";

import type { StepView, WatchEvent } from "../api/index.ts";
import type { ApprovalId, RunId } from "../core/ids.ts";
import { decisionsOf, renewWatch, stepsOf } from "../store/index.ts";
import type { DecisionRow, RunRow, StepRow, WatchDelta } from "../store/index.ts";
import { approvalsOfRun } from "./approval-views.ts";
import { outputOf, stepsWithContents } from "./contents.ts";
import type { Services } from "./dependencies.ts";
import type { Send } from "./server-sent-events.ts";
import { existingRun } from "./handlers/runs.ts";
import { viewOfDecision, viewOfRun, viewOfStep } from "./views.ts";

const pollMs = 250;
/** Their contents are in memory at once. */
const stepsAtOnce = 16;
/** A third of what a watcher's interest lasts. */
const renewMs = 5_000;

/** Sends what happened so far and what happens next, until the run is closed or `signal` is aborted. */
export async function watchRun(
  services: Services,
  run: RunId,
  send: Send<WatchEvent>,
  signal: AbortSignal,
): Promise<void> {
  const watcher = new RunWatcher(services, send);
  const early: WatchDelta[] = [];
  let nudge = new AbortController();
  const unsubscribe = services.deltas.subscribe(run, (delta) => {
    if (watcher.hasTold(delta.seq)) {
      void send({ type: "delta", seq: delta.seq, text: delta.text });
      return;
    }
    // Words of a step come after the decision that let it speak.
    early.push(delta);
    nudge.abort();
  });
  let renewed = 0;
  try {
    while (!signal.aborted) {
      const now = services.now();
      if (now.getTime() - renewed >= renewMs) {
        await renewWatch(services.pool, run, now);
        renewed = now.getTime();
      }
      const spoken = early.splice(0);
      // The run is read first: once it is closed, nothing is added to what is read after it.
      const row = await existingRun(services.pool, run);
      await watcher.look(row);
      for (const { seq, text } of spoken) if (!watcher.isFinished(seq)) await send({ type: "delta", seq, text });
      if (row.closedAt !== null) {
        await send({ type: "closed", run: viewOfRun(row), output: await outputOf(services.pool, services.keys, row) });
        return;
      }
      if (early.length === 0) nudge = new AbortController();
      await sleep(pollMs, undefined, { signal: AbortSignal.any([signal, nudge.signal]) }).catch(() => undefined);
    }
  } finally {
    unsubscribe();
  }
}

/** Remembers what was sent, and sends what is new. */
class RunWatcher {
  readonly #services: Services;
  readonly #send: Send<WatchEvent>;
  readonly #steps = new Map<number, StepRow>();
  readonly #decisions = new Map<number, number>();
  readonly #approvals = new Map<ApprovalId, string>();
  #status: string | undefined;
  readonly #told = new Set<number>();
  /** Every step below is finished and sent. */
  #settled = 0;

  constructor(services: Services, send: Send<WatchEvent>) {
    this.#services = services;
    this.#send = send;
  }

  /** Whoever reads was told of the step. */
  hasTold(seq: number): boolean {
    return this.#told.has(seq);
  }

  /** Its whole result is sent. */
  isFinished(seq: number): boolean {
    return this.#steps.get(seq)?.finishedAt instanceof Date;
  }

  async look(run: RunRow): Promise<void> {
    if (run.status !== this.#status) await this.#send({ type: "run", run: viewOfRun(run) });
    this.#status = run.status;
    const { pool, keys } = this.#services;
    const rows = await stepsOf(pool, run.id, this.#settled);
    const changed = rows.filter((row) => hasChanged(this.#steps.get(row.seq), row));
    for (const row of rows) this.#steps.set(row.seq, row);
    if (changed.length > 0) {
      const decisions = (await decisionsOf(pool, run.id)).filter((row) => row.n >= (this.#decisions.get(row.seq) ?? 0));
      for (let from = 0; from < changed.length; from += stepsAtOnce) {
        const some = changed.slice(from, from + stepsAtOnce);
        const views = await stepsWithContents(pool, keys, some, [...this.#steps.values()]);
        for (const view of views) await this.#sendStep(view, decisions);
      }
    }
    if (changed.length > 0 || this.#isWaiting()) await this.#lookAtApprovals(run);
    while (isSettled(this.#steps.get(this.#settled))) this.#settled += 1;
  }

  async #sendStep(view: StepView, decisions: readonly DecisionRow[]): Promise<void> {
    for (const row of decisions.filter((candidate) => candidate.seq === view.seq)) {
      this.#decisions.set(row.seq, row.n + 1);
      await this.#send({ type: "decision", decision: viewOfDecision(row), step: view });
    }
    this.#told.add(view.seq);
    await this.#send({ type: "step", step: view });
  }

  #isWaiting(): boolean {
    return [...this.#steps.values()].some((row) => row.state === "waiting");
  }

  async #lookAtApprovals(run: RunRow): Promise<void> {
    for (const approval of await approvalsOfRun(this.#services.pool, run, this.#services.now())) {
      const print = `${approval.state}/${approval.decidedBy.length}/${approval.unanswered}`;
      if (this.#approvals.get(approval.id) === print) continue;
      this.#approvals.set(approval.id, print);
      await this.#send({ type: "approval", approval });
    }
  }
}

/** Nothing of it changes any more: of an unknown outcome somebody may yet say what it was. */
function isSettled(row: StepRow | undefined): boolean {
  return row?.finishedAt instanceof Date && row.state !== "unknown";
}

function hasChanged(before: StepRow | undefined, now: StepRow): boolean {
  return (
    before === undefined ||
    before.state !== now.state ||
    JSON.stringify(viewOfStep(before)) !== JSON.stringify(viewOfStep(now))
  );
}
