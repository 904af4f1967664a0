import type { ApprovalId } from "../core/ids.ts";
import type { Tx } from "../store/index.ts";
import type { ApprovalRequest } from "./requests.ts";
import { readStatement, verifyStatement } from "./statement.ts";
import type { ApprovalStatement } from "./statement.schema.ts";

export type SignedStatement = {
  /** The exact text that was signed. */
  readonly statement: string;
  /** Ed25519, base64. */
  readonly signature: string;
  readonly keyId: string;
};

export type StoredDecision = SignedStatement & {
  readonly request: ApprovalId;
  readonly reviewer: string;
  readonly decision: "approve" | "deny";
  readonly publicKey: string;
  readonly keyOwner: string;
  readonly keyAddedAt: Date;
  readonly keyRevokedAt: Date | null;
  /** The reviewer's groups as they are now. */
  readonly groups: readonly string[];
  readonly at: Date;
};

/** The decisions on a request, oldest first, each with its key and the reviewer's present groups. */
export async function decisionsOf(tx: Tx, request: ApprovalId): Promise<readonly StoredDecision[]> {
  const { rows } = await tx.query<StoredDecision>(
    `select d.request, d.reviewer, d.decision, d.statement, d.signature, d.key_id as "keyId", k.public_key as "publicKey",
       k.principal as "keyOwner", k.added_at as "keyAddedAt",
       k.revoked_at as "keyRevokedAt", p.groups, d.at
     from approval_decision d join reviewer_key k on k.key_id = d.key_id join principal p on p.id = d.reviewer
     where d.request = $1 order by d.id`,
    [request],
  );
  return rows;
}

/** What a statement takes from its request: a reviewer signs these as they are, and they are compared before a signature counts. */
export function statementFacts(request: ApprovalRequest) {
  return {
    v: 1,
    type: "countersign/approval/v1",
    request: request.id,
    team: request.team,
    run: request.run,
    seq: request.seq,
    action: request.action,
    rendered: request.rendered,
    policySet: request.policySet,
    expiresAt: request.expiresAt.toISOString(),
  } as const satisfies Partial<ApprovalStatement>;
}

/** The first field of a statement that has to be the request's own, or the reviewer's, and is not. */
export function mismatch(statement: ApprovalStatement, request: ApprovalRequest, reviewer: string): string | undefined {
  const expected: Partial<ApprovalStatement> = { ...statementFacts(request), reviewer };
  return Object.entries(expected).find(([field, value]) => statement[field as keyof ApprovalStatement] !== value)?.[0];
}

/**
 * Whether a stored approval counts, from what was signed alone: rows can be written past this code. The key must have been its
 * reviewer's own when the decision was made, and must not be revoked now.
 */
export function approvalHolds(request: ApprovalRequest, decision: StoredDecision): boolean {
  if (decision.decision !== "approve" || decision.reviewer === request.requestedBy) return false;
  if (decision.keyOwner !== decision.reviewer || decision.keyRevokedAt !== null) return false;
  if (decision.keyAddedAt > decision.at || decision.at >= request.expiresAt) return false;
  if (!verifyStatement(decision.statement, decision.signature, decision.publicKey)) return false;
  const statement = readStatement(decision.statement);
  return statement?.decision === "approve" && mismatch(statement, request, decision.reviewer) === undefined;
}

/** What the reviewer who declined gave as the reason; empty if none. */
export function denialReason(decisions: readonly StoredDecision[]): string {
  const denial = decisions.find((decision) => decision.decision === "deny");
  return denial === undefined ? "" : (readStatement(denial.statement)?.reason ?? "");
}
