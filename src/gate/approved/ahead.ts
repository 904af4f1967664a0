import type { Approved } from "../../core/approved.ts";
import type { ApprovalRequirement } from "../../core/decision.ts";

/** What a standing grant counts as, for the gate and an auditor: the approvals that the policies ask for, no more. */
export function approvedAhead(requirements: readonly ApprovalRequirement[]): readonly Approved[] {
  return requirements.map((requirement) => ({ ...requirement, approvals: requirement.quorum, ageMs: 0 }));
}
