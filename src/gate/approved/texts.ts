import { shortfallOf } from "../../core/approved.ts";
import type { Approved } from "../../core/approved.ts";
import type { Decision } from "../../core/decision.ts";

/** Why what people said does not make a call or an answer go further, as agents and auditors read it. */
export const changedSince = "the policy has changed what would be done since it was shown to the reviewers";

/** What a grant was signed on was not the text of its action: rows can be written past the code that makes it. */
export const shownOtherwise = "what its reviewers were shown is not this call";

/** In which terms policies ask for more than people were asked for. */
export function moreAskedText(decision: Decision, approved: readonly Approved[]): string {
  const asked = decision.outcome === "require_approval" ? decision.requirements : [];
  const shortfalls = asked.flatMap((requirement) => shortfallOf(requirement, approved) ?? []);
  return ["the policy has changed, and now asks for an approval that was not given", ...shortfalls].join("; ");
}

export function expiryText(approved: boolean): string {
  return approved ? "it was approved, but not used before the approval expired" : "nobody decided in time";
}

export function declineText(reason: string | undefined): string {
  return reason === undefined || reason === "" ? "a reviewer declined" : `a reviewer declined: ${reason}`;
}
