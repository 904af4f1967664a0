import type { ApprovalId } from "../core/ids.ts";
import type { Tx } from "../store/index.ts";
import type { ApprovalRequest } from "./requests.ts";
import { kindOf, signatureFault } from "./signature.ts";
import type { KeyKind, SignedStatement, SigningKey } from "./signature.ts";
import { readStatement } from "./statement.ts";
import type { ApprovalStatement } from "./statement.schema.ts";

export type StoredDecision = SignedStatement & {
  readonly id: number;
  readonly request: ApprovalId;
  readonly reviewer: string;
  readonly decision: "approve" | "deny";
  readonly key: SigningKey;
  readonly keyOwner: string;
  /** Null where no second person has confirmed the key. */
  readonly keyConfirmedAt: Date | null;
  readonly keyRevokedAt: Date | null;
  /** The reviewer's groups as they are now. */
  readonly groups: readonly string[];
  readonly at: Date;
};

/** The decisions on a request, oldest first, each with its key and the reviewer's present groups. */
export async function decisionsOf(tx: Tx, request: ApprovalId): Promise<readonly StoredDecision[]> {
  const { rows } = await tx.query<DecisionRow>(
    `select d.id, d.request, d.reviewer, d.decision, d.statement, d.signature, d.key_id as "keyId", d.assertion,
       json_build_object('keyId', k.key_id, 'kind', k.kind, 'publicKey', k.public_key, 'passkey', k.passkey) as key,
       k.principal as "keyOwner", k.confirmed_at as "keyConfirmedAt",
       k.revoked_at as "keyRevokedAt", p.groups, d.at
     from approval_decision d join reviewer_key k on k.key_id = d.key_id join principal p on p.id = d.reviewer
     where d.request = $1 order by d.id`,
    [request],
  );
  return rows.map(({ assertion, ...row }) =>
    assertion === null ? row : ({ ...row, ...assertion, kind: "webauthn" } as StoredDecision),
  );
}

/** Keeps the keys that signed from being revoked until the transaction ends: what is found of them holds as long. */
export async function holdKeysOf(tx: Tx, request: ApprovalId): Promise<void> {
  await tx.query(
    `select from reviewer_key where key_id in (select key_id from approval_decision where request = $1)
     order by key_id for share`,
    [request],
  );
}

/** `assertion` is whatever was written there: what is no assertion does not verify. */
type DecisionRow = StoredDecision & { readonly assertion: object | null };

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
 * reviewer's own, and confirmed, when the decision was made, and must not be revoked now.
 */
export function approvalHolds(request: ApprovalRequest, decision: StoredDecision): boolean {
  if (decision.decision !== "approve" || decision.reviewer === request.requestedBy) return false;
  if (decision.keyOwner !== decision.reviewer || decision.keyRevokedAt !== null) return false;
  if (decision.keyConfirmedAt === null || decision.keyConfirmedAt > decision.at) return false;
  if (decision.at >= request.expiresAt) return false;
  if (signatureFault(decision, decision.key) !== undefined) return false;
  const statement = readStatement(decision.statement);
  return statement?.decision === "approve" && mismatch(statement, request, decision.reviewer) === undefined;
}

/** The approvals among these that count, by their ids, each with how it was signed. */
export function approvalsThatHold(
  request: ApprovalRequest,
  decisions: readonly StoredDecision[],
): ReadonlyMap<number, KeyKind> {
  return new Map(decisions.filter((one) => approvalHolds(request, one)).map((one) => [one.id, kindOf(one)]));
}

/** Whether it was an approval whose key is revoked: it never counts again, and whoever gave it may decide anew. */
export function isFallen({ decision, keyRevokedAt }: StoredDecision): boolean {
  return decision === "approve" && keyRevokedAt !== null;
}

/** What the reviewer who declined gave as the reason; empty if none. */
export function denialReason(decisions: readonly StoredDecision[]): string {
  const denial = decisions.find((decision) => decision.decision === "deny");
  return denial === undefined ? "" : (readStatement(denial.statement)?.reason ?? "");
}
