import type { Approved } from "../core/approved.ts";
import type { ApprovalId, Digest } from "../core/ids.ts";
import type { Tx } from "../store/index.ts";
import { tableOf } from "./capacity.ts";
import { lockRequest } from "./requests.ts";
import type { ApprovalRequest } from "./requests.ts";
import { tally } from "./routing.ts";
import { approvalsThatHold, decisionsOf, denialReason, holdKeysOf } from "./stored-decisions.ts";
import type { StoredDecision } from "./stored-decisions.ts";

export type GrantClaim = {
  readonly request: ApprovalId;
  readonly actionDigest: Digest;
  readonly run: string;
  readonly seq: number;
  readonly now: Date;
  /** The names of whom the run acts for, as `subjectNames` gives them: none of these counts. Absent: nobody in particular. */
  readonly subject?: readonly string[];
};

export type GrantCheck =
  | { readonly status: "pending"; readonly expiresAt: Date }
  | { readonly status: "denied"; readonly reason: string }
  /** `approved`: people had said yes in time, and it was not used. */
  | { readonly status: "expired"; readonly approved: boolean }
  | { readonly status: "cancelled"; readonly reason: string }
  | { readonly status: "invalid"; readonly reason: string }
  | {
      readonly status: "granted";
      /** What was asked for, and met: whether it does for what is asked now, the policy in force says. */
      readonly approvals: readonly Approved[];
    };

/**
 * Whether a grant holds for this very action, now. Nothing is taken on trust: signatures, keys, persons, groups, delegations and
 * quorum are checked again from what the reviewers signed, whatever the request's state says. Locks the request until the transaction ends.
 */
export async function checkGrant(tx: Tx, claim: GrantClaim): Promise<GrantCheck> {
  const request = await lockRequest(tx, claim.request);
  if (request === undefined) return { status: "invalid", reason: "there is no such approval request" };
  if (request.action !== claim.actionDigest || request.run !== claim.run || request.seq !== claim.seq) {
    return { status: "invalid", reason: "the approval is for another action" };
  }
  await holdKeysOf(tx, request.id);
  const decisions = await decisionsOf(tx, request.id);
  switch (request.state) {
    case "denied":
      return { status: "denied", reason: denialReason(decisions) };
    case "cancelled":
      return { status: "cancelled", reason: "the approval request was cancelled" };
    case "consumed":
    case "outcome_unknown":
      return { status: "invalid", reason: "the approval was used before" };
    case "expired":
      return { status: "expired", approved: request.decidedAt !== null };
    case "pending":
      return claim.now >= request.expiresAt
        ? { status: "expired", approved: false }
        : { status: "pending", expiresAt: request.expiresAt };
    case "approved":
      return claim.now >= request.expiresAt
        ? { status: "expired", approved: true }
        : verified(tx, request, decisions, claim);
  }
}

async function verified(
  tx: Tx,
  request: ApprovalRequest,
  decisions: readonly StoredDecision[],
  { subject = [], now }: GrantClaim,
): Promise<GrantCheck> {
  if (decisions.some((decision) => decision.decision === "deny")) {
    return { status: "invalid", reason: "the request is approved although a reviewer declined" };
  }
  if (request.requirements.length === 0) return { status: "invalid", reason: "the request asks for nobody" };
  const valid = approvalsThatHold(request, decisions);
  const counts = tally(request.requirements, (await tableOf(tx, request, subject)).votes(valid));
  const ageMs = now.getTime() - request.openedAt.getTime();
  const approvals = request.requirements.map((requirement, index) => ({
    ...requirement,
    approvals: counts[index] ?? 0,
    ageMs,
  }));
  const short = approvals.find((requirement) => requirement.approvals < requirement.quorum);
  if (short !== undefined) {
    return {
      status: "invalid",
      reason: `group \`${short.group}\` has ${short.approvals} approvals that hold, of ${short.quorum}`,
    };
  }
  return { status: "granted", approvals };
}

/** Uses a grant up. False where it was used, or ended, before: only one caller ever gets true. */
export async function consumeGrant(tx: Tx, id: ApprovalId, now: Date): Promise<boolean> {
  const { rowCount } = await tx.query(
    "update approval_request set state = 'consumed', consumed_at = $2 where id = $1 and state = 'approved' and expires_at > $2",
    [id, now],
  );
  return rowCount === 1;
}
