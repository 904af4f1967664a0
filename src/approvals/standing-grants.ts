import { ulid } from "ulid";

import type { Digest, GrantId, RunId } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import type { StandingGrant } from "../core/standing-grant.ts";
import { digestOf } from "../store/canonical.ts";
import type { Tx } from "../store/index.ts";
import { groupsOf } from "./decisions.ts";
import { ApprovalError } from "./errors.ts";
import { assertSignedBy, parseSigned, readSigned, verifyText } from "./signed-text.ts";
import { grantKind, readGrant } from "./standing-grant.schema.ts";
import type { GrantStatement } from "./standing-grant.schema.ts";
import type { SignedStatement } from "./stored-decisions.ts";

export type GrantRow = {
  readonly id: GrantId;
  readonly document: StandingGrant;
  readonly digest: Digest;
  readonly state: "proposed" | "active" | "denied" | "revoked";
  readonly uses: number;
  readonly sum: number;
  readonly proposedAt: Date;
  readonly revokedBy: string | null;
  readonly reason: string | null;
};

export type GrantVote = SignedStatement & {
  readonly reviewer: string;
  readonly decision: "approve" | "deny";
  readonly at: Date;
  readonly publicKey: string;
  readonly keyOwner: string;
  readonly keyAddedAt: Date;
  readonly keyRevokedAt: Date | null;
  /** The reviewer's groups as they are now. */
  readonly groups: readonly string[];
};

const columns = `id, document, digest, state, uses, sum, proposed_at as "proposedAt", revoked_by as "revokedBy", reason`;
const maxCandidates = 20;

export async function proposeGrant(tx: Tx, document: StandingGrant, now: Date): Promise<GrantRow> {
  if (readGrant(document) === undefined)
    throw new ApprovalError("statement_malformed", "the standing grant is malformed");
  if (new Date(document.expiresAt) <= now) throw new ApprovalError("request_expired", "it would have ended already");
  const { rows } = await tx.query<GrantRow>(
    `insert into standing_grant (id, team, agent, tool, document, digest, proposed_by, proposed_at, expires_at, max_uses, max_sum)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) returning ${columns}`,
    [
      `sgr_${ulid(now.getTime())}`,
      document.team,
      document.agent,
      document.tool,
      JSON.stringify(document),
      digestOf(document as unknown as Json),
      document.proposedBy,
      now,
      document.expiresAt,
      document.maxUses,
      document.sum?.max ?? null,
    ],
  );
  return rows[0] as GrantRow;
}

export async function grantById(tx: Tx, id: GrantId, lock = false): Promise<GrantRow | undefined> {
  const { rows } = await tx.query<GrantRow>(
    lock
      ? `select ${columns} from standing_grant where id = $1 for update`
      : `select ${columns} from standing_grant where id = $1`,
    [id],
  );
  return rows[0];
}

/** Newest first. */
export async function listGrants(
  tx: Tx,
  filter: { readonly team?: string | undefined; readonly before?: GrantId | undefined; readonly limit: number },
): Promise<readonly GrantRow[]> {
  const { rows } = await tx.query<GrantRow>(
    `select ${columns} from standing_grant where ($1::text is null or team = $1) and ($2::text is null or id < $2)
     order by id desc limit $3`,
    [filter.team ?? null, filter.before ?? null, filter.limit],
  );
  return rows;
}

export async function grantVotes(tx: Tx, id: GrantId): Promise<readonly GrantVote[]> {
  const { rows } = await tx.query<GrantVote>(
    `select d.reviewer, d.decision, d.statement, d.signature, d.key_id as "keyId", d.at, key.public_key as "publicKey",
       key.principal as "keyOwner", key.added_at as "keyAddedAt", key.revoked_at as "keyRevokedAt", p.groups
     from standing_grant_decision d join reviewer_key key on key.key_id = d.key_id join principal p on p.id = d.reviewer
     where d.standing_grant = $1 order by d.id`,
    [id],
  );
  return rows;
}

/** What a statement takes from the grant that it is about. */
export function grantFacts({ id, document, digest }: GrantRow) {
  return { v: 1, type: grantKind.type, grant: id, team: document.team, document: digest } as const;
}

