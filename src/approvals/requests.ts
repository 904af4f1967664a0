import { ulid } from "ulid";

import type { ApprovalRequirement, Barred } from "../core/decision.ts";
import type { ApprovalId, Digest, RunId } from "../core/ids.ts";
import type { ApprovalState } from "../core/states.ts";
import { teamList } from "../store/index.ts";
import type { TeamFilter, Tx } from "../store/index.ts";
import { nextDueAfter } from "./routing.ts";

export type NewRequest = {
  readonly team: string;
  readonly run: RunId;
  readonly seq: number;
  readonly action: Digest;
  readonly name: string;
  readonly rendered: Digest;
  readonly requirements: readonly ApprovalRequirement[];
  readonly policySet: Digest;
  readonly openedAt: Date;
  readonly expiresAt: Date;
  /** Who may not decide; absent: nobody is known. */
  readonly barred?: readonly Barred[];
  /** The largest of the amounts that the requirements name; absent or null: unknown. */
  readonly amount?: number | null;
};

export type ApprovalRequest = NewRequest & {
  readonly id: ApprovalId;
  readonly barred: readonly Barred[];
  readonly amount: number | null;
  readonly state: ApprovalState;
  readonly agent: string;
  readonly requestedBy: string;
  /** Who changed the call that it is about; empty: it is as the agent asked. */
  readonly editors: readonly string[];
  /** Somebody asked, and nobody has answered yet. */
  readonly unanswered: boolean;
  readonly decidedAt: Date | null;
  readonly consumedAt: Date | null;
};

const columns = `request.id, request.team, request.run, request.seq, request.action, request.name, request.rendered,
  request.requirements, request.policy_set as "policySet", request.state, request.opened_at as "openedAt",
  request.expires_at as "expiresAt", request.decided_at as "decidedAt", request.consumed_at as "consumedAt",
  request.barred, request.amount,
  run.agent, run.requested_by as "requestedBy",
  coalesce((select edit.editors from approval_edit edit where edit.successor = request.id), '{}') as editors,
  coalesce((select said.kind = 'question' from approval_message said where said.request = request.id order by said.n desc limit 1),
    false) as unanswered`;

