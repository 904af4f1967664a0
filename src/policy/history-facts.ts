import { isMap, isScalar, LineCounter, parseDocument } from "yaml";
import { z } from "zod";

import { effectClasses } from "../core/action.ts";
import { historyScopes } from "../core/decision.ts";
import type { HistoryFact } from "../core/decision.ts";
import { didYouMean } from "../core/did-you-mean.ts";
import { toolNamePattern } from "../core/ids.ts";
import { parseYaml } from "../core/yaml-document.schema.ts";
import { yamlProblems } from "./errors.ts";
import type { PolicyProblem } from "./errors.ts";
import type { Place } from "./places.ts";
import { readPolicy } from "./policy.ts";
import type { PolicySetDocument, PolicySources } from "./policy-set.ts";
import { actionOfTool, groupNamePattern, groupsOfTool, inputOf, isKindGroup, modelAction } from "./schema.ts";
import type { PolicyTool } from "./schema.ts";
import { readsFact } from "./slices.ts";

const namePattern = /^[a-z][a-zA-Z0-9_]{0,62}$/;
const durationPattern = /^([1-9]\d{0,6})([smhd])$/;
const unitMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const maxWithinMs = 366 * 86_400_000;
const maxFacts = 50;

const name = z
  .string()
  .regex(namePattern, "a fact's name is letters, digits and _, and begins with a lower-case letter");
export const countableAction = z
  .string()
  .refine(isCountable, "expected tool/NAME, retrieval/NAME, group/NAME, effect/CLASS, tool, retrieval or model");
const actions = z
  .array(countableAction)
  .min(1)
  .max(20)
  .refine((given) => new Set(given).size === given.length, "an action is named twice");
const argument = z.string().min(1).max(128);
const sumsTools = "model calls have no arguments to sum";

const historyFact = z
  .strictObject({
    name,
    measure: z.enum(["count", "sum"]),
    actions,
    argument: argument.optional(),
    per: z.enum(historyScopes),
    withinMs: z.int().min(1_000).max(maxWithinMs).optional(),
  })
  .refine(
    (fact) => (fact.measure === "sum") === (fact.argument !== undefined),
    "`argument` belongs to a sum, and every sum needs one",
  )
  .refine((fact) => fact.measure === "count" || !fact.actions.includes(modelAction), sumsTools);

/** The history facts of a policy set, as its document holds them. */
export const historyFacts = z
  .array(historyFact)
  .max(maxFacts)
  .refine((facts) => new Set(facts.map((fact) => fact.name)).size === facts.length, "two facts have one name");

const per = z.enum(historyScopes);
/** How far back from a decision. */
export const window = z
  .string()
  .refine((text) => windowMs(text) <= maxWithinMs, "expected 30s, 15m, 1h or 7d, at most 366d");
const within = window.optional();

/** A fact as a person writes it: one of these two, told apart by hand so that what is wrong is said at its own place. */
const writtenFact = z
  .strictObject({ count: actions.optional(), sum: argument.optional(), of: actions.optional(), per, within })
  .superRefine(({ count, sum, of }, context) => {
    const refuse = (path: string[], message: string): void => context.addIssue({ code: "custom", path, message });
    if ((count === undefined) === (sum === undefined))
      refuse([], "expected either `count: [ACTION]` or `sum: ARGUMENT` with `of: [ACTION]`");
    else if (sum !== undefined && of === undefined) refuse([], "`of: [ACTION]` is missing: the sum of which calls?");
    else if (count !== undefined && of !== undefined)
      refuse(["of"], "belongs to a sum; `count` names its actions itself");
    if (sum !== undefined && of?.includes(modelAction) === true) refuse(["of"], sumsTools);
  });

const historyFile = z.strictObject({
  v: z.literal(1),
  facts: z
    .record(name, writtenFact)
    .refine((facts) => Object.keys(facts).length <= maxFacts, `expected at most ${maxFacts} facts`),
});

export type HistoryFile = {
  /** By name. */
  readonly facts: readonly HistoryFact[];
  /** Where each fact is declared, for {@link historyProblems}. */
  readonly sources: PolicySources;
  readonly problems: readonly PolicyProblem[];
};

