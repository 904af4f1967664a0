import { ulid } from "ulid";

import type { Barred } from "../core/decision.ts";
import type { ApprovalId, Digest, RunId } from "../core/ids.ts";
import { teamList } from "../store/index.ts";
import type { TeamFilter, Tx } from "../store/index.ts";
import { ApprovalError } from "./errors.ts";
import { resolutionKind } from "./resolution.schema.ts";
import type { ResolutionStatement } from "./resolution.schema.ts";
import type { Undelivered } from "./requests.ts";
import { barOf } from "./barred.ts";
import { barredFrom } from "./separation.ts";
import type { SignedStatement } from "./signature.ts";
import { mayDecide } from "./delegations.ts";
import { assertSignedBy, isSignedBy, storedKeyColumns } from "./signed-by.ts";
import type { StoredKey } from "./signed-by.ts";
import { parseSigned, readSigned } from "./signed-text.ts";

export const outcomeStates = ["open", "resolved", "reconciled", "expired", "cancelled"] as const;

/** A call that may or may not have happened, and what somebody said of it. */
export type UnknownOutcome = {
  readonly id: ApprovalId;
  readonly team: string;
  readonly run: RunId;
  readonly seq: number;
  readonly action: Digest;
  readonly name: string;
  /** Whose members may say what happened. Empty: any reviewer. */
  readonly groups: readonly string[];
  readonly state: (typeof outcomeStates)[number];
  readonly requestedBy: string;
  readonly openedAt: Date;
  readonly expiresAt: Date;
  readonly resolution: Resolution | null;
};

export type Resolution = StoredKey & {
  readonly reviewer: string;
  readonly statement: string;
  readonly keyId: string;
  readonly signature: string;
  readonly at: Date;
  /** The person behind the reviewer, who could not have said it, and the size of the log of people: as it was then. Null: from before. */
  readonly person: string | null;
  readonly barred: readonly Barred[] | null;
  readonly keysSize: number | null;
};

/** How long a run waits for somebody to look; then it fails, as it would have at once. In milliseconds. */
export const outcomeWaitMs = 30 * 86_400_000;

const columns = `u.id, u.team, u.run, u.seq, u.action, u.name, u.groups, u.state, run.requested_by as "requestedBy", u.opened_at as "openedAt",
  u.expires_at as "expiresAt", u.reviewer, u.statement, u.signature, u.key_id as "keyId", u.resolved_at as "at",
  u.person, u.barred, u.keys_size as "keysSize",
  ${storedKeyColumns}`;
const tables = "unknown_outcome u join run on run.id = u.run left join reviewer_key k on k.key_id = u.key_id";

type Row = Omit<UnknownOutcome, "resolution"> & (Resolution | { readonly [Name in keyof Resolution]: null });

function ofRow(row: Row): UnknownOutcome {
  const {
    reviewer,
    statement,
    signature,
    keyId,
    at,
    person,
    barred,
    keysSize,
    key,
    keyOwner,
    keyConfirmedAt,
    ...outcome
  } = row;
  if (reviewer === null || statement === null) return { ...outcome, resolution: null };
  const signed = { reviewer, statement, signature, keyId, at, key, keyOwner, keyConfirmedAt };
  return { ...outcome, resolution: { ...signed, person, barred, keysSize } };
}

/**
 * Asks people what became of a step that has just been recorded as `unknown`: those whose approval the call had, else any reviewer. The
 * grant that it used is `outcome_unknown` from then on. One statement; a second call for the step adds nothing.
 */
export async function askForOutcome(tx: Tx, run: RunId, seq: number, now: Date): Promise<void> {
  await tx.query(
    `with ${markUnknownSql("and step.seq = $2")}
     insert into unknown_outcome (id, team, run, seq, action, name, groups, opened_at, expires_at)
     select $3, run.team, step.run, step.seq, step.action, step.name, array(
         select distinct named from approval_request asked, jsonb_array_elements(asked.requirements) requirement,
           jsonb_array_elements_text(jsonb_build_array(requirement -> 'group') || coalesce(requirement -> 'orGroups', '[]')) named
         where asked.run = step.run and asked.seq = step.seq and asked.state = 'consumed' order by 1), $4, $5
     from step join run on run.id = step.run
     where step.run = $1 and step.seq = $2 and step.state = 'unknown' and run.status = 'running'
     on conflict do nothing`,
    [run, seq, `apr_${ulid(now.getTime())}`, now, new Date(now.getTime() + outcomeWaitMs)],
  );
}

/** The same for all of a run's steps, where nobody is asked any more: the run has ended. */
export async function markUnknownOf(tx: Tx, run: RunId): Promise<void> {
  await tx.query(`with ${markUnknownSql("")} select from used`, [run]);
}

