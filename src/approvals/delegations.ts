import { ulid } from "ulid";

import type { Tx } from "../store/index.ts";
import { ApprovalError } from "./errors.ts";
import type { ApprovalRequest } from "./requests.ts";

export type NewDelegation = {
  readonly delegator: string;
  readonly delegate: string;
  /** Null: any. */
  readonly team: string | null;
  readonly tool: string | null;
  /** Null: no limit. Else only requests whose amount is known, and no greater. */
  readonly maxAmount: number | null;
  readonly reason: string;
  /** From then on, and until just before then. */
  readonly from: Date;
  readonly until: Date;
};

/** For a time, one person may decide where another might: under their own identity, with the other's groups. */
export type Delegation = NewDelegation & {
  readonly id: string;
  readonly at: Date;
  readonly by: string;
  readonly revokedAt: Date | null;
};

export const delegationIdPattern = /^dlg_[0-9A-HJKMNP-TV-Z]{26}$/;
const longestMs = 366 * 86_400_000;
const maxOpen = 100;

const columns = `d.id, d.delegator, d.delegate, d.team, d.tool, d.max_amount as "maxAmount", d.reason, d.from_at as "from", d.until_at as "until",
  d.at, d.by_principal as by, d.revoked_at as "revokedAt"`;

/**
 * Adds a delegation, now or set ahead. Throws `delegation_invalid` where it gives nothing, or to nobody: it ends before it begins or before
 * now, goes to another account of the same person, to somebody who may not decide at all, or comes from somebody in no group.
 */
export async function delegate(tx: Tx, given: NewDelegation, by: string, now: Date): Promise<Delegation> {
  const { delegator, delegate: to, from, until } = given;
  if (until <= from || until <= now) throw invalid("it would end before it begins");
  if (until.getTime() - from.getTime() > longestMs) throw invalid("it would be for longer than 366 days");
  // Two at once by one person would each not see the other.
  await tx.query("select from principal where id = $1 for update", [delegator]);
  const { rows } = await tx.query<{ id: string; person: string; roles: string[]; groups: string[] }>(
    "select id, coalesce(person, id) as person, roles, groups from principal where id in ($1, $2)",
    [delegator, to],
  );
  const [one, other] = [delegator, to].map((id) => rows.find((row) => row.id === id));
  if (one === undefined || one.groups.length === 0)
    throw invalid(`\`${delegator}\` is in no group: there is nothing to delegate`);
  if (other === undefined) throw invalid(`there is no principal \`${to}\``);
  if (other.person === one.person) throw invalid(`\`${to}\` is the same person`);
  if (!other.roles.includes("reviewer") && !other.roles.includes("admin")) throw invalid(`\`${to}\` is not a reviewer`);
  const { rows: open } = await tx.query<{ count: number }>(
    "select count(*)::int as count from approval_delegation where delegator = $1 and until_at > $2 and revoked_at is null",
    [delegator, now],
  );
  if ((open[0]?.count ?? 0) >= maxOpen)
    throw invalid(`\`${delegator}\` has ${maxOpen} delegations that have not ended`);
  const id = `dlg_${ulid(now.getTime())}`;
  await tx.query(
    `insert into approval_delegation (id, delegator, delegate, team, tool, max_amount, reason, from_at, until_at, at, by_principal)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
    [id, delegator, to, given.team, given.tool, given.maxAmount, given.reason, from, until, now, by],
  );
  return { ...given, id, at: now, by, revokedAt: null };
}

/** Ends a delegation for decisions to come. False where it was ended before. Throws `delegation_missing`. */
export async function undelegate(
  tx: Tx,
  id: string,
  by: string,
  now: Date,
): Promise<{ readonly delegation: Delegation; readonly changed: boolean }> {
  const { rowCount } = await tx.query(
    "update approval_delegation set revoked_at = $2, revoked_by = $3 where id = $1 and revoked_at is null",
    [id, now, by],
  );
  const delegation = await delegationById(tx, id);
  return { delegation, changed: rowCount === 1 };
}

/** Throws `delegation_missing`. */
export async function delegationById(tx: Tx, id: string): Promise<Delegation> {
  const { rows } = await tx.query<Delegation>(`select ${columns} from approval_delegation d where d.id = $1`, [id]);
  const [found] = rows;
  if (found === undefined) throw new ApprovalError("delegation_missing", `there is no delegation \`${id}\``);
  return found;
}

