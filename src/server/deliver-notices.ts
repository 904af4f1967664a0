import { setTimeout as sleep } from "node:timers/promises";

import type { ApprovalId } from "../core/ids.ts";
import type { NoticeEvent } from "../core/notice.ts";
import { factsOf, isQuestion, receiverById, recordOutcome, send, settingsOf, takeDue } from "../notify/index.ts";
import type { Outcome, Receiver, TakenNotice } from "../notify/index.ts";
import { inTransaction } from "../store/index.ts";
import type { Services } from "./dependencies.ts";

const betweenMs = 1_000;
const atOnce = 32;
const atOnceOfOne = 4;
const endsWithinMs = 2_000;

/** Until the server stops: sends notices that are due. Any number of servers may do this. */
export async function deliverNotices(services: Services): Promise<void> {
  const { notify, pool, now, stopping, logger } = services;
  const underWay = new Set<Promise<void>>();
  while (!stopping.aborted) {
    let taken = 0;
    try {
      const limit = atOnce - underWay.size;
      const due = { now: now(), leaseMs: notify.leaseMs, limit, perReceiver: atOnceOfOne };
      const notices = limit === 0 ? [] : await inTransaction(pool, (tx) => takeDue(tx, due));
      taken = notices.length;
      for (const notice of notices) {
        const attempt: Promise<void> = deliver(services, notice)
          .then(() => undefined)
          .finally(() => underWay.delete(attempt));
        underWay.add(attempt);
      }
    } catch (error) {
      logger.warn({ err: error }, "notices could not be read");
    }
    const pause = sleep(betweenMs, undefined, { signal: stopping }).catch(() => undefined);
    // There may be more; and one that hangs keeps only its own place.
    await (taken === 0 ? pause : Promise.race([...underWay, pause]));
  }
  // What is not done by then is sent again by whoever comes next.
  await Promise.race([Promise.all(underWay), sleep(endsWithinMs, undefined, { ref: false })]);
}

/**
 * One attempt, and how it ended. Between the two this process may die: the notice is sent again under the same id then. Never throws: what
 * could not be written down is as if this process had died.
 */
export async function deliver(services: Services, notice: TakenNotice): Promise<Outcome> {
  const { pool, logger, now } = services;
  const outcome = await attempt(services, notice).catch((error: unknown): Outcome => {
    logger.warn({ err: error, notice: notice.id }, "a notice could not be made");
    return { status: "retry", reason: "the notice could not be made: the server's log says why" };
  });
  try {
    await inTransaction(pool, (tx) => recordOutcome(tx, notice, outcome, now(), Math.random()));
    if (outcome.status !== "delivered") {
      const { id, receiver, attempts } = notice;
      logger.info({ notice: id, receiver, attempts, ...outcome }, "a notice was not delivered");
    }
  } catch (error) {
    logger.warn({ err: error, notice: notice.id }, "how a notice ended could not be written: it is sent again");
  }
  return outcome;
}

async function attempt(services: Services, notice: TakenNotice): Promise<Outcome> {
  const { pool, keys, notify, now } = services;
  const receiver = await receiverById(pool, notice.receiver);
  if (receiver.removedAt !== null) return { status: "withdrawn", reason: "the receiver was removed" };
  const { request, event } = notice;
  const told = event === "test" ? undefined : await factsOf(pool, keys, { ...notice, event }, receiver.level);
  if (told !== undefined && !told.pending && isStale(receiver, told.facts.event)) {
    return { status: "withdrawn", reason: "the request had ended before this could be delivered" };
  }
  const settings = await settingsOf(pool, keys, receiver);
  const message = { id: notice.id, at: notice.at, facts: told?.facts, link: linkTo(services, request) };
  return send(notify, settings, message, now());
}

/** People are not asked about what nobody can decide any more. A service is told everything that happened. */
function isStale({ kind }: Receiver, event: NoticeEvent): boolean {
  return kind !== "webhook" && isQuestion(event);
}

/** Where people read a request; without one, where they read all. */
export function linkTo({ site }: Pick<Services, "site">, request: ApprovalId | null): string {
  return new URL(request === null ? "/approve" : `/approve/${request}`, site().origin).href;
}
