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

/** Until the server stops: tells runs of decisions that they may not know of. Any number of servers may do this. */
export async function deliverDecisions(services: Services): Promise<void> {
  while (!services.stopping.aborted) {
    try {
      await deliver(services, await undelivered(services.pool, atOnce), wake);
      await deliver(services, await untoldOutcomes(services.pool, atOnce), tellOutcome);
      await deliver(services, await untoldEdits(services.pool, atOnce), tellEdit);
    } catch (error) {
      services.logger.warn({ err: error }, "undelivered decisions could not be read");
    }
    await sleep(betweenMs, undefined, { signal: services.stopping }).catch(() => undefined);
  }
}

async function deliver(services: Services, waiting: readonly Undelivered[], tellRun: typeof wake): Promise<void> {
  for (const { id, run } of waiting) {
    if (services.stopping.aborted) return;
    // Where Temporal is away, the others can wait; a run that it refuses to signal must not hold them up.
    if (!(await tellRun(services, run, id)) && !(await services.runs.isReachable())) return;
  }
}