/** `$1`: the run. Its requests are read as they were before, by what follows. */
function markUnknownSql(only: string): string {
  return `used as (
    update approval_request request set state = 'outcome_unknown' from step
    where step.run = $1 ${only} and step.state = 'unknown'
      and request.run = step.run and request.seq = step.seq and request.state = 'consumed' returning request.id)`;
}

export async function outcomeById(tx: Tx, id: ApprovalId): Promise<UnknownOutcome | undefined> {
  const { rows } = await tx.query<Row>(`select ${columns} from ${tables} where u.id = $1`, [id]);
  return rows[0] === undefined ? undefined : ofRow(rows[0]);
}

/** Of one step, with its row locked until the transaction ends. */
export async function lockOutcome(tx: Tx, run: RunId, seq: number): Promise<UnknownOutcome | undefined> {
  // Locked before it is read: a locking read that had to wait has the row as it is now, joined with what it was joined with before.
  await tx.query("select from unknown_outcome where run = $1 and seq = $2 for update", [run, seq]);
  const { rows } = await tx.query<Row>(`select ${columns} from ${tables} where u.run = $1 and u.seq = $2`, [run, seq]);
  return rows[0] === undefined ? undefined : ofRow(rows[0]);
}

export async function outcomesOf(tx: Tx, run: RunId): Promise<readonly UnknownOutcome[]> {
  const { rows } = await tx.query<Row>(`select ${columns} from ${tables} where u.run = $1 order by u.seq`, [run]);
  return rows.map(ofRow);
}

/** Newest first. */
export async function listOutcomes(
  tx: Tx,
  filter: {
    readonly team?: TeamFilter;
    readonly state?: UnknownOutcome["state"] | undefined;
    readonly before?: ApprovalId | undefined;
    readonly limit: number;
  },
): Promise<readonly UnknownOutcome[]> {
  const { rows } = await tx.query<Row>(
    `select ${columns} from ${tables} where ($1::text[] is null or u.team = any($1)) and ($2::text is null or u.state = $2)
       and ($3::text is null or u.id < $3) order by u.id desc limit $4`,
    [teamList(filter.team), filter.state ?? null, filter.before ?? null, filter.limit],
  );
  return rows.map(ofRow);
}

/** What a statement takes from the outcome that it is about. */
export function resolutionFacts(outcome: UnknownOutcome) {
  const { id, team, run, seq, action } = outcome;
  return { v: 1, type: resolutionKind.type, unknown: id, team, run, seq, action } as const;
}

/** What the caller knows beside the room: the names of whom the run acts for, and the size of the log of people. */
export type Surroundings = { readonly subject: readonly string[]; readonly keysSize: number };

/**
 * Takes what somebody says of an unknown outcome. `reviewer` is who the caller authenticated. The gate checks it again before the run
 * goes on. Throws ApprovalError.
 */
export async function resolveOutcome(
  tx: Tx,
  signed: SignedStatement,
  reviewer: string,
  { subject, keysSize }: Surroundings,
  now: Date,
): Promise<UnknownOutcome> {
  const statement = parseSigned(resolutionKind, signed.statement);
  const outcome = await lockOutcome(tx, statement.run, statement.seq);
  if (outcome === undefined) throw new ApprovalError("request_missing", "there is no such unknown outcome");
  const field = mismatch(statement, outcome, reviewer);
  if (field !== undefined)
    throw new ApprovalError("statement_mismatch", `statement's \`${field}\` is not the unknown outcome's`);
  await assertSignedBy(tx, resolutionKind.type, signed, reviewer);
  if (outcome.state !== "open")
    throw new ApprovalError("request_not_pending", `the outcome is ${outcome.state} already`);
  if (now >= outcome.expiresAt)
    throw new ApprovalError("request_expired", `nobody said it until ${outcome.expiresAt.toISOString()}`);
  const { rows } = await tx.query<{ person: string; groups: string[] }>(
    "select coalesce(person, id) as person, groups from principal where id = $1",
    [reviewer],
  );
  const person = rows[0]?.person ?? reviewer;
  const barred = await barredFrom(tx, outcome.run, subject);
  if (barOf(barred, [reviewer, person]) !== undefined || subject.some((name) => [reviewer, person].includes(name)))
    throw new ApprovalError(
      "self_approval",
      "who asked for the run, for whom it acts, or who registered its release cannot say what became of its calls",
    );
  if (outcome.groups.length > 0 && !outcome.groups.some((group) => rows[0]?.groups.includes(group))) {
    const wanted = outcome.groups.map((group) => `\`${group}\``).join(" or ");
    throw new ApprovalError("not_in_group", `it takes a member of ${wanted}, whose approval the call had`);
  }
  await tx.query(
    `update unknown_outcome set state = 'resolved', reviewer = $2, statement = $3, key_id = $4, signature = $5, resolved_at = $6,
       person = $7, barred = $8, keys_size = $9
     where id = $1`,
    [
      outcome.id,
      reviewer,
      signed.statement,
      signed.keyId,
      signed.signature,
      now,
      person,
      JSON.stringify(barred),
      keysSize,
    ],
  );
  return { ...outcome, state: "resolved" };
}

