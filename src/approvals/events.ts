import type { ApprovalId, RunId } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import type { Tx } from "../store/index.ts";
import type { ApprovalRequest } from "./requests.ts";
import { dueAfter, nextDueAfter } from "./routing.ts";
import type { DueEvent } from "./routing.ts";

/** Something that happened to a request. `kind` is opened, reminded, escalated, decided, or a state that it came to. */
export type ApprovalEventRow = {
  readonly id: number;
  readonly request: ApprovalId;
  readonly team: string;
  readonly run: RunId;
  readonly kind: string;
  readonly facts: { readonly [name: string]: Json };
  readonly at: Date;
};

/** Where a reader of all events stands: what it has read last. */
export type EventCursor = { readonly xid: string; readonly id: number };

const columns = "id, request, team, run, kind, facts, at";

/**
 * What happened to all requests since `cursor`, in an order that never changes: a queue for whoever tells people. What a transaction that
 * is still open might write before it is left for later, so nothing is ever passed over.
 */
export async function approvalEventsAfter(
  tx: Tx,
  cursor: EventCursor | undefined,
  limit: number,
): Promise<{ readonly events: readonly ApprovalEventRow[]; readonly cursor: EventCursor | undefined }> {
  const { rows } = await tx.query<ApprovalEventRow & { xid: string }>(
    `select ${columns}, xid::text as xid from approval_event
     where xid < pg_snapshot_xmin(pg_current_snapshot()) and ($1::text is null or (xid, id) > ($1::text::xid8, $2::bigint))
     order by approval_event.xid, id limit $3`,
    [cursor?.xid ?? null, cursor?.id ?? 0, limit],
  );
  const last = rows.at(-1);
  return {
    events: rows.map(({ xid: _xid, ...event }) => event),
    cursor: last === undefined ? cursor : { xid: last.xid, id: last.id },
  };
}

/** What happened to one request, oldest first. */
export async function eventsOf(tx: Tx, request: ApprovalId, limit: number): Promise<readonly ApprovalEventRow[]> {
  const { rows } = await tx.query<ApprovalEventRow>(
    `select ${columns} from (select * from approval_event where request = $1 order by id desc limit $2) newest order by id`,
    [request, limit],
  );
  return rows;
}

export type TakenEvent = DueEvent & {
  readonly request: ApprovalId;
  readonly team: string;
  readonly run: RunId;
  readonly seq: number;
  readonly dueAt: Date;
};

type Due = Pick<ApprovalRequest, "id" | "team" | "run" | "seq" | "requirements" | "openedAt" | "expiresAt">;

/**
 * Notes the reminders and escalations that are due, of up to `limit` requests or of one, each once. Those that somebody is working on are
 * left for later, unless one is asked about. After a pause, of each requirement's reminders only the latest is noted. What escalation
 * gives does not wait for this: it follows from the request and the time.
 */
export async function takeDue(
  tx: Tx,
  now: Date,
  which: { readonly limit: number } | { readonly request: ApprovalId },
): Promise<readonly TakenEvent[]> {
  const due = await lockDue(tx, now, which);
  const taken = await Promise.all(due.map((request) => note(tx, request, now)));
  return taken.flat();
}

async function lockDue(
  tx: Tx,
  now: Date,
  which: { readonly limit: number } | { readonly request: ApprovalId },
): Promise<readonly Due[]> {
  const one = "request" in which;
  const { rows } = await tx.query<Due>(
    `select id, team, run, seq, requirements, opened_at as "openedAt", expires_at as "expiresAt" from approval_request
     where state = 'pending' and next_due_at <= $1 and expires_at > $1 ${one ? "and id = $2" : ""}
     order by next_due_at ${one ? "for update" : "limit $2 for update skip locked"}`,
    [now, one ? which.request : which.limit],
  );
  return rows;
}

async function note(tx: Tx, request: Due, now: Date): Promise<readonly TakenEvent[]> {
  const { id, team, run, seq, requirements, openedAt, expiresAt } = request;
  const afterMs = now.getTime() - openedAt.getTime();
  const events = dueAfter(requirements, afterMs);
  const { rows } = await tx.query<{ kind: string; key: string }>(
    `insert into approval_event (request, team, run, kind, key, facts, at)
     select $1, $2, $3, kind, key, facts, $4 from unnest($5::text[], $6::text[], $7::jsonb[]) as due (kind, key, facts)
     on conflict (request, kind, key) do nothing returning kind, key`,
    [
      id,
      team,
      run,
      now,
      events.map(({ kind }) => kind),
      events.map(({ key }) => key),
      events.map(({ policy, group, to, tell }) =>
        JSON.stringify({ policy, group, groups: tell, ...(to.length === 0 ? {} : { to }) }),
      ),
    ],
  );
  const next = nextDueAfter(requirements, afterMs, expiresAt.getTime() - openedAt.getTime());
  await tx.query("update approval_request set next_due_at = $2 where id = $1", [
    id,
    next === undefined ? null : new Date(openedAt.getTime() + next),
  ]);
  return events
    .filter((event) => rows.some((row) => row.kind === event.kind && row.key === event.key))
    .map((event) => ({ ...event, request: id, team, run, seq, dueAt: new Date(openedAt.getTime() + event.afterMs) }));
}
