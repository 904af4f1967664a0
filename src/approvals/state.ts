import type { ApprovalRequirement } from "../core/decision.ts";
import { kindOf } from "./signature.ts";
import type { KeyKind } from "./signature.ts";

export const approvalStates = ["pending", "approved", "denied", "expired", "cancelled", "consumed"] as const;
export type ApprovalState = (typeof approvalStates)[number];

export type ApprovalEvent =
  | { readonly kind: "decided"; readonly decision: "approve" | "deny" }
  | { readonly kind: "expired" }
  | { readonly kind: "cancelled" }
  | { readonly kind: "consumed" };

/** Who decided what. `groups` are the groups of the reviewer that count. */
export type Vote = {
  readonly reviewer: string;
  readonly decision: "approve" | "deny";
  readonly groups: readonly string[];
  /** How it was signed; absent: with a key file. */
  readonly kind?: KeyKind | undefined;
};

/**
 * The state after `event`, where `votes` are all decisions with this one, or undefined where the event cannot happen. A missing
 * decision is never an approval, one denial is enough, and a grant is consumed once.
 */
export function nextState(
  state: ApprovalState,
  event: ApprovalEvent,
  requirements: readonly ApprovalRequirement[],
  votes: readonly Vote[],
): ApprovalState | undefined {
  switch (event.kind) {
    case "decided":
      if (state !== "pending") return undefined;
      if (event.decision === "deny") return "denied";
      return isMet(requirements, votes) ? "approved" : "pending";
    case "expired":
      return state === "pending" || state === "approved" ? "expired" : undefined;
    case "cancelled":
      return state === "pending" || state === "approved" ? "cancelled" : undefined;
    case "consumed":
      return state === "approved" ? "consumed" : undefined;
  }
}

/** Whether every requirement has its quorum of different members of its group. */
export function isMet(requirements: readonly ApprovalRequirement[], votes: readonly Vote[]): boolean {
  return (
    requirements.length > 0 &&
    requirements.every((requirement) => approvalsFor(requirement, votes) >= requirement.quorum)
  );
}

/** Whether a signature of this kind is one that the requirement asks for. */
export function countsFor({ signed }: ApprovalRequirement, vote: { readonly kind?: KeyKind | undefined }): boolean {
  return signed === undefined || kindOf(vote) === "webauthn";
}

/** How many different members of the requirement's group approve, signed as it asks. */
export function approvalsFor(requirement: ApprovalRequirement, votes: readonly Vote[]): number {
  const members = votes.filter(
    (vote) => vote.decision === "approve" && vote.groups.includes(requirement.group) && countsFor(requirement, vote),
  );
  return new Set(members.map((vote) => vote.reviewer)).size;
}
