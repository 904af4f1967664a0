import type { ApprovalRequirement } from "./decision.ts";

/** What a grant brings of one requirement: as people were asked it, and how far it was met. */
export type Approved = ApprovalRequirement & {
  /** How many different people approved, of those whom it asked. */
  readonly approvals: number;
  /** Milliseconds from the request's opening to the decision that goes by it. */
  readonly ageMs: number;
};

/**
 * Why what was approved does not do for what is asked now, or undefined where it does. A policy of the same id may ask for more than it did
 * when people were asked: nothing that they gave counts for that.
 */
export function shortfallOf(now: ApprovalRequirement, approved: readonly Approved[]): string | undefined {
  const then = approved.filter(({ policy, group }) => policy === now.policy && group === now.group);
  if (then.length === 0) return `policy \`${now.policy}\` asks \`${now.group}\`, who were not asked for it`;
  const shortfalls = then.map((one) => shortfall(now, one));
  return shortfalls.includes(undefined) ? undefined : shortfalls[0];
}

function shortfall(now: ApprovalRequirement, then: Approved): string | undefined {
  const { policy, group, quorum } = now;
  const counted = `policy \`${policy}\` asks for ${quorum} of \`${group}\`, and has ${then.approvals}`;
  if (!Number.isSafeInteger(then.approvals) || then.approvals < quorum) return counted;
  const terms = changedTerms(now, then);
  return terms.length === 0 ? undefined : `policy \`${policy}\` asks for more than was approved: ${terms.join(", ")}`;
}

/**
 * The terms under which a vote that counted then may not count now. Each looser or the same: the votes that were enough still are.
 */
function changedTerms(now: ApprovalRequirement, then: Approved): readonly string[] {
  const names = [now.group, ...(now.orGroups ?? [])];
  const escalated = then.escalate === undefined || isEscalatedAlike(now, then.escalate);
  const terms: Readonly<Record<string, boolean>> = {
    "who may approve": [then.group, ...(then.orGroups ?? [])].every((group) => names.includes(group)),
    "whom it escalates to": escalated,
    "a passkey": now.signed === undefined || now.signed === then.signed,
    "different people": now.distinct !== true || then.distinct === true,
    "nobody who edited the call": then.editorCounts !== true || now.editorCounts === true,
    // It is what limits of delegations were held against.
    "another amount": now.amount === then.amount,
    // Also false where either is no number.
    "less time": then.ageMs < now.expiresMs,
  };
  return Object.entries(terms).flatMap(([term, isMet]) => (isMet ? [] : [term]));
}

function isEscalatedAlike(
  { group, orGroups = [], escalate }: ApprovalRequirement,
  then: NonNullable<ApprovalRequirement["escalate"]>,
): boolean {
  const isAtOnce = (name: string): boolean => name === group || orGroups.includes(name);
  const isLater = (name: string): boolean =>
    escalate !== undefined && escalate.afterMs <= then.afterMs && escalate.to.includes(name);
  return then.to.every((name) => isAtOnce(name) || isLater(name));
}
