import { setTimeout as sleep } from "node:timers/promises";

import { continuedAs, eventsOf, executionHasEnded } from "../audit/index.ts";
import type { RunId } from "../core/ids.ts";
import { faultPoint } from "../faults/index.ts";
import { appendToOutbox, historyRoot } from "../ledger/index.ts";
import {
  archiveExecution,
  endedExecutions,
  executionsOf,
  inTransaction,
  loseExecution,
  noteExecution,
  putPayloads,
} from "../store/index.ts";
import type { ExecutionRow, Tx } from "../store/index.ts";
import type { Services } from "./dependencies.ts";

const betweenMs = 2_000;
const atOnce = 20;

/** The ledger's entry for a sealed execution is found by this. */
export function sealKey(run: RunId, position: number): string {
  return `history/${run}/${position}`;
}

/** And that for one that was lost. */
export function lossKey(run: RunId, position: number): string {
  return `${sealKey(run, position)}/lost`;
}

/**
 * Until the server stops: keeps the history of every execution that has ended, and its root in the ledger, before Temporal deletes it. A
 * workflow cannot record its own last event, so this is beside it. Any number of servers may do this.
 */
export async function sealHistories(services: Services): Promise<void> {
  let failures = 0;
  while (!services.stopping.aborted) {
    try {
      failures = (await sealEnded(services)) ? 0 : failures + 1;
    } catch (error) {
      if (services.stopping.aborted) break;
      failures += 1;
      services.logger.warn({ err: error }, "histories could not be archived; it is tried again");
    }
    const pauseMs = betweenMs * 2 ** Math.min(failures, 5);
    await sleep(pauseMs, undefined, { signal: services.stopping }).catch(() => undefined);
  }
}

/** One round over all that has ended: one that cannot be sealed, or not yet, holds up no other. False where one could not be. */
async function sealEnded(services: Services): Promise<boolean> {
  let sealed = true;
  let page: readonly ExecutionRow[] = [];
  do {
    page = await endedExecutions(services.pool, atOnce, page.at(-1));
    for (const execution of page) {
      if (services.stopping.aborted) return sealed;
      try {
        await sealExecution(services, execution);
      } catch (error) {
        // Where Temporal is away, the others can wait.
        if (!(await services.runs.isReachable())) throw error;
        const { run, position } = execution;
        services.logger.warn({ err: error, run, position }, "a history could not be archived; it is tried again");
        sealed = false;
      }
    }
  } while (page.length === atOnce);
  return sealed;
}

/** Seals what has ended of one run, so that its record can be whole at once. */
export async function sealRun(services: Services, run: RunId): Promise<void> {
  for (const execution of await executionsOf(services.pool, run)) {
    if (execution.history === null && !execution.lost) await sealExecution(services, execution);
  }
}

async function sealExecution(services: Services, { run, team, position, temporalRunId }: ExecutionRow): Promise<void> {
  const history = await services.runs.history(run, temporalRunId);
  const now = services.now();
  if (history === undefined) {
    services.logger.error({ run, temporalRunId }, "Temporal deleted a history before it was archived");
    return inTransaction(services.pool, async (tx) => {
      if (!(await loseExecution(tx, run, position, now))) return;
      const facts = { run, position, temporalRunId };
      const at = now.toISOString();
      await appendToOutbox(tx, [{ log: team, kind: "history.lost", dedupKey: lossKey(run, position), at, facts }]);
    });
  }
  // A run is closed in Postgres moments before its workflow ends.
  if (!executionHasEnded(history)) return;
  const events = eventsOf(history);
  const root = historyRoot(events);
  const seal = async (tx: Tx): Promise<void> => {
    const [digest] = await putPayloads(tx, services.keys, [history]);
    if (digest === undefined) throw new TypeError("a payload was not stored");
    const archived = { run, position, history: digest, events: events.length, root, now };
    if (!(await archiveExecution(tx, archived))) return;
    const facts = { run, position, temporalRunId, events: events.length, root };
    const at = now.toISOString();
    await appendToOutbox(tx, [{ log: team, kind: "history.sealed", dedupKey: sealKey(run, position), at, facts }]);
    const next = continuedAs(history);
    if (next !== null) await noteExecution(tx, run, next, now);
  };
  await faultPoint("history.seal", () => inTransaction(services.pool, seal));
}
