import type { Json } from "../core/json.ts";
import { canonicalText } from "../store/canonical.ts";
import { reader } from "./engine.ts";
import type { PolicyProblem } from "./errors.ts";
import { conjunctsOf, constantOf } from "./lint-expressions.ts";
import type { Conjunct } from "./lint-expressions.ts";
import { contradictionIn, rangesOf } from "./lint-ranges.ts";
import type { Range } from "./lint-ranges.ts";
import type { ReadPolicy } from "./policy.ts";
import { actionOfTool, groupsOfTool } from "./schema.ts";
import type { PolicyTool } from "./schema.ts";
import { coversAction } from "./scope.ts";
import type { ActionScope } from "./scope.ts";

export const lintRules = [
  /** Its scope has no action that any tool is. */
  "unreachable",
  /** Its conditions are never true. */
  "never-applies",
  /** Another policy decides everything that this one is about. */
  "shadowed",
  "duplicate",
  "permits-everything",
  /** An `unless` that is always true, or a condition that speaks of a tool or group that nobody has: the forbid is none. */
  "forbid-never-fires",
  "acting-without-a-forbid",
  "tool-without-a-forbid",
  "loose-pattern",
  /** A comparison with a text that the attribute never is. */
  "never-that-value",
  /** An agent or a team that the policies are not for. */
  "unknown-principal",
  /** A tool, or the model, that no policy permits. */
  "never-permitted",
] as const;
export type LintRule = (typeof lintRules)[number];

/** A warning about policies that are valid, and probably not what their author means. */
export type PolicyWarning = PolicyProblem & { readonly rule: LintRule; readonly hint: string };

export type Warn = (
  rule: LintRule,
  policy: Subject | undefined,
  message: string,
  hint: string,
  clause?: number,
) => void;

/** A policy with what the rules go by. */
export type Subject = ReadPolicy & {
  /** The actions it covers, of those there are. */
  readonly actions: ReadonlySet<string>;
  /** Principal and resource scope, as one text. */
  readonly who: string;
  readonly anybody: boolean;
  readonly conjuncts: readonly Conjunct[];
  /** Those that are not always true. */
  readonly needs: ReadonlySet<string>;
  /** What they leave of each number. */
  readonly ranges: ReadonlyMap<string, Range>;
  readonly neverTrue: Conjunct | undefined;
};

/** The team that a set is for, with its agents as `TEAM/NAME`. */
export type PolicyTeam = { readonly name: string; readonly agents: readonly string[] };

export function subjectOf(
  policy: ReadPolicy,
  text: string,
  tools: readonly PolicyTool[],
  models: readonly string[],
): Subject | undefined {
  const answer = reader.run((cedar) => cedar.policyToJson(text));
  if (answer.type === "failure") return undefined;
  const { principal, resource } = answer.json;
  const conjuncts = conjunctsOf(answer.json);
  const isAlways = (one: Conjunct): boolean => constantOf(one.body) === !one.negated;
  return {
    ...policy,
    actions: actionsOf(policy.scope.action, tools, models),
    who: canonicalText([principal, resource] as unknown as Json),
    anybody: principal.op === "All" && resource.op === "All",
    conjuncts,
    needs: new Set(conjuncts.filter((one) => !isAlways(one)).map((one) => one.text)),
    ranges: rangesOf(conjuncts),
    neverTrue: conjuncts.find((one) => constantOf(one.body) === one.negated) ?? contradictionIn(conjuncts),
  };
}

function actionsOf(scope: ActionScope, tools: readonly PolicyTool[], models: readonly string[]): ReadonlySet<string> {
  const all = [
    ...models.map((action) => ({ action, groups: [] })),
    ...tools.map((tool) => ({ action: actionOfTool(tool), groups: groupsOfTool(tool) })),
  ];
  return new Set(all.filter(({ action, groups }) => coversAction(scope, action, groups)).map(({ action }) => action));
}
