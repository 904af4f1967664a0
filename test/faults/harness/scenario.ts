import { setTimeout as sleep } from "node:timers/promises";

import { ApiError } from "../../../src/api/index.ts";
import { signDecision, signStatementOf } from "../../../src/cli/sign-decision.ts";
import { codeOf } from "../../../src/core/errors.ts";
import type { RunId } from "../../../src/core/ids.ts";
import { poll } from "./lab.ts";
import { effectsOf } from "./prompts.ts";
import type { Errand } from "./prompts.ts";
import type { Reviewer, Team, World } from "./world.ts";

/** A run that somebody asked for, and was told that it is there. */
export type StartedRun = {
  readonly id: RunId;
  readonly team: Team;
  readonly errand: Errand;
  readonly ref: string;
  readonly wave: number;
};

/** What people and programs outside were told is done: it may never be lost again. */
export type Acknowledged = { readonly log: string; readonly dedupKey: string };

export type Progress = { readonly runs: StartedRun[]; readonly acknowledged: Acknowledged[] };

/** What hangs is caught all the same; a machine with other work is no fault. */
const patienceMs = 240_000;

/** Asks again until there is an answer, as any client of a service has to. What is refused is refused. */
export async function insist<Result>(ask: () => Promise<Result>, timeoutMs = patienceMs): Promise<Result> {
  const end = Date.now() + timeoutMs;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      const status = error instanceof ApiError ? error.status : undefined;
      if ((status !== undefined && status < 500 && status !== 429) || Date.now() > end) throw error;
      await sleep(150);
    }
  }
}

/** Starts runs at once, each under a key of its own, so that one that is asked for twice is one. */
export async function startRuns(
  world: World,
  progress: Progress,
  wave: number,
  wanted: readonly (readonly [Team, Errand])[],
): Promise<readonly StartedRun[]> {
  return Promise.all(
    wanted.map(async ([team, errand], place) => {
      const ref = `${errand}-${world.name}-${wave}-${place}`;
      const body = { team, agent: "clerk", prompt: ref };
      const { run } = await insist(() => world.operator.startRun({ body, headers: { "idempotency-key": ref } }));
      const started = { id: run.id, team, errand, ref, wave };
      progress.runs.push(started);
      progress.acknowledged.push({ log: team, dedupKey: `${run.id}/started` });
      return started;
    }),
  );
}

/** Waits until the runs are closed. Returns those that are not. */
export async function untilClosed(
  world: World,
  runs: readonly StartedRun[],
  timeoutMs: number,
): Promise<readonly StartedRun[]> {
  let open = runs;
  await poll(async () => {
    const { rows } = await world.pool.query<{ id: RunId }>(
      "select id from run where id = any($1) and closed_at is null",
      [runs.map(({ id }) => id)],
    );
    open = runs.filter(({ id }) => rows.some((row) => row.id === id));
    return open.length === 0 ? true : undefined;
  }, timeoutMs);
  return open;
}

/** Reviewers at work until stopped: each decides what waits, and one of them finds out what became of a call that nobody knows of. */
export function peopleAtWork(world: World, progress: Progress): { stop(): Promise<void> } {
  const stopping = new AbortController();
  const done = Promise.all(
    world.reviewers.map(async (reviewer, place) => {
      const decided = new Set<string>();
      while (!stopping.signal.aborted) {
        const { approvals, outcomes } = await asked(world);
        if (approvals) await round(progress, reviewer, decided).catch(() => undefined);
        if (outcomes && place === 0) await findOut(world, reviewer).catch(() => undefined);
        await sleep(150, undefined, { signal: stopping.signal }).catch(() => undefined);
      }
    }),
  );
  return {
    async stop() {
      stopping.abort();
      await done;
    },
  };
}

/** Whether there is anything to look at: a query is cheaper than an API's list, which is asked for all the same where Postgres is away. */
async function asked({ pool }: World): Promise<{ readonly approvals: boolean; readonly outcomes: boolean }> {
  const looked = pool.query<{ approvals: boolean; outcomes: boolean }>(
    `select exists (select from approval_request where state = 'pending') as approvals,
       exists (select from unknown_outcome where state = 'open') as outcomes`,
  );
  return looked.then(
    ({ rows: [row] }) => row ?? { approvals: true, outcomes: true },
    () => ({ approvals: true, outcomes: true }),
  );
}

async function round(progress: Progress, reviewer: Reviewer, decided: Set<string>): Promise<void> {
  const { approvals } = await reviewer.client.listApprovals({ query: { state: "pending", limit: 50 } });
  for (const { id, run, team, decidedBy } of approvals) {
    if (decided.has(id) || decidedBy.some((one) => one.reviewer === reviewer.id)) continue;
    const errand = progress.runs.find((started) => started.id === run)?.errand;
    // Not told yet that it is there.
    if (errand === undefined) continue;
    const detail = await reviewer.client.showApproval({ params: { approval: id } });
    const decision = errand === "declined" ? "deny" : "approve";
    try {
      await signDecision(reviewer.client, detail, decision, "", reviewer.privateKey);
      progress.acknowledged.push({
        log: team,
        dedupKey: `${run}/approval/${id}/decided/${reviewer.id}/${reviewer.key.keyId}`,
      });
      decided.add(id);
    } catch (error) {
      if (!["request_not_pending", "decided_before"].includes(codeOf(error) ?? "")) throw error;
    }
  }
}

/** Long enough for a call that is on its way to arrive: what did happen is known at once, what did not is not. */
const lookAfterMs = 2_500;

async function findOut(world: World, { client, privateKey }: Reviewer): Promise<void> {
  const { outcomes } = await client.listOutcomes({ query: { state: "open", limit: 50 } });
  for (const { run, seq, openedAt } of outcomes) {
    const happened = world.calls.some(({ key, effect }) => effect && key === `${run}.${seq}`);
    if (!happened && Date.now() - Date.parse(openedAt) < lookAfterMs) continue;
    const { statement } = await client.showOutcome({ params: { run, seq } });
    const said = { outcome: happened ? "happened" : "did_not_happen", reason: "looked at the tool" };
    const { body } = await signStatementOf(client, statement, said, privateKey);
    await client.resolveOutcome({ params: { run, seq }, body });
  }
}

/** How many effects these runs ought to have. */
export function expectedEffects(runs: readonly StartedRun[]): number {
  return runs.reduce((sum, { errand }) => sum + effectsOf[errand], 0);
}
