import type { ApprovalId } from "../core/ids.ts";
import type { NoticeEvent, NoticeState, ReceiverKind } from "../core/notice.ts";
import type { Tx } from "../store/index.ts";
import { nextAttempt } from "./backoff.ts";
import { disableReceiver } from "./receivers.ts";
import type { Outcome } from "./send.ts";

/** A notice that is this caller's to send, until it is due again: another may take it then. */
export type TakenNotice = {
  readonly seq: number;
  /** The same in every attempt: what its receiver tells a repetition by. */
  readonly id: string;
  readonly receiver: string;
  readonly request: ApprovalId | null;
  /** The call of which nobody knows whether it happened, where it is about that. */
  readonly outcome: ApprovalId | null;
  readonly event: NoticeEvent | "test";
  /** What tells events of one kind apart: of a question or an answer, its place. */
  readonly key: string;
  /** The groups that the event is about; empty: all that the request asks. */
  readonly groups: readonly string[];
  /** What the request was after the event. */
  readonly requestState: string | null;
  readonly at: Date;
  /** This attempt's number, from 1. */
  readonly attempts: number;
};

const columns = `seq, id, receiver, request, outcome, event, key, groups, request_state as "requestState", at, attempts`;

export type Taking = {
  readonly now: Date;
  readonly leaseMs: number;
  readonly limit: number;
  /** How many attempts of one receiver may be under way, whoever makes them. */
  readonly perReceiver: number;
};

/** Any number: it only has to be the same for everybody who takes notices. */
const takingLock = 7_301_202_615;

/**
 * Takes notices that are due, in the caller's transaction: of each receiver no more than are not under way yet, and first of those that
 * have the fewest: one that hangs does not hold up the others. A taken one is left alone by others for `leaseMs`, which must be longer than
 * an attempt can take; whoever took it and died is followed by somebody else then.
 */
export async function takeDue(tx: Tx, { now, leaseMs, limit, perReceiver }: Taking): Promise<readonly TakenNotice[]> {
  // One at a time: two who count at once would each take all that a receiver may have.
  await tx.query("select pg_advisory_xact_lock($1)", [takingLock]);
  const { rows } = await tx.query<TakenNotice>(
    `with due (taken) as (
       select seq from notice
       where state = 'queued' and due_at <= $1 and seq in (
         select oldest.seq from notice_receiver receiver
         cross join lateral (
           select count(*) as busy from notice going
           where going.receiver = receiver.id and going.state = 'queued' and going.under_way and going.due_at > $1) going
         cross join lateral (
           select waiting.seq, waiting.due_at, going.busy + row_number() over (order by waiting.due_at, waiting.seq) as place
           from notice waiting
           where waiting.receiver = receiver.id and waiting.state = 'queued' and waiting.due_at <= $1
           order by waiting.due_at, waiting.seq limit greatest($4 - going.busy, 0)) oldest
         where receiver.removed_at is null
         order by oldest.place, oldest.due_at limit $3)
       for update skip locked)
     update notice set attempts = attempts + 1, due_at = $2, under_way = true from due where seq = taken
     returning ${columns}`,
    [now, new Date(now.getTime() + leaseMs), limit, perReceiver],
  );
  return rows;
}

/** Queues a notice that says no more than that it has arrived, and takes it. */
export async function takeTest(tx: Tx, receiver: string, now: Date, leaseMs: number): Promise<TakenNotice> {
  const { rows } = await tx.query<TakenNotice>(
    `insert into notice (receiver, event, at, due_at, attempts, under_way) values ($1, 'test', $2, $3, 1, true) returning ${columns}`,
    [receiver, now, new Date(now.getTime() + leaseMs)],
  );
  const [test] = rows;
  if (test === undefined) throw new TypeError("an insert without a condition wrote nothing");
  return test;
}

/**
 * Writes how an attempt ended. A notice that another took in the meantime, or ended, is left as it is: false. A failure is tried again
 * later, unless it is final or 24 hours old; a test is tried once.
 */
export async function recordOutcome(
  tx: Tx,
  notice: TakenNotice,
  outcome: Outcome,
  now: Date,
  random: number,
): Promise<boolean> {
  const next = dueAfter(notice, outcome, now, random);
  const state: NoticeState = next !== undefined ? "queued" : outcome.status === "retry" ? "failed" : endOf(outcome);
  const { rowCount } = await tx.query(
    `update notice set state = $3, reason = $4, due_at = coalesce($5, due_at), ended_at = $6, under_way = false
     where seq = $1 and attempts = $2 and state = 'queued'`,
    [
      notice.seq,
      notice.attempts,
      state,
      outcome.status === "delivered" ? null : outcome.reason,
      next ?? null,
      next === undefined ? now : null,
    ],
  );
  if (outcome.status === "gone") await disableReceiver(tx, notice.receiver, outcome.reason, now);
  return rowCount === 1;
}

function dueAfter(notice: TakenNotice, outcome: Outcome, now: Date, random: number): Date | undefined {
  if (outcome.status !== "retry" || notice.event === "test") return undefined;
  const { attempts, at: queuedAt } = notice;
  return nextAttempt({ attempts, queuedAt, now, random, retryAfterMs: outcome.retryAfterMs });
}

function endOf({ status }: Exclude<Outcome, { status: "retry" }>): NoticeState {
  switch (status) {
    case "delivered":
    case "withdrawn":
      return status;
    case "failed":
    case "gone":
      return "failed";
  }
}

/** How a request was told to one receiver. */
export type NoticeOfRequest = {
  readonly id: string;
  readonly receiver: string;
  readonly kind: ReceiverKind;
  readonly shown: string;
  readonly event: NoticeEvent;
  readonly state: NoticeState;
  readonly attempts: number;
  readonly reason: string | null;
  readonly at: Date;
  readonly dueAt: Date;
  readonly endedAt: Date | null;
};

/** More than a request normally has; the newest are kept. */
const mostShown = 100;

/** What was told of a request, oldest first. */
export async function noticesOf(tx: Tx, request: ApprovalId): Promise<readonly NoticeOfRequest[]> {
  const { rows } = await tx.query<NoticeOfRequest>(
    `select notice.id, notice.receiver, receiver.kind, receiver.shown, notice.event, notice.state, notice.attempts, notice.reason,
       notice.at, notice.due_at as "dueAt", notice.ended_at as "endedAt"
     from notice join notice_receiver receiver on receiver.id = notice.receiver
     where notice.request = $1 order by notice.seq desc limit ${mostShown}`,
    [request],
  );
  return rows.toReversed();
}
