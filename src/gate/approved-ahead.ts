import type { ApprovalRequirement } from "../core/decision.ts";
import type { Approved } from "../policy/index.ts";

/** What a standing grant counts as, for the gate and an auditor: the approvals that the policies ask for, no more. */
export function approvedAhead(requirements: readonly ApprovalRequirement[]): readonly Approved[] {
  return requirements.map(({ policy, group, quorum }) => ({ policy, group, approvals: quorum }));
}
