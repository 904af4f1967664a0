import type { ToolDefinition } from "../core/release.ts";
import type { StandingTerms } from "../core/standing-grant.ts";
import type { Digest } from "../core/ids.ts";
import { teamList } from "../store/index.ts";
import type { TeamFilter, Tx } from "../store/index.ts";
import { votePersons } from "./capacity.ts";
import type { Capacity } from "./capacity.ts";
import { ApprovalError } from "./errors.ts";
import { assertionOf, keyKinds } from "./signature.ts";
import type { SignedStatement } from "./signature.ts";
import { assertSignedBy } from "./signed-by.ts";
import { parseSigned } from "./signed-text.ts";
import { mandateHolds, standingApprovals, standingCapacity, voteNow } from "./standing-approvals.ts";
import { standingKind, standingMismatch } from "./standing.schema.ts";
import type { SignedGrant, StandingStatement } from "./standing.schema.ts";
import { isGranted, standingVote, termsDigest, termsFault } from "./standing-terms.ts";

export const standingStates = ["proposed", "active", "revoked", "lapsed", "ended", "used_up"] as const;
export type StandingState = (typeof standingStates)[number];

/** An approval that is given ahead. `terms` is whatever stands there: its digest is what people signed. */
export type StandingGrant = {
  readonly id: string;
  readonly team: string;
  readonly agent: string;
  readonly tool: string;
  readonly terms: StandingTerms;
  readonly termsDigest: Digest;
  readonly proposedBy: string;
  readonly proposedAt: Date;
  readonly expiresAt: Date;
  readonly state: "proposed" | "active" | "revoked";
  readonly activeAt: Date | null;
  readonly revokedAt: Date | null;
  readonly revokedBy: string | null;
  /** How often it was used, and what that came to. */
  readonly used: { readonly n: number; readonly total: number };
  readonly lastUsedAt: Date | null;
};

/** How long a proposal waits for its approvals. */
export const standingWaitMs = 7 * 86_400_000;
const furthestMs = 90 * 86_400_000;
/** For one tool of one agent. */
export const maxOpen = 50;

const columns = `g.id, g.team, g.agent, g.tool, g.terms, g.terms_digest as "termsDigest", g.proposed_by as "proposedBy",
  g.proposed_at as "proposedAt", g.expires_at as "expiresAt", g.state, g.active_at as "activeAt", g.revoked_at as "revokedAt",
  g.revoked_by as "revokedBy", json_build_object('n', coalesce(last.n, 0), 'total', coalesce(last.total, 0)) as used, last.at as "lastUsedAt"`;
const lastUse =
  "left join lateral (select n, total, at from standing_use where grant_id = g.id order by n desc limit 1) last on true";

/** What became of it by `now`. */
export function standingState(grant: StandingGrant, now: Date): StandingState {
  const { state, terms, used, expiresAt } = grant;
  if (state === "revoked") return state;
  if (state === "proposed") return now >= expiresAt ? "lapsed" : state;
  if (now.getTime() >= Date.parse(terms.until)) return "ended";
  return used.n >= terms.uses ? "used_up" : state;
}

/** Throws `standing_missing`. */
export async function standingById(tx: Tx, id: string): Promise<StandingGrant> {
  const { rows } = await tx.query<StandingGrant>(`select ${columns} from standing_grant g ${lastUse} where g.id = $1`, [
    id,
  ]);
  if (rows[0] !== undefined) return rows[0];
  throw new ApprovalError("standing_missing", "there is no such standing grant", {
    hint: "see `countersign approvals grant list --all`",
  });
}

/** The same, and nobody uses, approves or revokes it until the transaction ends. Throws `standing_missing`. */
export async function lockStanding(tx: Tx, id: string): Promise<StandingGrant> {
  await tx.query("select from standing_grant where id = $1 for update", [id]);
  return standingById(tx, id);
}

