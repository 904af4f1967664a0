import { setTimeout as sleep } from "node:timers/promises";

import {
  markEditTold,
  markOutcomeTold,
  markSignalled,
  undelivered,
  untoldEdits,
  untoldOutcomes,
} from "../approvals/index.ts";
import type { Undelivered } from "../approvals/index.ts";
import { codeOf } from "../core/errors.ts";
import type { ApprovalId, RunId } from "../core/ids.ts";
import type { Tx } from "../store/index.ts";
import { faultPoint } from "../faults/index.ts";
import type { Services } from "./dependencies.ts";

const betweenMs = 2_000;
const atOnce = 50;

/**
 * Tells a run that a request was decided. True where it has been told, or can be told no more. A decision stands whatever becomes of the
 * signal: `deliverDecisions` sends it again.
 */
export async function wake(services: Services, run: RunId, request: ApprovalId): Promise<boolean> {
  return tell(services, run, request, () => markSignalled(services.pool, request, services.now()));
}

/** The same of what somebody said of an unknown outcome. */
export async function tellOutcome(services: Services, run: RunId, outcome: ApprovalId): Promise<boolean> {
  return tell(services, run, outcome, () => markOutcomeTold(services.pool, outcome, services.now()));
}

/** The same of a call that a reviewer has changed. */
export async function tellEdit(services: Services, run: RunId, request: ApprovalId): Promise<boolean> {
  return tell(services, run, request, () => markEditTold(services.pool, request, services.now()));
}

async function tell(services: Services, run: RunId, request: ApprovalId, mark: () => Promise<void>): Promise<boolean> {
  try {
    await faultPoint("approval.signal", () => services.runs.wake(run, request)).catch((error: unknown) => {
      if (codeOf(error) !== "run_not_found") throw error;
    });
    await faultPoint("approval.told", mark);
    return true;
  } catch (error) {
    services.logger.warn({ err: error, run, request }, "a run could not be told of a decision; it is told again");
    return false;
  }
}

type Untold = (tx: Tx, limit: number, after?: Undelivered) => Promise<readonly Undelivered[]>;
type Kind = { readonly untold: Untold; readonly tellRun: typeof wake };

const kinds: readonly Kind[] = [
  { untold: undelivered, tellRun: wake },
  { untold: untoldOutcomes, tellRun: tellOutcome },
  { untold: untoldEdits, tellRun: tellEdit },
];

/** Until the server stops: tells runs of decisions that they may not know of. Any number of servers may do this. */
export async function deliverDecisions(services: Services): Promise<void> {
  /** Up to where each kind has been gone through: what Temporal refuses for good must not keep the rest from their turn. */
  const after = new Map<Kind, Undelivered>();
  while (!services.stopping.aborted) {
    try {
      for (const kind of kinds) {
        const last = await deliver(services, kind, after.get(kind));
        if (last === undefined) after.delete(kind);
        else after.set(kind, last);
      }
    } catch (error) {
      services.logger.warn({ err: error }, "undelivered decisions could not be read");
    }
    await sleep(betweenMs, undefined, { signal: services.stopping }).catch(() => undefined);
  }
}

/** The next of those that wait. Returns after which it goes on; undefined: from the oldest again. */
async function deliver(
  services: Services,
  { untold, tellRun }: Kind,
  after: Undelivered | undefined,
): Promise<Undelivered | undefined> {
  const waiting = await untold(services.pool, atOnce, after);
  for (const { id, run } of waiting) {
    if (services.stopping.aborted) return after;
    // Where Temporal is away, the others can wait; a run that it refuses to signal must not hold them up.
    if (!(await tellRun(services, run, id)) && !(await services.runs.isReachable())) return after;
  }
  return waiting.length < atOnce ? undefined : waiting.at(-1);
}
