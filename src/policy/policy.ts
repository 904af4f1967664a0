import type { DetailedError, PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";

import { annotationFaults, instructionsOf } from "./annotations.ts";
import type { Instructions } from "./annotations.ts";
import { reader } from "./engine.ts";
import type { PolicyProblem } from "./errors.ts";
import { placeOf, placeOfAnnotation } from "./places.ts";
import type { Place } from "./places.ts";
import { readsOf } from "./reads.ts";
import type { Reads } from "./reads.ts";
import { actionsIn, scopeOf } from "./scope.ts";
import type { PolicyScope } from "./scope.ts";

/** One policy, read: what its annotations say, whom and what it is about, and what it looks at. */
export type ReadPolicy = Instructions & {
  readonly id: string;
  readonly text: string;
  readonly effect: "permit" | "forbid";
  /** As Cedar reads it. */
  readonly json: PolicyJson;
  readonly scope: PolicyScope;
  readonly reads: Reads;
  /** Every `Action::"…"` in scope and conditions. */
  readonly mentions: readonly string[];
};

/** Deeper expressions overflow Cedar's stack at some stage: about 128 chained operators. Sets have no such limit. */
const maxDepth = 256;

/** Reads one Cedar policy. Lines in the problems count from the policy's own first line. */
export function readPolicy(text: string): { readonly policy: ReadPolicy } | { readonly problems: PolicyProblem[] } {
  const parsed = parse(text);
  if ("problems" in parsed) return parsed;
  const { json } = parsed;
  const given = Object.entries(json.annotations ?? {}) as [string, string | null][];
  const id = given.find(([name]) => name === "id")?.[1] ?? undefined;
  const named = id === undefined ? {} : { policy: id };
  const faults = [...annotationFaults(given, json.effect), ...shapeFaults(json)];
  if (faults.length > 0 || id === undefined) {
    return {
      problems: faults.map((message) => ({ severity: "error", ...named, ...placeOfFault(text, message), message })),
    };
  }
  return {
    policy: {
      ...instructionsOf(id, given, json.effect),
      id,
      text,
      effect: json.effect,
      json,
      scope: scopeOf(json),
      reads: readsOf(json),
      mentions: mentionsOf(json),
    },
  };
}

/** At the annotation that it begins with; else at the policy. */
function placeOfFault(text: string, message: string): Place {
  const [, name] = /^@(\w+)/.exec(message) ?? [];
  return (name === undefined ? undefined : placeOfAnnotation(text, name)) ?? { line: 1, column: 1 };
}

function parse(text: string): { readonly json: PolicyJson } | { readonly problems: PolicyProblem[] } {
  try {
    const answer = reader.run((cedar) => cedar.policyToJson(text));
    return answer.type === "success" ? { json: answer.json } : { problems: syntaxProblems(text, answer.errors) };
  } catch {
    return { problems: [{ severity: "error", message: "cedar cannot read this policy: it is nested too deeply" }] };
  }
}

/** Cedar's message without its preamble, on one line. */
export function messageOf(error: DetailedError | undefined): string {
  const message = error?.message ?? "not a Cedar policy";
  const plain = message.replace(/^failed to parse policy from string: /, "").replace(/^for policy `[^`]*`, /, "");
  const hint = error?.help ? ` (${error.help})` : "";
  return `${plain}${hint}`.replace(/\s+/g, " ").slice(0, 500);
}

/** What Cedar says of a text that it cannot read, each at its place. */
export function syntaxProblems(text: string, errors: readonly DetailedError[]): PolicyProblem[] {
  return errors.map((error) => {
    const [location] = error.sourceLocations ?? [];
    const place = location === undefined ? {} : placeOf(text, location.start);
    const expected = error.help ? undefined : (slipAt(text, location?.start, error.message) ?? location?.label);
    const message = `${messageOf(error)}${expected ? ` (${expected})` : ""}`;
    return { severity: "error", ...place, message };
  });
}

/** What people write in other languages, and Cedar says in its own way. */
const slips: readonly (readonly [RegExp, string])[] = [
  [/^unexpected token `and`/, "try using `&&` instead"],
  [/^unexpected token `or`/, "try using `||` instead"],
  [/^`(?:startsWith|endsWith|includes|matches|match)` is not/, 'try `like "begins*"` instead'],
  [/^expected an entity uid.*found a `\*` expression/, 'write an action as Action::"tool/NAME", in double quotes'],
];

function slipAt(text: string, byte: number | undefined, message: string): string | undefined {
  const before = Buffer.from(text, "utf8")
    .subarray(0, byte ?? 0)
    .toString("utf8");
  if (/\bnot\s+$/.test(before)) return "try using `!` instead";
  if (/\d\.$/.test(before)) return 'write a fraction as decimal("0.5"), and compare it with .lessThan(…)';
  return slips.find(([pattern]) => pattern.test(message))?.[1];
}

function shapeFaults(json: PolicyJson): string[] {
  const ours = json.action.op === "All" || actionsIn(json).every((entity) => entity.type === "Action");
  return [
    ...(ours ? [] : ["the scope names an action that is not of type Action"]),
    // Policies go to Cedar by way of JSON, where such a number is another one: a limit would move.
    ...(hasUnsafeNumber(json)
      ? ["numbers past 9007199254740991 cannot be told apart; no argument or count is greater"]
      : []),
    ...(isDeeperThan(json, maxDepth) ? ["expressions are nested too deeply; use a set with .contains()"] : []),
  ];
}

/** Iterative: the JSON of a hostile policy may be deeper than our own stack. */
function* nodesOf(root: unknown): Generator<{ value: object; depth: number }> {
  const waiting: { value: unknown; depth: number }[] = [{ value: root, depth: 0 }];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { value, depth } = next;
    if (typeof value !== "object" || value === null) continue;
    yield { value, depth };
    for (const inner of Object.values(value)) waiting.push({ value: inner, depth: depth + 1 });
  }
}

export function isDeeperThan(root: unknown, limit: number): boolean {
  for (const { depth } of nodesOf(root)) if (depth > limit) return true;
  return false;
}

function hasUnsafeNumber(json: PolicyJson): boolean {
  for (const { value } of nodesOf(json.conditions)) {
    if ("Value" in value && typeof value.Value !== "string" && !isExact(value.Value)) return true;
  }
  return false;
}

/** Whether a literal is no number, or one that JSON carries as it is. */
function isExact(value: unknown): boolean {
  return typeof value !== "bigint" && (typeof value !== "number" || Number.isSafeInteger(value));
}

function mentionsOf(json: PolicyJson): string[] {
  const found = new Set<string>();
  for (const { value } of nodesOf({ action: json.action, conditions: json.conditions })) {
    if ("type" in value && value.type === "Action" && "id" in value && typeof value.id === "string")
      found.add(value.id);
  }
  return [...found];
}