export type StandingFilter = {
  readonly team?: TeamFilter;
  readonly agent?: string | undefined;
  readonly tool?: string | undefined;
  /** Only what may still be used, or approved, then. */
  readonly openAt?: Date | undefined;
  readonly before?: string | undefined;
  readonly limit: number;
};

/** Newest first. */
export async function listStanding(tx: Tx, filter: StandingFilter): Promise<readonly StandingGrant[]> {
  const { rows } = await tx.query<StandingGrant>(
    `select ${columns} from standing_grant g ${lastUse}
     where ($1::text[] is null or g.team = any($1)) and ($2::text is null or g.agent = $2) and ($3::text is null or g.tool = $3)
       and ($4::timestamptz is null or (g.state = 'proposed' and g.expires_at > $4)
         or (g.state = 'active' and g.until_at > $4 and coalesce(last.n, 0) < (g.terms ->> 'uses')::int))
       and ($5::text is null or g.id < $5)
     order by g.id desc limit $6`,
    [teamList(filter.team), filter.agent, filter.tool, filter.openAt, filter.before, filter.limit].map(
      (value) => value ?? null,
    ),
  );
  return rows;
}

/** Those of a tool that are active, by their dates in force, oldest first: whether one holds is looked at under its lock. */
export async function standingFor(
  tx: Tx,
  of: { readonly team: string; readonly agent: string; readonly tool: string },
  now: Date,
): Promise<readonly StandingGrant[]> {
  const { rows } = await tx.query<StandingGrant>(
    `select ${columns} from standing_grant g ${lastUse}
     where g.team = $1 and g.agent = $2 and g.tool = $3 and g.state = 'active' and g.from_at <= $4 and g.until_at > $4
     order by g.id limit $5`,
    [of.team, of.agent, of.tool, now, maxOpen],
  );
  return rows;
}

export type StandingApproved = {
  readonly grant: StandingGrant;
  /** As whom they approved it. */
  readonly capacity: Capacity;
};

/**
 * Proposes a standing grant, with its proposer's own approval of it. `tool` is the one that the terms are about, as its release pins it.
 * Throws ApprovalError, `standing_invalid` where the terms cannot be.
 */
export async function proposeStanding(
  tx: Tx,
  terms: StandingTerms,
  tool: ToolDefinition,
  signed: SignedStatement,
  reviewer: string,
  now: Date,
): Promise<StandingApproved> {
  const statement = parseSigned(standingKind, signed.statement);
  const fault = termsFault(terms, tool);
  if (fault !== undefined) throw invalid(fault);
  const expiresAt = new Date(statement.expiresAt);
  const latest = Math.min(now.getTime() + standingWaitMs, Date.parse(terms.until));
  if (Date.parse(terms.from) > now.getTime() + furthestMs) throw invalid("it would begin in more than 90 days");
  if (now >= expiresAt) throw invalid("it could not be approved any more: draw it up again");
  if (expiresAt.getTime() > latest) throw invalid("it could be approved for too long");
  // Two at once would each not see the other.
  await tx.query("select pg_advisory_xact_lock(hashtextextended($1, 18))", [
    `${terms.team}/${terms.agent}/${terms.tool}`,
  ]);
  const { team, agent, tool: name } = terms;
  const open = await listStanding(tx, { team, agent, tool: name, openAt: now, limit: maxOpen });
  if (open.length >= maxOpen) throw invalid(`the tool has ${maxOpen} standing grants: revoke what is not needed`);
  const row = { id: statement.grant, team, agent, tool: name, termsDigest: termsDigest(terms), expiresAt };
  assertStatement(statement, row, reviewer);
  const { rowCount } = await tx.query(
    `insert into standing_grant (id, team, agent, tool, terms, terms_digest, proposed_by, proposed_at, expires_at, from_at, until_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) on conflict (id) do nothing`,
    [
      row.id,
      team,
      agent,
      name,
      JSON.stringify(terms),
      row.termsDigest,
      reviewer,
      now,
      expiresAt,
      terms.from,
      terms.until,
    ],
  );
  if (rowCount !== 1) throw invalid("it was proposed before");
  return approveStanding(tx, row.id, signed, reviewer, now);
}