/** Reads the text of a `history.yaml` (its format: policies/README.md). Problems are at file and line; with any, there are no facts. */
export function parseHistory(yaml: string, file = "history.yaml"): HistoryFile {
  const parsed = parseYaml(yaml, historyFile);
  if (!parsed.ok) {
    return { facts: [], sources: new Map(), problems: yamlProblems(file, parsed.problems) };
  }
  const facts = Object.entries(parsed.value.facts)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([called, { count, sum, of, per: scope, within: back }]): HistoryFact => {
      const counted = { actions: (count ?? of ?? []).toSorted(), per: scope };
      const windowed = back === undefined ? {} : { withinMs: windowMs(back) };
      return sum === undefined
        ? { name: called, measure: "count", ...counted, ...windowed }
        : { name: called, measure: "sum", argument: sum, ...counted, ...windowed };
    });
  return { facts, sources: placesOf(yaml, file), problems: [] };
}

/** No `@id` has a colon, so that policies and facts share one table of places. */
export function placeName(fact: string): string {
  return `history:${fact}`;
}

function placesOf(yaml: string, file: string): PolicySources {
  return new Map([...placesOfKeys(yaml, "facts")].map(([key, place]) => [placeName(key), { file, ...place }]));
}

/** Where the keys of a YAML file's mapping are. */
export function placesOfKeys(yaml: string, field: string): ReadonlyMap<string, Place> {
  const lineCounter = new LineCounter();
  const mapping: unknown = parseDocument(yaml, { lineCounter }).get(field, true);
  const keys = (isMap(mapping) ? mapping.items : []).flatMap(({ key }) => (isScalar(key) && key.range ? [key] : []));
  return new Map(
    keys.map((key) => {
      const { line, col: column } = lineCounter.linePos(key.range?.[0] ?? 0);
      return [String(key.value), { line, column }];
    }),
  );
}

export function windowMs(text: string): number {
  const match = durationPattern.exec(text);
  return Number(match?.[1] ?? Number.NaN) * (unitMs[match?.[2] ?? ""] ?? Number.NaN);
}

function isCountable(action: string): boolean {
  const [kind, ...rest] = action.split("/");
  const called = rest.join("/");
  if (rest.length === 0) return action === modelAction || isKindGroup(action);
  return (
    (isKindGroup(kind ?? "") && toolNamePattern.test(called)) ||
    (kind === "group" && groupNamePattern.test(called)) ||
    (kind === "effect" && effectClasses.some((effect) => effect === called))
  );
}

/**
 * What is wrong with a policy set's history facts, given all the tools of the team's agents: facts that nobody reads, tools and groups
 * that do not exist, sums of what is no integer. Policies that do not parse are somebody else's to report. Throws PolicyError
 * `tools_invalid`.
 */
export function historyProblems(
  document: PolicySetDocument,
  tools: readonly PolicyTool[],
  sources: PolicySources = new Map(),
): PolicyProblem[] {
  const facts = document.history ?? [];
  if (facts.length === 0) return [];
  const policies = document.policies.flatMap(({ text }) => {
    const read = readPolicy(text);
    return "policy" in read ? [read.policy] : [];
  });
  const known = new Set(tools.flatMap((tool) => [actionOfTool(tool), ...groupsOfTool(tool)]));
  return facts.flatMap((fact) => {
    const problem = (severity: PolicyProblem["severity"], message: string): PolicyProblem => {
      const { isWritten: _written, ...place } = sources.get(placeName(fact.name)) ?? {};
      return { severity, ...place, message: `history fact ${fact.name}: ${message}` };
    };
    const absent = fact.actions.filter((action) => /^(?:tool|retrieval|group)\//.test(action) && !known.has(action));
    return [
      ...absent.map((action) => {
        const meant = didYouMean(action, [...known]);
        return problem(
          "error",
          `no tool or source is ${action}${meant === undefined ? "" : `; did you mean ${meant}?`}`,
        );
      }),
      ...(absent.length > 0 ? [] : sumFaults(fact, tools)).map((message) => problem("error", message)),
      ...(policies.some((policy) => readsFact(policy, fact.name)) ? [] : [problem("warning", "no policy reads it")]),
    ];
  });
}

/** A fraction would have to be rounded, and a text would add nothing: a limit on their sum would not hold. */
function sumFaults({ argument: summed, actions: named }: HistoryFact, tools: readonly PolicyTool[]): string[] {
  if (summed === undefined) return [];
  const covered = tools.filter((tool) => [actionOfTool(tool), ...groupsOfTool(tool)].some((id) => named.includes(id)));
  const types = covered.map((tool) => ({ tool: tool.name, type: inputOf(tool).get(summed)?.type.kind }));
  const others = types.filter(({ type }) => type !== undefined && type !== "long");
  if (others.length > 0) return others.map(({ tool }) => `argument ${summed} of tool ${tool} is not an integer`);
  return covered.length > 0 && types.every(({ type }) => type === undefined)
    ? [`no tool it counts has an argument ${summed}`]
    : [];
}
