import { isBudgetPolicy } from "../core/budget.ts";
import type { ApprovalRequirement } from "../core/decision.ts";
import type { Digest } from "../core/ids.ts";
import { isObject } from "../core/json.ts";
import type { Json, JsonObject } from "../core/json.ts";
import { mixesScripts } from "../core/provenance.ts";
import type { ToolDefinition } from "../core/release.ts";
import type { StandingTerms, Target } from "../core/standing-grant.ts";
import { digestOf } from "../store/canonical.ts";
import { isEligible, isMet, peopleOf } from "./routing.ts";
import type { Vote } from "./routing.ts";
import { matchesPattern, patternFault } from "./target-pattern.ts";
import { visible } from "./visible.ts";

/** However few a policy asks for: a standing grant is never one person's. */
export const fewestPeople = 2;
const longestMs = 90 * 86_400_000;
const mostListed = 100;

export function termsDigest(terms: StandingTerms): Digest {
  return digestOf(terms as unknown as Json);
}

export function toolDigest(tool: object): Digest {
  return digestOf(tool as Json);
}

/** Requirements in the one order that terms have them in. */
export function ordered(requirements: readonly ApprovalRequirement[]): readonly ApprovalRequirement[] {
  const name = ({ policy, group }: ApprovalRequirement): string => `${policy}\n${group}`;
  return requirements.toSorted((a, b) => (name(a) < name(b) ? -1 : name(a) > name(b) ? 1 : 0));
}

/** Why what policies ask for cannot be given ahead; undefined if it can. */
export function requirementsFault(requirements: readonly ApprovalRequirement[]): string | undefined {
  if (requirements.length === 0) return "nobody is asked";
  for (const { policy, orGroups, distinct, escalate, signed } of requirements) {
    if (isBudgetPolicy(policy)) return "a budget asks: more room is given each time";
    if (signed !== undefined) return `policy \`${policy}\` takes what is signed with a ${signed} only`;
    if (orGroups !== undefined) return `policy \`${policy}\` asks for one of several groups`;
    if (distinct !== undefined) return `policy \`${policy}\` has each person count once`;
    if (escalate !== undefined) return `policy \`${policy}\` asks others after a time`;
  }
  const amounts = new Set(requirements.flatMap(({ amount }) => amount ?? []));
  return amounts.size > 1 ? "the policies name different amounts" : undefined;
}

/** Whether what is asked for now is what the grant was approved for. */
export function answers(terms: StandingTerms, requirements: readonly ApprovalRequirement[]): boolean {
  return (
    requirementsFault(requirements) === undefined &&
    digestOf(ordered(requirements) as unknown as Json) === digestOf(terms.requirements as unknown as Json)
  );
}

/** Everything that terms have to be, given the tool that they are about; undefined where they are. */
export function termsFault(terms: StandingTerms, tool: ToolDefinition): string | undefined {
  const { requirements, targets, unconstrained, sum, from, until } = terms;
  const lasts = Date.parse(until) - Date.parse(from);
  if (!(lasts > 0)) return "it would end before it begins";
  if (lasts > longestMs) return "it would be for longer than 90 days";
  const asked = requirementsFault(requirements);
  if (asked !== undefined) return asked;
  const amount = requirements.find((one) => one.amount !== undefined)?.amount;
  if (amount !== undefined && sum?.argument !== amount)
    return `the policy holds \`${amount}\` against limits: the grant has to bound its sum`;
  return argumentsFault({ targets, unconstrained, sum }, tool);
}

function argumentsFault(
  { targets, unconstrained, sum }: Pick<StandingTerms, "targets" | "unconstrained"> & { sum: StandingTerms["sum"] },
  tool: ToolDefinition,
): string | undefined {
  const known = argumentsOf(tool);
  const named = [...targets.map((one) => one.argument), ...unconstrained, ...(sum === undefined ? [] : [sum.argument])];
  const strange = named.find((name) => !known.includes(name));
  if (strange !== undefined) return `\`${tool.name}\` has no argument \`${visible(strange)}\``;
  const twice = named.find((name, place) => named.indexOf(name) !== place);
  if (twice !== undefined) return `argument \`${twice}\` is named twice`;
  const unsaid = known.filter((name) => !named.includes(name));
  if (unsaid.length > 0)
    return `nothing is said of ${unsaid.map((name) => `\`${name}\``).join(", ")}: name a target, or say that it is unconstrained`;
  const loose = (tool.destinations ?? []).find((name) => unconstrained.includes(name));
  if (loose !== undefined) return `\`${loose}\` says where it goes: it cannot be unconstrained`;
  if (targets.every((target) => "absent" in target)) return "no target is named: which calls is it for?";
  return targets.map(targetFault).find((fault) => fault !== undefined);
}

