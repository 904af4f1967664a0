import type { ApprovalRequirement } from "../core/decision.ts";
import type { Vote } from "./state.ts";

/** What is known of who changed the action that a request is about. */
type Edited = { readonly editors: readonly string[]; readonly requirements: readonly ApprovalRequirement[] };

/**
 * The vote with the groups it counts for. Whoever changed a call would approve their own call: they count for no group, but for those
 * whose every requirement has `@editor("counts")`. A denial is a denial by whomever.
 */
export function countedVote<Given extends Vote>({ editors, requirements }: Edited, vote: Given): Given {
  if (!editors.includes(vote.reviewer)) return vote;
  return { ...vote, groups: vote.groups.filter((group) => editorCountsFor(requirements, group)) };
}

export function editorCountsFor(requirements: readonly ApprovalRequirement[], group: string): boolean {
  const own = requirements.filter((requirement) => requirement.group === group);
  return own.length > 0 && own.every(({ editorCounts }) => editorCounts === true);
}
