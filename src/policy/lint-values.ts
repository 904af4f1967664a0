/** Comparisons with texts that an attribute never is: to Cedar a text is a text, and a misspelt one makes a forbid that never fires. */
import { effectClasses } from "../core/action.ts";
import { didYouMean } from "../core/did-you-mean.ts";
import type { Json, JsonObject } from "../core/json.ts";
import { dataClasses, origins } from "../core/labels.ts";
import { riskTiers } from "../core/release.ts";
import { roles } from "../core/roles.ts";
import { finishReasons } from "../core/transcript.ts";
import { literal, operationsIn, pathOf } from "./lint-expressions.ts";
import type { PolicyTool } from "./schema.ts";

export type NeverValue = { readonly path: string; readonly value: string; readonly hint: string };

const originOrNone = [...origins, "none"] as const;

/** Attributes whose values are all known. */
const fixed: Readonly<Record<string, readonly string[]>> = {
  "principal.riskTier": riskTiers,
  "context.requester.roles": roles,
  "context.content.bestOrigin": originOrNone,
  "context.content.worstOrigin": originOrNone,
  "context.destination.origin": originOrNone,
  "context.source.origin": ["trusted", "untrusted"],
  "context.tool.effect": effectClasses,
  "context.response.finishReason": finishReasons,
  "context.content.dataClasses": dataClasses,
  "context.seen.dataClasses": dataClasses,
  "context.response.callDataClasses": dataClasses,
  "context.source.dataClasses": dataClasses,
};

/** Every text in `expression` that its attribute never is, for calls of these tools. */
export function neverValues(expression: Json, tools: readonly PolicyTool[]): readonly NeverValue[] {
  return comparisonsIn(expression).flatMap(({ path, value }) => {
    const known = valuesOf(path, tools);
    if (known === undefined || known.includes(value)) return [];
    const meant = didYouMean(value, known);
    const hint = meant === undefined ? `it is one of ${known.join(", ")}` : `did you mean ${JSON.stringify(meant)}?`;
    return [{ path, value, hint }];
  });
}

function valuesOf(path: string, tools: readonly PolicyTool[]): readonly string[] | undefined {
  if (Object.hasOwn(fixed, path)) return fixed[path];
  if (/^context\.origins\.\w+$/.test(path)) return origins;
  const [, argument] = /^context\.input\.(\w+)$/.exec(path) ?? [];
  return argument === undefined || tools.length === 0 ? undefined : enumOf(argument, tools);
}

/** The texts of an argument's `enum`, where every tool that has the argument lists them. */
function enumOf(argument: string, tools: readonly PolicyTool[]): readonly string[] | undefined {
  const schemas = tools.flatMap(({ parameters }) => {
    const properties = parameters["properties"] as JsonObject | undefined;
    const schema = properties?.[argument] as JsonObject | undefined;
    return schema === undefined ? [] : [schema];
  });
  const lists = schemas.map((schema) => schema["enum"]);
  if (lists.length === 0 || !lists.every((list) => Array.isArray(list))) return undefined;
  return [...new Set(lists.flat().filter((value) => typeof value === "string"))];
}

type Comparison = { readonly path: string; readonly value: string };

function comparisonsIn(expression: Json): readonly Comparison[] {
  return ["==", "!=", "contains", "containsAll", "containsAny"].flatMap((operator) =>
    operationsIn(expression, operator).flatMap(({ left, right }) => [...pairs(left, right), ...pairs(right, left)]),
  );
}

function pairs(attribute: Json | undefined, others: Json | undefined): readonly Comparison[] {
  const path = pathOf(attribute);
  return path === undefined ? [] : textsOf(others).map((value) => ({ path, value }));
}

/** A literal text, or those of a literal set. */
function textsOf(expression: Json | undefined): readonly string[] {
  const set = (expression as JsonObject | undefined)?.["Set"];
  return (Array.isArray(set) ? set : [expression]).flatMap((one) => {
    const value = literal(one as Json | undefined);
    return typeof value === "string" ? [value] : [];
  });
}
