/** What a conjunction of comparisons with literals leaves of each attribute: enough to see that one can never be true, or follows from another. */
import type { Json } from "../core/json.ts";
import { literal, operandsOf, pathOf } from "./lint-expressions.ts";
import type { Conjunct } from "./lint-expressions.ts";

/** Whole numbers from `least` to `most`, both among them. */
export type Range = { readonly least: number; readonly most: number };
export type Bound = { readonly path: string; readonly range: Range };

const anything: Range = { least: Number.NEGATIVE_INFINITY, most: Number.POSITIVE_INFINITY };
const count: Range = { least: 0, most: Number.POSITIVE_INFINITY };

/** What attributes are, whatever the request; policies/README.md says so. */
function rangeOf(path: string): Range {
  if (path === "context.now.hour") return { least: 0, most: 23 };
  if (path === "context.now.weekday") return { least: 1, most: 7 };
  if (path.endsWith(".confidentiality") && !path.startsWith("context.input.")) return { least: 0, most: 3 };
  return /^context\.(?:run|history|response|now)\./.test(path) ? count : anything;
}

const mirrored: Readonly<Record<string, string>> = { "<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==" };
const negation: Readonly<Record<string, string>> = { "<": ">=", "<=": ">", ">": "<=", ">=": "<" };

/** The range that a comparison of an attribute with a whole number leaves; undefined for any other condition. */
export function boundOf({ body, negated }: Conjunct): Bound | undefined {
  for (const written of Object.keys(mirrored)) {
    const compared = operandsOf(body, written);
    if (compared === undefined) continue;
    const direct = boundBy(written, compared["left"], compared["right"], negated);
    return direct ?? boundBy(mirrored[written] ?? "", compared["right"], compared["left"], negated);
  }
  return undefined;
}

function boundBy(
  written: string,
  left: Json | undefined,
  right: Json | undefined,
  negated: boolean,
): Bound | undefined {
  const [path, value] = [pathOf(left), literal(right)];
  const operator = negated ? negation[written] : written;
  if (path === undefined || typeof value !== "number" || operator === undefined) return undefined;
  switch (operator) {
    case "<":
      return { path, range: { ...anything, most: value - 1 } };
    case "<=":
      return { path, range: { ...anything, most: value } };
    case ">":
      return { path, range: { ...anything, least: value + 1 } };
    case ">=":
      return { path, range: { ...anything, least: value } };
    case "==":
      return { path, range: { least: value, most: value } };
    default:
      return undefined;
  }
}

/** Everything that the conjuncts say of each attribute. */
export function rangesOf(conjuncts: readonly Conjunct[]): ReadonlyMap<string, Range> {
  const ranges = new Map<string, Range>();
  for (const { path, range } of conjuncts.flatMap((one) => boundOf(one) ?? []))
    ranges.set(path, meet(ranges.get(path) ?? rangeOf(path), range));
  return ranges;
}

/** The first conjunct that cannot be true beside those before it. */
export function contradictionIn(conjuncts: readonly Conjunct[]): Conjunct | undefined {
  return conjuncts.find((one, index) => {
    const bound = boundOf(one);
    const left = bound === undefined ? undefined : rangesOf(conjuncts.slice(0, index + 1)).get(bound.path);
    return left !== undefined && left.least > left.most;
  });
}

/** Whether what is known of the attributes makes the condition true. */
export function isImplied(condition: Conjunct, ranges: ReadonlyMap<string, Range>): boolean {
  const bound = boundOf(condition);
  const known = bound === undefined ? undefined : ranges.get(bound.path);
  return (
    bound !== undefined && known !== undefined && known.least >= bound.range.least && known.most <= bound.range.most
  );
}

function meet(a: Range, b: Range): Range {
  return { least: Math.max(a.least, b.least), most: Math.min(a.most, b.most) };
}