/** Takes a reviewer's signed decision on a standing grant: whoever proposed it has no say, and one denial is enough. Throws ApprovalError. */
export async function decideGrant(
  tx: Tx,
  signed: SignedStatement,
  reviewer: string,
  now: Date,
): Promise<{ readonly grant: GrantRow; readonly statement: GrantStatement }> {
  const statement = parseSigned(grantKind, signed.statement);
  const grant = await grantById(tx, statement.grant, true);
  if (grant === undefined) throw new ApprovalError("request_missing", "there is no such standing grant");
  const field = mismatch(statement, grant, reviewer);
  if (field !== undefined) throw new ApprovalError("statement_mismatch", `statement's \`${field}\` is not the grant's`);
  await assertSignedBy(tx, grantKind.type, signed, reviewer);
  if (grant.state !== "proposed") throw new ApprovalError("request_not_pending", `the grant is ${grant.state}`);
  if (now >= new Date(grant.document.expiresAt)) throw new ApprovalError("request_expired", "the grant's time is up");
  if (reviewer === grant.document.proposedBy)
    throw new ApprovalError("self_approval", "who proposed a standing grant cannot decide on it");
  const groups = await groupsOf(tx, reviewer);
  const wanted = grant.document.requirements.map(({ group }) => group);
  if (!wanted.some((group) => groups.includes(group)))
    throw new ApprovalError("not_in_group", `it takes a member of ${wanted.map((one) => `\`${one}\``).join(" or ")}`);
  const before = await grantVotes(tx, grant.id);
  if (before.some((vote) => vote.reviewer === reviewer))
    throw new ApprovalError("decided_before", `\`${reviewer}\` decided on it before`);
  await tx.query(
    `insert into standing_grant_decision (standing_grant, reviewer, decision, statement, key_id, signature, at)
     values ($1, $2, $3, $4, $5, $6, $7)`,
    [grant.id, reviewer, statement.decision, signed.statement, signed.keyId, signed.signature, now],
  );
  const given = approvalsGiven(grant, await grantVotes(tx, grant.id), []);
  const met = grant.document.requirements.every(({ quorum }, index) => (given[index]?.approvals ?? 0) >= quorum);
  const approved = met ? "active" : "proposed";
  const state = statement.decision === "deny" ? "denied" : approved;
  if (state !== "proposed") await tx.query("update standing_grant set state = $2 where id = $1", [grant.id, state]);
  return { grant: { ...grant, state }, statement };
}

function mismatch(statement: GrantStatement, grant: GrantRow, reviewer: string): string | undefined {
  const expected: Partial<GrantStatement> = { ...grantFacts(grant), reviewer };
  return Object.entries(expected).find(([name, value]) => statement[name as keyof GrantStatement] !== value)?.[0];
}

/**
 * What the signatures on a grant amount to now: by keys that hold, of people who are in the groups still, and neither of who proposed it nor
 * of `excluded`. Nothing else of the row is trusted.
 */
export function approvalsGiven(
  grant: GrantRow,
  votes: readonly GrantVote[],
  excluded: readonly string[],
): readonly { readonly policy: string; readonly group: string; readonly approvals: number }[] {
  const { document } = grant;
  const holds =
    readGrant(document) !== undefined &&
    digestOf(document as unknown as Json) === grant.digest &&
    !votes.some(({ decision }) => decision === "deny");
  const valid = votes.filter((vote) => holds && voteHolds(grant, vote) && !excluded.includes(vote.reviewer));
  return document.requirements.map(({ policy, group }) => ({
    policy,
    group,
    approvals: new Set(valid.filter(({ groups }) => groups.includes(group)).map(({ reviewer }) => reviewer)).size,
  }));
}

function voteHolds(grant: GrantRow, vote: GrantVote): boolean {
  if (vote.reviewer === grant.document.proposedBy || vote.keyOwner !== vote.reviewer) return false;
  if (vote.keyRevokedAt !== null || vote.keyAddedAt > vote.at || vote.at >= new Date(grant.document.expiresAt))
    return false;
  if (!verifyText(grantKind.type, vote.statement, vote.signature, vote.publicKey)) return false;
  const statement = readSigned(grantKind, vote.statement);
  return statement?.decision === "approve" && mismatch(statement, grant, vote.reviewer) === undefined;
}

/** Ends a grant. False where it had ended. */
export async function revokeGrant(tx: Tx, id: GrantId, by: string, reason: string, now: Date): Promise<boolean> {
  const { rowCount } = await tx.query(
    `update standing_grant set state = 'revoked', revoked_by = $2, reason = $3, revoked_at = $4
     where id = $1 and state in ('proposed', 'active')`,
    [id, by, reason, now],
  );
  return rowCount === 1;
}

/** The grants that may be for a call, with their rows locked until the transaction ends: parallel uses wait for each other. */
export async function lockGrantsFor(
  tx: Tx,
  call: { readonly team: string; readonly agent: string; readonly tool: string; readonly now: Date },
): Promise<readonly GrantRow[]> {
  const { rows } = await tx.query<GrantRow>(
    `select ${columns} from standing_grant where team = $1 and agent = $2 and tool = $3 and state = 'active' and expires_at > $4
       and uses < max_uses order by id limit ${maxCandidates} for update`,
    [call.team, call.agent, call.tool, call.now],
  );
  return rows;
}

/** Counts a use of a grant whose row is locked. The database refuses what is past its bounds. */
export async function recordGrantUse(
  tx: Tx,
  use: {
    readonly grant: GrantRow;
    readonly run: RunId;
    readonly seq: number;
    readonly amount: number;
    readonly now: Date;
  },
): Promise<void> {
  const { grant, run, seq, amount, now } = use;
  await tx.query("update standing_grant set uses = uses + 1, sum = sum + $2 where id = $1", [grant.id, amount]);
  await tx.query(
    "insert into standing_grant_use (standing_grant, n, run, seq, amount, at) values ($1, $2, $3, $4, $5, $6)",
    [grant.id, grant.uses, run, seq, amount, now],
  );
}

export type GrantUse = { readonly grant: GrantId; readonly n: number; readonly seq: number; readonly amount: number };

export async function grantUsesOf(tx: Tx, run: RunId): Promise<readonly GrantUse[]> {
  const { rows } = await tx.query<GrantUse>(
    `select standing_grant as grant, n, seq, amount from standing_grant_use where run = $1 order by seq`,
    [run],
  );
  return rows;
}
