import type { PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";

export type Expression = PolicyJson["conditions"][number]["body"];

/** Conditions that begin alike. Where `guard` is false, each of them is false; where it fails, each of them fails. */
export type Alike<Item> = { readonly guard: Expression | undefined; readonly items: readonly Item[] };

type Compared = { readonly operator: Operator; readonly left: Expression; readonly literal: number };
type Operator = (typeof operators)[number];
const operators = [">", ">=", "<", "<="] as const;

/** In order, as Cedar evaluates the clauses of a policy. */
export function conjunctionOf(clauses: PolicyJson["conditions"]): Expression {
  const [first, ...rest] = clauses.map(({ kind, body }) => (kind === "when" ? body : { "!": { arg: body } }));
  return rest.reduce<Expression>((left, right) => ({ "&&": { left, right } }), first ?? { Value: true });
}

/**
 * Items by what their conditions are asked first, in the order of their first. Large sets say the same thing of many places (`amount >
 * 800`, `amount > 950`): one question for the least of them settles all where it is false, which is most often. A condition is a
 * conjunction, whose parts Cedar evaluates from the left until one is false; so what is said of its first part holds for the whole.
 */
export function byBeginning<Item extends { readonly condition: Expression }>(
  items: readonly Item[],
): readonly Alike<Item>[] {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const first = firstPart(item.condition);
    const compared = comparedIn(first);
    // An expression is written in one way here: as Cedar's own parser gives it.
    const name = JSON.stringify(compared === undefined ? first : [compared.operator, compared.left]);
    groups.set(name, [...(groups.get(name) ?? []), item]);
  }
  return [...groups.values()].map((alike) => ({
    guard: alike.length === 1 ? undefined : guardOf(alike),
    items: alike,
  }));
}

/**
 * Conditions whose disjunction is true, or fails, exactly where that of all is. Of those that differ only in the number that they begin
 * with (`amount > 800 && x`, `amount > 950 && x`), the one that is true whenever any of them is says it all: where it is not, none of the
 * others comes to its `x`.
 */
export function widestOf(conditions: readonly Expression[]): readonly Expression[] {
  const widest = new Map<string, { readonly condition: Expression; readonly compared: Compared | undefined }>();
  for (const condition of conditions) {
    const compared = comparedIn(firstPart(condition));
    const name = JSON.stringify(
      compared === undefined ? condition : [compared.operator, compared.left, withFirst(condition, { Value: true })],
    );
    const other = widest.get(name);
    if (other === undefined || isWider(compared, other.compared)) widest.set(name, { condition, compared });
  }
  return [...widest.values()].map(({ condition }) => condition);
}

function isWider(one: Compared | undefined, other: Compared | undefined): boolean {
  if (one === undefined || other === undefined) return false;
  return one.operator.startsWith(">") ? one.literal < other.literal : one.literal > other.literal;
}

function withFirst(condition: Expression, first: Expression): Expression {
  const both = operandsOf(condition, "&&");
  return both === undefined ? first : { "&&": { left: withFirst(both.left, first), right: both.right } };
}

function guardOf(items: readonly { readonly condition: Expression }[]): Expression | undefined {
  const firsts = items.map(({ condition }) => firstPart(condition));
  const compared = firsts.flatMap((first) => comparedIn(first) ?? []);
  const [one] = compared;
  if (one === undefined) return firsts[0];
  // The one that is true whenever any of them is.
  const literals = compared.map(({ literal }) => literal);
  const widest = one.operator.startsWith(">") ? Math.min(...literals) : Math.max(...literals);
  return { [one.operator]: { left: one.left, right: { Value: widest } } } as unknown as Expression;
}

/** What a condition asks first. */
export function firstPart(condition: Expression): Expression {
  const both = operandsOf(condition, "&&");
  return both === undefined ? condition : firstPart(both.left);
}

/** A comparison with a number that the policy names. */
function comparedIn(expression: Expression): Compared | undefined {
  for (const operator of operators) {
    const both = operandsOf(expression, operator);
    const literal = both === undefined ? undefined : (both.right as { readonly Value?: unknown }).Value;
    if (both !== undefined && typeof literal === "number") return { operator, left: both.left, literal };
  }
  return undefined;
}

export function operandsOf(
  expression: Expression,
  operator: string,
): { readonly left: Expression; readonly right: Expression } | undefined {
  const operands = (expression as unknown as Record<string, unknown>)[operator];
  return operands as { readonly left: Expression; readonly right: Expression } | undefined;
}
