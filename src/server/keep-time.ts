import { setTimeout as sleep } from "node:timers/promises";

import { expireDue, takeDue } from "../approvals/index.ts";
import { appendToOutbox } from "../ledger/index.ts";
import { inTransaction } from "../store/index.ts";
import type { Services } from "./dependencies.ts";
import { approvalDue, approvalExpired } from "./ledger-events.ts";

const betweenMs = 2_000;
const atOnce = 100;

/**
 * Until the server stops: notes what the clock does to waiting requests (reminders, escalations, expiry), whether or not a worker or
 * Temporal runs. Any number of servers may do this: each event is noted once. No right hangs on it: whether a request has expired,
 * and who may decide on it, follows from the request and the time.
 */
export async function keepTime(services: Services): Promise<void> {
  while (!services.stopping.aborted) {
    try {
      while ((await noteDue(services)) === atOnce) if (services.stopping.aborted) return;
    } catch (error) {
      services.logger.warn({ err: error }, "the clock could not be kept on approval requests; it is tried again");
    }
    await sleep(betweenMs, undefined, { signal: services.stopping }).catch(() => undefined);
  }
}

/** One round. Returns how many requests expired, at most `atOnce`; or how many were due, if that is more. */
export async function noteDue({ pool, now: clock }: Pick<Services, "pool" | "now">): Promise<number> {
  const now = clock();
  return inTransaction(pool, async (tx) => {
    const expired = await expireDue(tx, now, atOnce);
    const due = await takeDue(tx, now, { limit: atOnce });
    await appendToOutbox(tx, [
      ...expired.map((request) => approvalExpired(request, now)),
      ...due.map((event) => approvalDue(event, now)),
    ]);
    return Math.max(expired.length, new Set(due.map(({ request }) => request)).size);
  });
}
