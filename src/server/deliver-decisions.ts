import { setTimeout as sleep } from "node:timers/promises";

import { markSignalled, undelivered } from "../approvals/index.ts";
import { codeOf } from "../core/errors.ts";
import type { ApprovalId, RunId } from "../core/ids.ts";
import type { Services } from "./dependencies.ts";

const betweenMs = 2_000;
const atOnce = 50;

/**
 * Tells a run that a request was decided. True where it has been told, or can be told no more. A decision stands whatever becomes of the
 * signal: `deliverDecisions` sends it again.
 */
export async function wake(services: Services, run: RunId, request: ApprovalId): Promise<boolean> {
  try {
    await services.runs.wake(run, request).catch((error: unknown) => {
      if (codeOf(error) !== "run_not_found") throw error;
    });
    await markSignalled(services.pool, request, services.now());
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
      for (const { id, run } of await undelivered(services.pool, atOnce)) {
        if (services.stopping.aborted) break;
        // Where Temporal is away, the others can wait; a run that it refuses to signal must not hold them up.
        if (!(await wake(services, run, id)) && !(await services.runs.isReachable())) break;
      }
    } catch (error) {
      services.logger.warn({ err: error }, "undelivered decisions could not be read");
    }
    await sleep(betweenMs, undefined, { signal: services.stopping }).catch(() => undefined);
  }
}