/**
 * Takes somebody's approval of a proposed standing grant. `reviewer` is who the caller authenticated. With enough of them, by two people at
 * least, it is active. Throws ApprovalError.
 */
export async function approveStanding(
  tx: Tx,
  id: string,
  signed: SignedStatement,
  reviewer: string,
  now: Date,
): Promise<StandingApproved> {
  const statement = parseSigned(standingKind, signed.statement);
  const grant = await lockStanding(tx, id);
  assertStatement(statement, grant, reviewer);
  await assertSignedBy(tx, standingKind.type, signed, reviewer, keyKinds);
  const state = standingState(grant, now);
  if (state !== "proposed")
    throw new ApprovalError("standing_closed", `the standing grant is ${state.replace("_", " ")} already`);
  const before = await standingApprovals(tx, id);
  const capacity = await standingCapacity(tx, grant.terms, reviewer, before, now);
  const { person, groups, mandate } = capacity;
  await tx.query(
    `insert into standing_approval (grant_id, reviewer, person, groups, statement, key_id, signature, assertion, delegation, for_person, at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
    [
      id,
      reviewer,
      person,
      groups,
      signed.statement,
      signed.keyId,
      signed.signature,
      assertionOf(signed),
      mandate?.id ?? null,
      mandate?.person ?? null,
      now,
    ],
  );
  const votes = [
    ...before.filter((one) => mandateHolds(grant.terms, one)).map(voteNow),
    standingVote(reviewer, votePersons(capacity), groups),
  ];
  if (isGranted(grant.terms, votes))
    await tx.query("update standing_grant set state = 'active', active_at = $2 where id = $1", [id, now]);
  return { grant: await standingById(tx, id), capacity };
}

function assertStatement(statement: StandingStatement, grant: SignedGrant, reviewer: string): void {
  const field = standingMismatch(statement, grant, reviewer);
  if (field !== undefined)
    throw new ApprovalError("statement_mismatch", `statement's \`${field}\` is not the standing grant's`);
}

/**
 * Ends a standing grant for every step that has not used it: its lock is waited for, and the caller takes `at` after it. False where it was
 * revoked before. `by` proposed it, approved it, may approve it, or is an admin; anybody else gets `not_in_group`. It is not signed: it
 * stops, and lets nothing happen.
 */
export async function revokeStanding(
  tx: Tx,
  id: string,
  by: { readonly id: string; readonly roles: readonly string[] },
  at: () => Date,
): Promise<{ readonly grant: StandingGrant; readonly changed: boolean }> {
  const grant = await lockStanding(tx, id);
  await assertMayRevoke(tx, grant, by);
  if (grant.state === "revoked") return { grant, changed: false };
  await tx.query("update standing_grant set state = 'revoked', revoked_at = $2, revoked_by = $3 where id = $1", [
    id,
    at(),
    by.id,
  ]);
  return { grant: await standingById(tx, id), changed: true };
}

async function assertMayRevoke(tx: Tx, grant: StandingGrant, by: Parameters<typeof revokeStanding>[2]): Promise<void> {
  if (by.roles.includes("admin") || grant.proposedBy === by.id) return;
  const approvals = await standingApprovals(tx, grant.id);
  if (approvals.some(({ reviewer }) => reviewer === by.id)) return;
  const { rows } = await tx.query<{ groups: string[] }>("select groups from principal where id = $1", [by.id]);
  const wanted = grant.terms.requirements.map(({ group }) => group);
  if (by.roles.includes("reviewer") && wanted.some((group) => rows[0]?.groups.includes(group))) return;
  throw new ApprovalError(
    "not_in_group",
    "it is revoked by who proposed or approved it, or may approve it, or by an admin",
  );
}

function invalid(message: string): ApprovalError {
  return new ApprovalError("standing_invalid", `no such standing grant can be: ${message}`);
}
