import { setTimeout as sleep } from "node:timers/promises";

import { codeOf } from "../core/errors.ts";
import { retentionsInForce, runsPastRetention } from "../store/index.ts";
import type { Services } from "./dependencies.ts";
import { erase } from "./erase.ts";

const betweenMs = 60_000;
const atOnce = 100;

/** Until the server stops: erases the contents of closed runs that their team keeps no longer. Any number of servers may do this. */
export async function retainContents(services: Services): Promise<void> {
  while (!services.stopping.aborted) {
    try {
      while ((await erasePast(services)) === atOnce && !services.stopping.aborted);
    } catch (error) {
      if (services.stopping.aborted) break;
      services.logger.warn({ err: error }, "contents past their retention could not be erased; it is tried again");
    }
    await sleep(betweenMs, undefined, { signal: services.stopping, ref: false }).catch(() => undefined);
  }
}

/** Erases what is due of up to so many runs; returns how many of one team there were at most. */
export async function erasePast(services: Services): Promise<number> {
  let most = 0;
  for (const retention of await retentionsInForce(services.pool)) {
    const runs = await runsPastRetention(services.pool, retention, services.now(), atOnce);
    most = Math.max(most, runs.length);
    for (const run of runs) {
      if (services.stopping.aborted) return 0;
      const reason = `past what ${retention.by} set at ${retention.at.toISOString()}`;
      try {
        await erase(services, { of: { run }, reason, cause: "retention", by: "retention" });
      } catch (error) {
        // A hold was placed, or another server was first, in between.
        if (!["legal_hold", "nothing_to_erase"].includes(codeOf(error) ?? "")) throw error;
      }
    }
  }
  return most;
}
