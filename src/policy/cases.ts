import type { Approved } from "../core/approved.ts";
import type { Decision, DenialCode } from "../core/decision.ts";
import { didYouMean } from "../core/did-you-mean.ts";
import type { Json } from "../core/json.ts";
import { canonicalText } from "../store/canonical.ts";
import { compilePolicies } from "./compile.ts";
import type { CompiledPolicies } from "./compile.ts";
import { explain } from "./decide.ts";
import type { PolicySetDocument } from "./policy-set.ts";
import type { PolicyRequest } from "./request.ts";
import type { PolicyTool } from "./schema.ts";

type CaseApproval = { readonly policy: string; readonly group: string; readonly approvals: number };

/** One request and the decision that its author expects. */
export type PolicyCase = {
  readonly name: string;
  /** Where it begins in its `cases.yaml`, from 1. */
  readonly line: number;
  readonly request: PolicyRequest;
  /** How many members of a group have approved what a policy asks for, on its own terms. */
  readonly approved: readonly CaseApproval[];
  readonly expect: {
    readonly outcome: Decision["outcome"];
    readonly code?: DenialCode;
    /** The ids that determine it, in any order; absent: any. */
    readonly policies?: readonly string[];
  };
};

/** A parsed `cases.yaml`: the tools and sources that its cases call, and the cases. */
export type CaseTable = { readonly tools: readonly PolicyTool[]; readonly cases: readonly PolicyCase[] };

export type CaseResult = {
  readonly name: string;
  readonly line: number;
  readonly passed: boolean;
  readonly decision: Decision;
  /** What differs, one line each; empty if it passed. */
  readonly differences: readonly string[];
  /** Why it may test something else than its author means. */
  readonly warnings: readonly string[];
};

export type CaseReport = {
  readonly results: readonly CaseResult[];
  /** Policies that determined no case's decision: their cases are missing. */
  readonly uncovered: readonly string[];
};

/** Decides every case. Throws PolicyError if the policies or tools cannot be compiled. */
export function runCases(
  document: PolicySetDocument,
  tools: readonly PolicyTool[],
  cases: readonly PolicyCase[],
): CaseReport {
  const compiled = compilePolicies(document, tools);
  const fired = new Set<string>();
  const ids = document.policies.map(({ id }) => id);
  const results = cases.map((one): CaseResult => {
    const { name, line, request, approved, expect } = one;
    const { decision, detail } = explain(compiled, request, onItsTerms(compiled, request, approved));
    for (const { policy } of decision.policies) fired.add(policy);
    const found = differences(expect, decision);
    const why = found.length === 0 ? [] : [...(detail === undefined ? [] : [detail]), ...unmeetable(one, cases, ids)];
    const passed = found.length === 0;
    return {
      name,
      line,
      passed,
      decision,
      differences: [...found, ...why],
      warnings: doubtsOf(one, decision, detail, ids),
    };
  });
  return { results, uncovered: ids.filter((id) => !fired.has(id)) };
}

/** Why no decision could be what a case expects. */
function unmeetable(one: PolicyCase, cases: readonly PolicyCase[], ids: readonly string[]): readonly string[] {
  const { expect } = one;
  const asked = ({ request: it, approved: by }: PolicyCase): string => canonicalText([it, by] as unknown as Json);
  const rivals = cases.filter((other) => other !== one && other.expect.outcome !== expect.outcome);
  const rival = rivals.find((other) => asked(other) === asked(one));
  return [
    ...(expect.policies ?? []).flatMap((id) => unknownPolicy(id, ids)),
    ...(rival === undefined
      ? []
      : [`line ${rival.line} asks the same, and expects ${rival.expect.outcome}: ${rival.name}`]),
  ];
}

function doubtsOf(
  { approved, expect }: PolicyCase,
  decision: Decision,
  detail: string | undefined,
  ids: readonly string[],
): readonly string[] {
  const isUndecidable = decision.outcome === "deny" && decision.code === "undecidable";
  return [
    ...approved.flatMap(({ policy }) => unknownPolicy(policy, ids)),
    ...(isUndecidable && expect.outcome === "deny" && expect.code === undefined
      ? [
          `denied because it cannot be decided (${detail ?? "no reason"}): say \`code: undecidable\` where that is meant`,
        ]
      : []),
  ];
}

function unknownPolicy(id: string, ids: readonly string[]): readonly string[] {
  if (ids.includes(id)) return [];
  const meant = didYouMean(id, ids);
  return [`the pack has no policy ${id}${meant === undefined ? "" : `; did you mean ${meant}?`}`];
}

/** What a case says was approved, as the policies themselves ask for it. */
export function onItsTerms(
  compiled: CompiledPolicies,
  request: PolicyRequest,
  approved: readonly CaseApproval[],
): readonly Approved[] {
  if (approved.length === 0) return [];
  const { decision } = explain(compiled, request);
  const asked = decision.outcome === "require_approval" ? decision.requirements : [];
  return approved.flatMap(({ policy, group, approvals }) =>
    asked
      .filter((one) => one.policy === policy && one.group === group)
      .map((requirement) => ({ ...requirement, approvals, ageMs: 0 })),
  );
}

function differences(expected: PolicyCase["expect"], decision: Decision): string[] {
  const code = decision.outcome === "deny" ? decision.code : undefined;
  const policies = decision.policies.map(({ policy }) => policy);
  const compare = (what: string, want: string | undefined, got: string | undefined): string[] =>
    want === undefined || want === got ? [] : [`expected ${what} ${want}, got ${got ?? "none"}`];
  return [
    ...compare("outcome", expected.outcome, decision.outcome),
    ...compare("code", expected.code, code),
    ...compare("policies", expected.policies?.toSorted().join(", "), policies.toSorted().join(", ")),
  ];
}
