import type { PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";

import { byBeginning, conjunctionOf, widestOf } from "./alike.ts";
import type { Alike, Expression } from "./alike.ts";
import { isDeeperThan } from "./policy.ts";
import type { ReadPolicy } from "./policy.ts";
import { withoutScope } from "./scope.ts";

type Alternative = { readonly policy: ReadPolicy; readonly condition: Expression };

/** Of fewer forbids, each is asked about itself at no greater cost. */
const worthwhile = 6;
/** A part costs as much as several alternatives. */
const smallestPart = 12;
/** Leaves room for the tree of alternatives above it: Cedar's stack is small. */
const maxDepth = 100;

/** One forbid in the place of several. */
export type Part = { readonly id: string; readonly json: PolicyJson; readonly forbids: readonly ReadPolicy[] };

/**
 * Forbids in parts, and for each part one forbid that fires, or fails, exactly if the first of the part to do either does: `(a) || (b)
 * || …` of their conditions. `||` goes on to the next alternative only when one is false, so if the whole is false without an error,
 * then so is each of them; those that begin alike are asked that once, see `byBeginning`. Cedar takes two microseconds for every policy, whatever it says, and a fraction of that for an
 * alternative: where nothing forbids, which is most often, one question to the parts and the permits settles it, and where something
 * does, only its part has to be asked. `apart` are those that cannot be an alternative, to be asked beside. Undefined where it would
 * not be worth its while.
 */
export function partsOf(
  forbids: readonly ReadPolicy[],
): { readonly parts: readonly Part[]; readonly apart: readonly ReadPolicy[] } | undefined {
  const alternatives: Alternative[] = [];
  const apart: ReadPolicy[] = [];
  for (const policy of forbids) {
    const bare = withoutScope(policy.json, policy.scope);
    const fits = bare !== undefined && bare.resource.op === "All" && !isDeeperThan(bare, maxDepth);
    if (fits) alternatives.push({ policy, condition: conjunctionOf(bare.conditions) });
    else apart.push(policy);
  }
  if (alternatives.length < worthwhile) return undefined;
  // As many parts as each has policies: neither question is then long. Those that begin alike stand together.
  const size = Math.max(smallestPart, Math.ceil(Math.sqrt(alternatives.length)));
  const inOrder = byBeginning(alternatives).flatMap(({ items }) => items);
  const parts = Array.from({ length: Math.ceil(inOrder.length / size) }, (_, index): Part => {
    const chosen = inOrder.slice(index * size, (index + 1) * size);
    const body = disjunctionOf(byBeginning(chosen).map(conditionOf));
    // No policy's `@id` has a space.
    return { id: `part ${index}`, json: forbidWhen(body), forbids: chosen.map(({ policy }) => policy) };
  });
  return { parts, apart };
}

function conditionOf({ guard, items }: Alike<Alternative>): Expression {
  const any = disjunctionOf(widestOf(items.map(({ condition }) => condition)));
  return guard === undefined ? any : { "&&": { left: guard, right: any } };
}

function forbidWhen(body: Expression): PolicyJson {
  const everything = { op: "All" } as const;
  const scopes = { principal: everything, action: everything, resource: everything };
  return { effect: "forbid", ...scopes, conditions: [{ kind: "when", body }], annotations: {} };
}

/** As a balanced tree: its depth is the logarithm of the number. */
function disjunctionOf(alternatives: readonly Expression[]): Expression {
  if (alternatives.length <= 1) return alternatives[0] ?? { Value: false };
  const middle = Math.ceil(alternatives.length / 2);
  const [left, right] = [alternatives.slice(0, middle), alternatives.slice(middle)].map(disjunctionOf);
  return { "||": { left: left ?? { Value: false }, right: right ?? { Value: false } } };
}
