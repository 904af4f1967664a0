import type { Tx } from "../store/index.ts";
import { countedVote, editorCountsFor } from "./editors.ts";
import { ApprovalError } from "./errors.ts";
import { reviewerKey } from "./keys.ts";
import { lockRequest } from "./requests.ts";
import type { ApprovalRequest } from "./requests.ts";
import { nextState } from "./state.ts";
import type { ApprovalState, Vote } from "./state.ts";
import { parseStatement, verifyStatement } from "./statement.ts";
import type { ApprovalStatement } from "./statement.schema.ts";
import { approvalHolds, decisionsOf, mismatch } from "./stored-decisions.ts";
import type { SignedStatement } from "./stored-decisions.ts";

export type DecidedRequest = {
  readonly request: ApprovalRequest;
  readonly state: ApprovalState;
  readonly statement: ApprovalStatement;
  /** False where the same reviewer had decided the same before: nothing was written. */
  readonly recorded: boolean;
};

/**
 * Takes a reviewer's signed decision. `reviewer` is who the caller authenticated. Everything is checked under the request's lock, so
 * that two reviewers at once meet a quorum exactly once. Throws ApprovalError.
 */
export async function decideRequest(
  tx: Tx,
  signed: SignedStatement,
  reviewer: string,
  now: Date,
): Promise<DecidedRequest> {
  const statement = parseStatement(signed.statement);
  const request = await lockRequest(tx, statement.request);
  if (request === undefined) throw new ApprovalError("request_missing", "there is no such approval request");
  assertSameThing(statement, request, reviewer);
  await assertSigned(tx, signed, reviewer);
  const before = await decisionsOf(tx, request.id);
  const earlier = before.find((decision) => decision.reviewer === reviewer);
  if (earlier !== undefined) {
    if (earlier.decision === statement.decision) return { request, state: request.state, statement, recorded: false };
    throw new ApprovalError("decided_before", `\`${reviewer}\` decided \`${earlier.decision}\` before`, {
      hint: "a decision cannot be changed",
    });
  }
  assertOpen(request, now);
  const groups = await groupsOf(tx, reviewer);
  assertMayDecide(request, reviewer, groups);
  if (statement.decision === "approve") assertNotOwnEdit(request, reviewer, groups);
  const votes: readonly Vote[] = [
    ...before.filter((one) => approvalHolds(request, one)),
    { reviewer, decision: statement.decision, groups },
  ].map((vote) => countedVote(request, vote));
  const state = nextState(
    request.state,
    { kind: "decided", decision: statement.decision },
    request.requirements,
    votes,
  );
  if (state === undefined) throw notPending(request);
  await tx.query(
    `insert into approval_decision (request, reviewer, decision, statement, key_id, signature, at) values ($1, $2, $3, $4, $5, $6, $7)`,
    [request.id, reviewer, statement.decision, signed.statement, signed.keyId, signed.signature, now],
  );
  if (state !== request.state) {
    await tx.query("update approval_request set state = $2, decided_at = $3 where id = $1", [request.id, state, now]);
  }
  return { request, state, statement, recorded: true };
}

function assertSameThing(statement: ApprovalStatement, request: ApprovalRequest, reviewer: string): void {
  const field = mismatch(statement, request, reviewer);
  if (field !== undefined)
    throw new ApprovalError("statement_mismatch", `statement's \`${field}\` is not the request's`);
}

async function assertSigned(tx: Tx, signed: SignedStatement, reviewer: string): Promise<void> {
  const key = await reviewerKey(tx, signed.keyId);
  if (key === undefined || key.principal !== reviewer) {
    throw new ApprovalError("key_unknown", `key is not enrolled for \`${reviewer}\``, {
      hint: "sign with the key that was enrolled for you",
    });
  }
  if (key.revokedAt !== null) throw new ApprovalError("key_revoked", "key was revoked");
  if (!verifyStatement(signed.statement, signed.signature, key.publicKey)) {
    throw new ApprovalError("signature_invalid", "signature does not verify");
  }
}

export function assertOpen(request: ApprovalRequest, now: Date): void {
  if (request.state !== "pending") throw notPending(request);
  if (now >= request.expiresAt)
    throw new ApprovalError("request_expired", `request expired at ${request.expiresAt.toISOString()}`);
}

function notPending(request: ApprovalRequest): ApprovalError {
  return new ApprovalError("request_not_pending", `request is ${request.state}`);
}

export function assertMayDecide(request: ApprovalRequest, reviewer: string, groups: readonly string[]): void {
  if (reviewer === request.requestedBy) {
    throw new ApprovalError("self_approval", "who asked for the run cannot decide on its actions");
  }
  const wanted = request.requirements.map((requirement) => requirement.group);
  if (!wanted.some((group) => groups.includes(group))) {
    throw new ApprovalError(
      "not_in_group",
      `deciding needs a member of ${wanted.map((group) => `\`${group}\``).join(" or ")}`,
    );
  }
}

function assertNotOwnEdit(request: ApprovalRequest, reviewer: string, groups: readonly string[]): void {
  if (!request.editors.includes(reviewer)) return;
  if (!groups.some((group) => editorCountsFor(request.requirements, group)))
    throw new ApprovalError("self_approval", "who changed the call cannot approve it: no policy says that they count");
}

export async function groupsOf(tx: Tx, principal: string): Promise<readonly string[]> {
  const { rows } = await tx.query<{ groups: string[] }>("select groups from principal where id = $1", [principal]);
  return rows[0]?.groups ?? [];
}
