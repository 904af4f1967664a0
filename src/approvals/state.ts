import type { ApprovalRequirement } from "../core/decision.ts";
import type { ApprovalState } from "../core/states.ts";
import { isMet } from "./routing.ts";
import type { Vote } from "./routing.ts";

export type ApprovalEvent =
  | { readonly kind: "decided"; readonly decision: "approve" | "deny" }
  | { readonly kind: "expired" }
  | { readonly kind: "cancelled" }
  | { readonly kind: "consumed" }
  | { readonly kind: "outcome_unknown" }
  | { readonly kind: "reconciled" };

/**
 * The state after `event`, where `votes` are all decisions with this one, or undefined where the event cannot happen. A missing
 * decision is never an approval, one denial is enough, and a grant is consumed once. What came of its use may become unknown, and known again.
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
    case "outcome_unknown":
      return state === "consumed" ? "outcome_unknown" : undefined;
    case "reconciled":
      return state === "outcome_unknown" ? "consumed" : undefined;
  }
}