/** The same, for whoever ends it: its time is taken after this, so that its end is later than every decision by it that it did not stop. */
export async function lockDelegation(tx: Tx, id: string): Promise<Delegation> {
  await tx.query("select from approval_delegation where id = $1 for update", [id]);
  return delegationById(tx, id);
}

export type DelegationFilter = {
  /** From or to them. */
  readonly principal?: string | undefined;
  /** Only those that hold now or later. */
  readonly openAt?: Date | undefined;
  readonly before?: string | undefined;
  readonly limit: number;
};

/** Delegations, newest first. */
export async function listDelegations(tx: Tx, filter: DelegationFilter): Promise<readonly Delegation[]> {
  const { rows } = await tx.query<Delegation>(
    `select ${columns} from approval_delegation d
     where ($1::text is null or $1 in (d.delegator, d.delegate)) and ($2::timestamptz is null or (d.until_at > $2 and d.revoked_at is null))
       and ($3::text is null or d.id < $3)
     order by d.id desc limit $4`,
    [filter.principal ?? null, filter.openAt ?? null, filter.before ?? null, filter.limit],
  );
  return rows;
}

/** SQL of whether somebody may decide at all, on what is a team's. */
export function mayDecide(principal: string, team: string): string {
  return `roles_for(${principal}.roles, ${principal}.role_teams, ${team}) && array['reviewer', 'admin']`;
}

/** SQL of the groups that somebody decides for: none where they may not decide at all, for this team, any more. */
export function decidingGroups(principal: string, team: string): string {
  return `case when ${mayDecide(principal, team)} then ${principal}.groups else '{}' end`;
}

/** A delegation with what its delegator is now. */
export type Mandate = Delegation & { readonly person: string; readonly groups: readonly string[] };

/** The delegations to somebody that cover a request at a time, oldest first. */
export async function mandatesOf(
  tx: Tx,
  delegatee: string,
  request: ApprovalRequest,
  at: Date,
): Promise<readonly Mandate[]> {
  return (await mandatesTo(tx, delegatee, request.team, at)).filter((one) => covers(one, request, at));
}

/** The delegations to somebody that were not over at a time, whatever they are for, oldest first. `groups`: of who decides for that team. */
export async function mandatesTo(tx: Tx, delegatee: string, team: string, at: Date): Promise<readonly Mandate[]> {
  // Nobody ends one until the transaction ends: what is decided by it is decided before its end.
  await tx.query(
    "select from approval_delegation where delegate = $1 and until_at > $2 and revoked_at is null order by id for share",
    [delegatee, at],
  );
  const { rows } = await tx.query<Mandate>(
    `select ${columns}, coalesce(p.person, p.id) as person, ${decidingGroups("p", "$3")} as groups
     from approval_delegation d join principal p on p.id = d.delegator where d.delegate = $1 and d.until_at > $2 order by d.id`,
    [delegatee, at, team],
  );
  return rows;
}

/** Whether a delegation was in force at a time, and is for such a request. */
export function covers(
  one: Omit<NewDelegation, "delegator" | "delegate" | "reason"> & { revokedAt: Date | null },
  request: ApprovalRequest,
  at: Date,
): boolean {
  return (
    one.from <= at &&
    at < one.until &&
    (one.revokedAt === null || at < one.revokedAt) &&
    (one.team === null || one.team === request.team) &&
    (one.tool === null || one.tool === request.name) &&
    (one.maxAmount === null || isWithin(request.amount, one.maxAmount))
  );
}

/** A limit says what may be spent at the most: an amount below nothing is none that it was meant for. */
function isWithin(amount: number | null, limit: number): boolean {
  return amount !== null && amount >= 0 && amount <= limit;
}

function invalid(message: string): ApprovalError {
  return new ApprovalError("delegation_invalid", `cannot delegate: ${message}`);
}
