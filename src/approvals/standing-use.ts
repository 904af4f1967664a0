import type { ApprovalRequirement, Barred } from "../core/decision.ts";
import type { Digest, RunId } from "../core/ids.ts";
import type { JsonObject } from "../core/json.ts";
import type { Tx } from "../store/index.ts";
import { barredFrom } from "./separation.ts";
import { keyKinds } from "./signature.ts";
import { isSignedBy } from "./signed-by.ts";
import { readSigned } from "./signed-text.ts";
import { readTerms, standingKind, standingMismatch } from "./standing.schema.ts";
import { holdMandates, mandateHolds, namesOf, standingApprovals, voteNow } from "./standing-approvals.ts";
import { lockStanding, standingFor } from "./standing.ts";
import type { StandingGrant } from "./standing.ts";
import { answers, hasRoom, isGranted, isInTime, matchCall, termsDigest } from "./standing-terms.ts";

/** A call that people would be asked about. */
export type StandingClaim = {
  readonly run: { readonly id: RunId; readonly team: string; readonly agent: string };
  readonly tool: string;
  readonly toolDigest: Digest;
  /** With which it would be made. */
  readonly args: JsonObject;
  readonly requirements: readonly ApprovalRequirement[];
  /** The names of whom the run acts for. */
  readonly subject: readonly string[];
  readonly now: Date;
};

export type StandingUse = {
  readonly grant: StandingGrant;
  readonly n: number;
  readonly amount: number;
  readonly total: number;
  readonly barred: readonly Barred[];
};

/** Those that could be for this call: nothing is locked, and whether they hold is not looked at. Oldest first. */
export async function standingMatches(tx: Tx, claim: StandingClaim): Promise<readonly StandingGrant[]> {
  const { run, tool, now } = claim;
  const found = await standingFor(tx, { team: run.team, agent: run.agent, tool }, now);
  return found.filter((grant) => isFor(grant, claim));
}

function isFor({ terms: document, termsDigest: digest }: StandingGrant, claim: StandingClaim): boolean {
  const terms = readTerms(document);
  return (
    terms !== undefined &&
    termsDigest(terms) === digest &&
    terms.team === claim.run.team &&
    terms.agent === claim.run.agent &&
    terms.tool === claim.tool &&
    terms.toolDigest === claim.toolDigest &&
    isInTime(terms, claim.now) &&
    answers(terms, claim.requirements) &&
    matchCall(terms, claim.args).matches
  );
}

/**
 * The use that this call would be, of the first of these that holds and has room; undefined where none does. Nothing is taken on trust:
 * terms, signatures, keys, persons, groups and bars are looked at as they are now. The grant is locked until the transaction ends, and so
 * are those before it, in the one order of their ids: uses are counted one after the other.
 */
export async function takeStanding(
  tx: Tx,
  candidates: readonly StandingGrant[],
  claim: StandingClaim,
): Promise<StandingUse | undefined> {
  const barred = candidates.length === 0 ? [] : await barredFrom(tx, claim.run.id, claim.subject);
  for (const { id } of candidates) {
    const grant = await lockStanding(tx, id);
    if (grant.state !== "active" || !isFor(grant, claim)) continue;
    const matched = matchCall(grant.terms, claim.args);
    if (!matched.matches || !hasRoom(grant.terms, grant.used, matched.amount)) continue;
    if (!(await holds(tx, grant, [...barred.map(({ person }) => person), ...claim.subject]))) continue;
    const { amount } = matched;
    return { grant, n: grant.used.n + 1, amount, total: grant.used.total + amount, barred };
  }
  return undefined;
}

/**
 * Whether all who signed it still stand for it: one whose key is gone, whose delegation is ended, or who is barred from this call, takes it
 * with them.
 */
async function holds(tx: Tx, grant: StandingGrant, barred: readonly string[]): Promise<boolean> {
  await holdMandates(tx, grant.id);
  const approvals = await standingApprovals(tx, grant.id);
  for (const approval of approvals) {
    const { reviewer, at } = approval;
    if (at < grant.proposedAt || at >= grant.expiresAt) return false;
    const statement = readSigned(standingKind, approval.statement);
    if (statement === undefined || standingMismatch(statement, grant, reviewer) !== undefined) return false;
    if (!(await isSignedBy(tx, standingKind.type, approval, reviewer, keyKinds))) return false;
    if (!mandateHolds(grant.terms, approval)) return false;
    if (namesOf(approval).some((name) => barred.includes(name))) return false;
  }
  return isGranted(grant.terms, approvals.map(voteNow));
}

/** Writes the use that `takeStanding` found, in the same transaction, once its step is there. */
export async function writeStandingUse(
  tx: Tx,
  { grant, n, amount, total, barred }: StandingUse,
  step: { readonly run: RunId; readonly seq: number },
  now: Date,
): Promise<void> {
  await tx.query(
    `insert into standing_use (grant_id, n, run, seq, amount, total, barred, at) values ($1, $2, $3, $4, $5, $6, $7, $8)`,
    [grant.id, n, step.run, step.seq, amount, total, JSON.stringify(barred), now],
  );
}

export type StoredStandingUse = Omit<StandingUse, "grant"> & {
  readonly grant: string;
  readonly seq: number;
  readonly at: Date;
};

/** The uses that a run has made, in the order of its steps. */
export async function standingUsesOf(tx: Tx, run: RunId): Promise<readonly StoredStandingUse[]> {
  const { rows } = await tx.query<StoredStandingUse>(
    `select grant_id as grant, n, seq, amount, total, barred, at from standing_use where run = $1 order by seq`,
    [run],
  );
  return rows;
}