/** Opens a request. A step has one live request at most: a second one throws SQLSTATE 23505. */
export async function openRequest(tx: Tx, request: NewRequest): Promise<ApprovalId> {
  const id = `apr_${ulid(request.openedAt.getTime())}` as ApprovalId;
  const { openedAt, expiresAt, requirements } = request;
  const due = nextDueAfter(requirements, 0, expiresAt.getTime() - openedAt.getTime());
  await tx.query(
    `insert into approval_request (id, team, run, seq, action, name, rendered, requirements, policy_set, opened_at, expires_at, barred,
                                   amount, next_due_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
    [
      id,
      request.team,
      request.run,
      request.seq,
      request.action,
      request.name,
      request.rendered,
      JSON.stringify(request.requirements),
      request.policySet,
      openedAt,
      expiresAt,
      JSON.stringify(request.barred ?? []),
      request.amount ?? null,
      due === undefined ? null : new Date(openedAt.getTime() + due),
    ],
  );
  return id;
}

export async function requestById(tx: Tx, id: ApprovalId): Promise<ApprovalRequest | undefined> {
  const { rows } = await tx.query<ApprovalRequest>(
    `select ${columns} from approval_request request join run on run.id = request.run where request.id = $1`,
    [id],
  );
  return rows[0];
}

/** The same, with its row locked until the transaction ends. */
export async function lockRequest(tx: Tx, id: ApprovalId): Promise<ApprovalRequest | undefined> {
  await tx.query("select from approval_request where id = $1 for update", [id]);
  return requestById(tx, id);
}

export type RequestFilter = {
  readonly team?: TeamFilter;
  readonly run?: RunId | undefined;
  readonly state?: ApprovalState | undefined;
  /** Only requests older than this one: the cursor of the page before. */
  readonly before?: ApprovalId | undefined;
  readonly limit: number;
};

/** Requests, newest first. */
export async function listRequests(tx: Tx, filter: RequestFilter): Promise<readonly ApprovalRequest[]> {
  const { rows } = await tx.query<ApprovalRequest>(
    `select ${columns} from approval_request request join run on run.id = request.run
     where ($1::text[] is null or request.team = any($1)) and ($2::text is null or request.run = $2)
       and ($3::text is null or request.state = $3) and ($4::text is null or request.id < $4)
     order by request.id desc limit $5`,
    [teamList(filter.team), filter.run ?? null, filter.state ?? null, filter.before ?? null, filter.limit],
  );
  return rows;
}

/**
 * Locks what is still open for a run, and what people are asked about, until the transaction ends. Who decides by a grant or takes over what
 * somebody said locks these first, and then budgets and the run: so MUST who ends the run.
 */
export async function lockWaitsOf(tx: Tx, run: RunId): Promise<void> {
  await Promise.all([
    tx.query(
      "select from approval_request where run = $1 and state in ('pending', 'approved') order by seq, id for update",
      [run],
    ),
    tx.query("select from unknown_outcome where run = $1 order by seq for update", [run]),
  ]);
}

/** Ends a request whose approval was not used and does not do: another is asked in its place. */
export async function cancelRequest(tx: Tx, id: ApprovalId): Promise<void> {
  await tx.query("update approval_request set state = 'cancelled' where id = $1 and state in ('pending', 'approved')", [
    id,
  ]);
}

/** Cancels what is still open for a run that has ended. */
export async function cancelRequestsOf(
  tx: Tx,
  run: RunId,
): Promise<readonly { readonly id: ApprovalId; readonly seq: number }[]> {
  const { rows } = await tx.query<{ id: ApprovalId; seq: number }>(
    "update approval_request set state = 'cancelled' where run = $1 and state in ('pending', 'approved') returning id, seq",
    [run],
  );
  return rows;
}

/** Marks a request as expired. False where it had ended already, or its time is not up. */
export async function expireRequest(tx: Tx, id: ApprovalId, now: Date): Promise<boolean> {
  const { rowCount } = await tx.query(
    "update approval_request set state = 'expired' where id = $1 and state in ('pending', 'approved') and expires_at <= $2",
    [id, now],
  );
  return rowCount === 1;
}

/** Marks up to `limit` requests whose time is up as expired, oldest first. Those that somebody is working on are left for later. */
export async function expireDue(
  tx: Tx,
  now: Date,
  limit: number,
): Promise<readonly { readonly id: ApprovalId; readonly team: string; readonly run: RunId; readonly seq: number }[]> {
  const { rows } = await tx.query<{ id: ApprovalId; team: string; run: RunId; seq: number }>(
    `update approval_request set state = 'expired' where id in (
       select id from approval_request where state in ('pending', 'approved') and expires_at <= $1
       order by expires_at limit $2 for update skip locked)
     returning id, team, run, seq`,
    [now, limit],
  );
  return rows;
}

/** What a run may not know yet. `at`, as the database writes it, and `id` say where it stands among the others. */
export type Undelivered = { readonly id: ApprovalId; readonly run: RunId; readonly at: string };

/** Decided requests whose runs may not know it yet, oldest first; only those after `after`, where it is given. */
export async function undelivered(tx: Tx, limit: number, after?: Undelivered): Promise<readonly Undelivered[]> {
  const { rows } = await tx.query<Undelivered>(
    `select id, run, decided_at::text as at from approval_request
     where signalled_at is null and state in ('approved', 'denied')
       and ($2::timestamptz is null or (decided_at, id) > ($2::timestamptz, $3::text))
     order by decided_at, id limit $1`,
    [limit, after?.at ?? null, after?.id ?? null],
  );
  return rows;
}

/** The run has been told, or can be told no more. */
export async function markSignalled(tx: Tx, id: ApprovalId, now: Date): Promise<void> {
  await tx.query("update approval_request set signalled_at = $2 where id = $1 and signalled_at is null", [id, now]);
}
