import type { PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";

import { isDeeperThan } from "./policy.ts";
import type { ReadPolicy } from "./policy.ts";
import { withoutScope } from "./scope.ts";

type Expression = PolicyJson["conditions"][number]["body"];

/** No policy's `@id` has a space. */
export const anyForbid = "any forbid";
/** Of fewer, each is asked about itself at no greater cost. */
const worthwhile = 4;
/** Leaves room for the tree of alternatives above it: Cedar's stack is small. */
const maxDepth = 100;

/**
 * One forbid that fires, or fails, exactly if one of `forbids` does: `(a) || (b) || …` of their conditions. `||` goes on to the next
 * alternative only when one is false, so if the whole is false without an error, then so is each of them. Cedar takes a
 * microsecond or two for every policy, whatever it says, and a fraction of that for an alternative: where nothing forbids, which is most
 * often, one question to this policy and the permits settles it. Returns also those that cannot be an alternative, to be asked beside
 * it; undefined where it would not be worth its while.
 */
export function screenOf(
  forbids: readonly ReadPolicy[],
): { readonly json: PolicyJson; readonly apart: readonly ReadPolicy[] } | undefined {
  const alternatives: Expression[] = [];
  const apart: ReadPolicy[] = [];
  for (const policy of forbids) {
    const bare = withoutScope(policy.json, policy.scope);
    const fits = bare !== undefined && bare.resource.op === "All" && !isDeeperThan(bare, maxDepth);
    if (fits) alternatives.push(conjunctionOf(bare.conditions));
    else apart.push(policy);
  }
  if (alternatives.length < worthwhile) return undefined;
  const conditions: PolicyJson["conditions"] = [{ kind: "when", body: disjunctionOf(alternatives) }];
  const everything = { op: "All" } as const;
  const scopes = { principal: everything, action: everything, resource: everything };
  return { json: { effect: "forbid", ...scopes, conditions, annotations: {} }, apart };
}

/** In order, as Cedar evaluates the clauses of a policy. */
function conjunctionOf(clauses: PolicyJson["conditions"]): Expression {
  const [first, ...rest] = clauses.map(({ kind, body }) => (kind === "when" ? body : { "!": { arg: body } }));
  return rest.reduce<Expression>((left, right) => ({ "&&": { left, right } }), first ?? { Value: true });
}

/** As a balanced tree: its depth is the logarithm of the number. */
function disjunctionOf(alternatives: readonly Expression[]): Expression {
  if (alternatives.length <= 1) return alternatives[0] ?? { Value: false };
  const middle = Math.ceil(alternatives.length / 2);
  const [left, right] = [alternatives.slice(0, middle), alternatives.slice(middle)].map(disjunctionOf);
  return { "||": { left: left ?? { Value: false }, right: right ?? { Value: false } } };
}