/** The arguments that a tool has, sorted. */
export function argumentsOf({ parameters }: Pick<ToolDefinition, "parameters">): readonly string[] {
  const properties = parameters["properties"];
  return isObject(properties) ? Object.keys(properties).toSorted() : [];
}

function targetFault(target: Target): string | undefined {
  const { argument } = target;
  if ("absent" in target) return undefined;
  if ("like" in target) {
    const fault = patternFault(target.like);
    return fault === undefined ? undefined : `pattern of \`${argument}\`: ${fault}`;
  }
  const { is } = target;
  if (typeof is !== "string") return undefined;
  return isPlain(is) ? undefined : `\`${argument}\`: look-alike letters, hidden characters or a second spelling`;
}

/** A text in its one spelling (NFC), all of which is seen, and without words that mix scripts: whoever reads it reads what it is. */
function isPlain(text: string): boolean {
  return text.isWellFormed() && text.normalize("NFC") === text && visible(text) === text && !mixesScripts(text);
}

export type CallMatch =
  | { readonly matches: true; readonly amount: number }
  | { readonly matches: false; readonly argument: string };

/** Whether a call's arguments are such as the terms say, and what it adds to their sum. */
export function matchCall(terms: StandingTerms, args: JsonObject): CallMatch {
  const { targets, unconstrained, sum } = terms;
  const miss = (argument: string): CallMatch => ({ matches: false, argument });
  for (const target of targets) if (!targetMatches(target, args)) return miss(target.argument);
  const said = new Set([...targets.map(({ argument }) => argument), ...unconstrained, sum?.argument]);
  const more = Object.keys(args).find((name) => !said.has(name));
  if (more !== undefined) return miss(more);
  if (sum === undefined) return { matches: true, amount: 0 };
  const amount = Object.hasOwn(args, sum.argument) ? args[sum.argument] : undefined;
  // What would give room back is no amount.
  if (typeof amount !== "number" || !Number.isSafeInteger(amount) || amount < 0) return miss(sum.argument);
  return { matches: true, amount: amount + 0 };
}

function targetMatches(target: Target, args: JsonObject): boolean {
  const value = Object.hasOwn(args, target.argument) ? args[target.argument] : undefined;
  if ("absent" in target) return value === undefined;
  if ("is" in target) return value === target.is && (typeof value !== "string" || isPlain(value));
  const values = Array.isArray(value) ? value : [value];
  return (
    values.length > 0 &&
    values.length <= mostListed &&
    values.every((one) => typeof one === "string" && matchesPattern(target.like, one))
  );
}

/** Whether there is room for one more use with this amount, after `n` uses that came to `total`. */
export function hasRoom({ uses, sum }: StandingTerms, { n, total }: { n: number; total: number }, amount: number) {
  const after = total + amount;
  return n < uses && Number.isSafeInteger(after) && (sum === undefined || after <= sum.max);
}

/** What limits a delegation. */
export type DelegationLimits = {
  readonly team: string | null;
  readonly tool: string | null;
  readonly maxAmount: number | null;
  readonly from: Date;
  readonly until: Date;
};

/**
 * Whether terms may be approved for somebody by a delegation with these limits, at a time: they are within all of them, their sum too, and
 * end no later than it does. What a delegate agrees to does not outlive that.
 */
export function isWithinDelegation(terms: StandingTerms, limits: DelegationLimits, at: Date): boolean {
  const { team, tool, maxAmount, from, until } = limits;
  const amount = terms.requirements.find((one) => one.amount !== undefined)?.amount;
  const { sum } = terms;
  return (
    from <= at &&
    at < until &&
    Date.parse(terms.until) <= until.getTime() &&
    (team === null || team === terms.team) &&
    (tool === null || tool === terms.tool) &&
    (maxAmount === null ||
      (amount !== undefined && sum !== undefined && sum.argument === amount && sum.max <= maxAmount))
  );
}

export function isInTime({ from, until }: Pick<StandingTerms, "from" | "until">, at: Date): boolean {
  return Date.parse(from) <= at.getTime() && at.getTime() < Date.parse(until);
}

/** What somebody's approval counts as: as that of these persons, those for whom they approved it among them. */
export function standingVote(reviewer: string, persons: readonly string[], groups: readonly string[]): Vote {
  return { reviewer, decision: "approve", groups, persons: [...new Set(persons)] };
}

/** Whether votes make the grant: what the policies ask for, and never fewer than two people. */
export function isGranted({ requirements }: Pick<StandingTerms, "requirements">, votes: readonly Vote[]): boolean {
  const counting = votes.filter((vote) => requirements.some((requirement) => isEligible(requirement, vote)));
  return isMet(requirements, counting) && peopleOf(counting) >= fewestPeople;
}
