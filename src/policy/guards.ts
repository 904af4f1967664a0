import type { CedarValueJson } from "@cedar-policy/cedar-wasm/nodejs";

import { byBeginning, conjunctionOf, firstPart, operandsOf } from "./alike.ts";
import type { Expression } from "./alike.ts";
import type { ReadPolicy } from "./policy.ts";
import type { CedarRequest } from "./request.ts";

/** A question about one value of the context: an operator of Cedar, and the literal on its right. */
export type Guard = {
  readonly path: readonly string[];
  readonly operator: (typeof operators)[number];
  readonly literal: string | number | boolean;
};

const operators = ["==", ">", ">=", "<", "<=", "contains"] as const;

/**
 * Questions of which one has to be true for any of the forbids to fire or to fail: what a condition asks first, as it is a conjunction that
 * Cedar evaluates from the left until one part is false. Forbids that begin alike share one. Undefined where a forbid begins with anything
 * else: then only Cedar can tell.
 */
export function guardsOf(forbids: readonly ReadPolicy[]): readonly Guard[] | undefined {
  const conditions = forbids.map(({ json }) => ({ condition: conjunctionOf(json.conditions) }));
  const guards: Guard[] = [];
  for (const { guard, items } of byBeginning(conditions)) {
    const first = guard ?? items[0]?.condition;
    const made = first === undefined ? undefined : guardIn(firstPart(first));
    if (made === undefined) return undefined;
    guards.push(made);
  }
  return guards;
}

/**
 * Whether each of the questions is certainly answered with no: the value is there, of the literal's type, and Cedar's meaning of the operator
 * is JavaScript's (integers are safe ones, texts well-formed: `conforms.ts`). Anything else is for Cedar to answer.
 */
export function noneHolds(guards: readonly Guard[], { context }: Pick<CedarRequest, "context">): boolean {
  return guards.every((guard) => isFalse(guard, valueAt(context, guard.path)));
}

function isFalse({ operator, literal }: Guard, value: CedarValueJson | undefined): boolean {
  if (operator === "contains")
    return Array.isArray(value) && value.every((one) => typeof one === typeof literal && one !== literal);
  if (operator === "==") return typeof value === typeof literal && value !== literal;
  if (!Number.isSafeInteger(value) || !Number.isSafeInteger(literal)) return false;
  const [left, right] = [value as number, literal as number];
  switch (operator) {
    case ">":
      return !(left > right);
    case ">=":
      return !(left >= right);
    case "<":
      return !(left < right);
    case "<=":
      return !(left <= right);
  }
}

function guardIn(expression: Expression): Guard | undefined {
  for (const operator of operators) {
    const both = operandsOf(expression, operator);
    if (both === undefined) continue;
    const path = pathIn(both.left);
    const literal = (both.right as { readonly Value?: unknown }).Value;
    const isPlain = typeof literal === "string" || typeof literal === "boolean" || Number.isSafeInteger(literal);
    return path !== undefined && isPlain ? { path, operator, literal: literal as Guard["literal"] } : undefined;
  }
  return undefined;
}

/** `context.a.b`. */
function pathIn(expression: Expression): readonly string[] | undefined {
  const { Var: variable, ".": access } = expression as {
    readonly Var?: unknown;
    readonly "."?: { readonly left: Expression; readonly attr: string };
  };
  if (variable === "context") return [];
  const left = access === undefined ? undefined : pathIn(access.left);
  return access === undefined || left === undefined ? undefined : [...left, access.attr];
}

function valueAt(context: CedarRequest["context"], path: readonly string[]): CedarValueJson | undefined {
  let at: CedarValueJson | undefined = context;
  for (const name of path) {
    if (typeof at !== "object" || at === null || Array.isArray(at) || !Object.hasOwn(at, name)) return undefined;
    at = (at as Record<string, CedarValueJson>)[name];
  }
  return at;
}