function mismatch(statement: ResolutionStatement, outcome: UnknownOutcome, reviewer: string): string | undefined {
  const expected: Partial<ResolutionStatement> = { ...resolutionFacts(outcome), reviewer };
  return Object.entries(expected).find(([name, value]) => statement[name as keyof ResolutionStatement] !== value)?.[0];
}

/**
 * What was said, from what was signed, or why it does not hold: rows can be written past this code. The key has to have counted
 * when it signed, and must not be revoked now; whoever said it must still be one of those who may, and who is barred from deciding on the
 * run's calls cannot. `subject`: the names of whom the run acts for.
 */
export async function heldResolution(
  tx: Tx,
  outcome: UnknownOutcome,
  subject: readonly string[],
): Promise<ResolutionCheck> {
  const { resolution } = outcome;
  if (resolution === null) return unheld("nobody said anything");
  const { reviewer, at, person } = resolution;
  if (at < outcome.openedAt || at >= outcome.expiresAt) return unheld("it was not said while it was asked");
  if (!(await isSignedBy(tx, resolutionKind.type, resolution, reviewer)))
    return unheld("the signature is not theirs by a key that counts");
  const { rows } = await tx.query<{ person: string; may: boolean }>(
    `select coalesce(person, id) as person, ${mayDecide("principal", "$3")} and ($2::text[] = '{}' or groups && $2::text[]) as may
     from principal where id = $1`,
    [reviewer, outcome.groups, outcome.team],
  );
  if (rows[0]?.may !== true) return unheld("they are none of those who may say it");
  // As they were then, and as they are now.
  const names = [reviewer, ...(person === null ? [] : [person]), ...rows.map((row) => row.person)];
  const barred = [...(resolution.barred ?? []), ...(await barredFrom(tx, outcome.run, subject))];
  const bar = barOf(barred, names);
  if (bar !== undefined) return unheld(`they are the ${bar.because}`);
  if (subject.some((name) => names.includes(name))) return unheld("they are the subject");
  const statement = readSigned(resolutionKind, resolution.statement);
  if (statement === undefined) return unheld("the statement is malformed");
  const field = mismatch(statement, outcome, reviewer);
  return field === undefined ? { holds: true, statement } : unheld(`the statement's \`${field}\` is another`);
}

/** What somebody said of a call, if it holds, or why it does not. */
export type ResolutionCheck =
  | { readonly holds: true; readonly statement: ResolutionStatement }
  | { readonly holds: false; readonly why: string };

function unheld(why: string): ResolutionCheck {
  return { holds: false, why };
}

/** The gate has taken over what was said, and the grant that the call used is `consumed` again. Or nobody said anything in time. */
export async function endOutcome(tx: Tx, id: ApprovalId, state: "reconciled" | "expired"): Promise<void> {
  await tx.query(
    `with ended as (update unknown_outcome set state = $2 where id = $1 returning run, seq)
     update approval_request request set state = 'consumed' from ended
     where $2 = 'reconciled' and request.run = ended.run and request.seq = ended.seq and request.state = 'outcome_unknown'`,
    [id, state],
  );
}

/** What was said does not hold: it is asked again. That it was said, and why it does not hold, is the caller's to enter in the ledger. */
export async function askAgain(tx: Tx, id: ApprovalId): Promise<void> {
  await tx.query(
    `update unknown_outcome set state = 'open', reviewer = null, statement = null, key_id = null, signature = null, resolved_at = null,
       person = null, barred = null, keys_size = null, signalled_at = null
     where id = $1 and state = 'resolved'`,
    [id],
  );
}

/** Asks no more: the run has ended. One statement. */
export async function cancelOutcomesOf(tx: Tx, run: RunId): Promise<void> {
  await tx.query("update unknown_outcome set state = 'cancelled' where run = $1 and state = 'open'", [run]);
}

/** Resolved outcomes whose runs may not know it yet, as `undelivered` has decisions. */
export async function untoldOutcomes(tx: Tx, limit: number, after?: Undelivered): Promise<readonly Undelivered[]> {
  const { rows } = await tx.query<Undelivered>(
    `select id, run, resolved_at::text as at from unknown_outcome
     where signalled_at is null and state = 'resolved'
       and ($2::timestamptz is null or (resolved_at, id) > ($2::timestamptz, $3::text))
     order by resolved_at, id limit $1`,
    [limit, after?.at ?? null, after?.id ?? null],
  );
  return rows;
}

export async function markOutcomeTold(tx: Tx, id: ApprovalId, now: Date): Promise<void> {
  await tx.query("update unknown_outcome set signalled_at = $2 where id = $1 and signalled_at is null", [id, now]);
}
