/** What can be said of a policy's conditions without a request. Cedar's JSON policy format: docs.cedarpolicy.com/policies/json-format.html */
import type { PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";

import { isObject } from "../core/json.ts";
import type { Json, JsonObject } from "../core/json.ts";
import { canonicalText } from "../store/canonical.ts";

/** One operand of the conjunction that a policy's conditions are. */
export type Conjunct = {
  /** Equal texts are equal conditions. */
  readonly text: string;
  readonly body: Json;
  /** It must be false: it stands below an `unless` or a `!`. */
  readonly negated: boolean;
  /** Which `when` or `unless` it is from, from 0. */
  readonly clause: number;
};

/** The conditions of a policy as one conjunction: `when { a && b } unless { c || d }` is a, b, not c, not d. */
export function conjunctsOf({ conditions }: Pick<PolicyJson, "conditions">): readonly Conjunct[] {
  return conditions.flatMap(({ kind, body }, clause) => split(body as unknown as Json, kind === "unless", clause));
}

function split(body: Json, negated: boolean, clause: number): Conjunct[] {
  const inner = operandsOf(body, "!")?.["arg"];
  if (inner !== undefined) return split(inner, !negated, clause);
  const parts = operandsOf(body, negated ? "||" : "&&");
  const { left, right } = parts ?? {};
  if (left !== undefined && right !== undefined) {
    return [...split(left, negated, clause), ...split(right, negated, clause)];
  }
  return [{ text: `${negated ? "!" : ""}${canonicalText(body)}`, body, negated, clause }];
}

/** What an expression is whatever the request is, as far as its shape shows it; it may still fail. */
export function constantOf(expression: Json): boolean | undefined {
  const value = literal(expression);
  if (typeof value === "boolean") return value;
  const not = operandsOf(expression, "!")?.["arg"];
  if (not !== undefined) return inverse(constantOf(not));
  const and = both(expression, "&&");
  if (and !== undefined) return and.includes(false) ? false : and.every((one) => one === true) ? true : undefined;
  const or = both(expression, "||");
  if (or !== undefined) return or.includes(true) ? true : or.every((one) => one === false) ? false : undefined;
  const same = operandsOf(expression, "==");
  if (same !== undefined) return equal(same);
  const differs = operandsOf(expression, "!=");
  if (differs !== undefined) return inverse(equal(differs));
  const like = operandsOf(expression, "like");
  if (like !== undefined) return patternOf(like) === "*" ? true : undefined;
  const choice = operandsOf(expression, "if-then-else");
  return choice === undefined ? undefined : constantChoice(choice);
}

function both(expression: Json, operator: "&&" | "||"): readonly (boolean | undefined)[] | undefined {
  const { left, right } = operandsOf(expression, operator) ?? {};
  return left === undefined || right === undefined ? undefined : [constantOf(left), constantOf(right)];
}

function equal({ left, right }: JsonObject): boolean | undefined {
  if (left === undefined || right === undefined) return undefined;
  if (canonicalText(left) === canonicalText(right)) return true;
  const values = [literal(left), literal(right)];
  return values.every((value) => value !== undefined) ? false : undefined;
}

function constantChoice(choice: JsonObject): boolean | undefined {
  const [test, yes, no] = [choice["if"], choice["then"], choice["else"]].map((part) => constantOf(part ?? null));
  return test === true ? yes : test === false ? no : yes === no ? yes : undefined;
}

function inverse(value: boolean | undefined): boolean | undefined {
  return value === undefined ? undefined : !value;
}

/** A `like` pattern as Cedar text, runs of wildcards being one. */
export function patternOf(like: JsonObject): string {
  const { pattern } = like;
  if (!Array.isArray(pattern)) return "";
  const text = pattern.map((part: Json) => {
    const { Literal: character } = isObject(part) ? part : {};
    return typeof character === "string" ? character : "*";
  });
  return text.join("").replace(/\*+/g, "*");
}

/** Every operation of this name in an expression: its operands. */
export function operationsIn(expression: Json, operator: string): readonly JsonObject[] {
  const found: JsonObject[] = [];
  const waiting: Json[] = [expression];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (typeof next !== "object" || next === null) continue;
    const own = operandsOf(next, operator);
    if (own !== undefined) found.push(own);
    waiting.push(...(Object.values(next) as Json[]));
  }
  return found;
}

/** Every entity that an expression or a scope names. */
export function entitiesIn(expression: Json): readonly { readonly type: string; readonly id: string }[] {
  const found: { type: string; id: string }[] = [];
  const waiting: Json[] = [expression];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (typeof next !== "object" || next === null) continue;
    const { type, id } = isObject(next) ? next : {};
    if (typeof type === "string" && typeof id === "string") found.push({ type, id });
    waiting.push(...(Object.values(next) as Json[]));
  }
  return found;
}

/** `context.tool.name` for a chain of attributes that begins with a variable; else undefined. */
export function pathOf(expression: Json | undefined): string | undefined {
  if (!isObject(expression)) return undefined;
  if (typeof expression["Var"] === "string") return expression["Var"];
  const access = operandsOf(expression, ".");
  const before = pathOf(access?.["left"]);
  return before === undefined || typeof access?.["attr"] !== "string" ? undefined : `${before}.${access["attr"]}`;
}

export function literal(expression: Json | undefined): string | number | boolean | undefined {
  const value = isObject(expression) ? expression["Value"] : undefined;
  return typeof value === "object" ? undefined : value;
}

/** The operands of this operation, if the expression is one. */
export function operandsOf(expression: Json, operator: string): JsonObject | undefined {
  const value = isObject(expression) && Object.hasOwn(expression, operator) ? expression[operator] : undefined;
  return isObject(value) ? value : undefined;
}
