import type { Json, JsonObject } from "../core/json.ts";
import type { ToolDefinition } from "../core/release.ts";
import type { Attribute } from "./argument-types.ts";
import { readPolicy } from "./policy.ts";
import { inputOf, toolAction } from "./schema.ts";
import type { PolicyTool } from "./schema.ts";

/** A call that people were asked about and approved. */
export type ApprovedCall = { readonly agent: string; readonly arguments: JsonObject };

/** What a policy could ask less for, going by calls that were always approved. It is a proposal: nothing puts it in force. */
export type Narrowing =
  | {
      readonly status: "proposed";
      /** The policy with an `unless` clause at its end. */
      readonly text: string;
      /** The arguments that the clause leaves to be anything. */
      readonly open: readonly string[];
    }
  | { readonly status: "none"; readonly reason: string };

/** A text argument is bounded by its values only where each was seen three times on average, and there are so few. */
const mostChoices = 8;
const seenEach = 3;
const longestChoice = 200;

/**
 * The policy with an `unless` for the agent, the tool and the range of argument values that all of `calls` lie in: integers between the
 * least and the greatest, texts of a few, one boolean, absent arguments absent. What is bounded by none of these is left open, and named;
 * where such an argument says where something goes, or where nothing is bounded, there is no proposal.
 */
export function narrowPolicy(
  policy: { readonly id: string; readonly text: string },
  tool: PolicyTool & Pick<ToolDefinition, "destinations">,
  calls: readonly ApprovedCall[],
): Narrowing {
  if (calls.length === 0) return none("there are no calls to go by");
  const inputs = [...inputOf(tool)].toSorted(([a], [b]) => (a < b ? -1 : 1));
  const bounds = inputs.map(([name, attribute]) => ({ name, bound: boundOf(name, attribute, calls) }));
  const open = bounds.filter(({ bound }) => bound === "open").map(({ name }) => name);
  const conditions = bounds.flatMap(({ bound }) => (typeof bound === "string" ? [] : [bound.condition]));
  const elsewhere = open.find((name) => tool.destinations?.includes(name));
  if (elsewhere !== undefined) return none(`where it goes (\`${elsewhere}\`) differs too much`);
  if (conditions.length === 0) return none("the arguments have nothing in common that a policy could go by");
  const agents = [...new Set(calls.map(({ agent }) => agent))];
  const whole = [
    ...(agents.length === 1 ? [`principal == Agent::${cedarText(agents[0] ?? "")}`] : []),
    `action == Action::${cedarText(toolAction(tool.name))}`,
    ...conditions,
  ];
  const text = withUnless(policy.text, whole.join(" &&\n  "));
  const read = text === undefined ? undefined : readPolicy(text);
  if (text === undefined || read === undefined || "problems" in read || read.policy.id !== policy.id) {
    return none("the policy's text has no place for another clause");
  }
  return { status: "proposed", text, open };
}

type Bound = { readonly condition: string } | "open" | "free";

/** `free`: there is nothing to say, and nothing is left out. */
function boundOf(name: string, attribute: Attribute, calls: readonly ApprovedCall[]): Bound {
  const values = calls.map((call) => valueIn(call.arguments, name, attribute));
  const present = values.filter((value) => value !== undefined);
  const plain = /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !reserved.has(name);
  const has = `context.input has ${plain ? name : cedarText(name)}`;
  const path = plain ? `context.input.${name}` : `context.input[${cedarText(name)}]`;
  if (present.length === 0) return attribute.required ? "open" : { condition: `!(${has})` };
  const condition = conditionFor(path, attribute, present);
  if (typeof condition === "string" || attribute.required) return condition;
  const absent = present.length < values.length;
  // Cedar's validation follows `has` into a branch, and not past a `!`.
  return {
    condition: absent ? `(if ${has} then ${condition.condition} else true)` : `(${has} && ${condition.condition})`,
  };
}

/** As policies see it: a default stands in for what is absent. */
function valueIn(args: JsonObject, name: string, { default: otherwise }: Attribute): Json | undefined {
  const given = Object.hasOwn(args, name) ? args[name] : undefined;
  return (given === undefined ? otherwise : given) ?? undefined;
}

function conditionFor(path: string, { type }: Attribute, values: readonly Json[]): Bound {
  switch (type.kind) {
    case "long":
      return integers(path, values);
    case "bool": {
      const distinct = new Set(values);
      return distinct.size === 1 ? { condition: values[0] === true ? path : `!${path}` } : "free";
    }
    case "string":
      return choices(path, values);
    case "decimal":
    case "text":
    case "set":
    case "record":
      return "open";
  }
}

function integers(path: string, values: readonly Json[]): Bound {
  const numbers = values.filter((value) => typeof value === "number" && Number.isSafeInteger(value)) as number[];
  if (numbers.length < values.length) return "open";
  const least = numbers.reduce((a, b) => Math.min(a, b)) + 0;
  const greatest = numbers.reduce((a, b) => Math.max(a, b)) + 0;
  if (least === greatest) return { condition: `${path} == ${least}` };
  return { condition: `${path} >= ${least} && ${path} <= ${greatest}` };
}

function choices(path: string, values: readonly Json[]): Bound {
  const distinct = [...new Set(values)].filter((value) => typeof value === "string").toSorted();
  const few = distinct.length <= mostChoices && values.length >= distinct.length * seenEach;
  if (!few || distinct.some((value) => value.length > longestChoice || !value.isWellFormed())) return "open";
  if (distinct.length === 1) return { condition: `${path} == ${cedarText(distinct[0] ?? "")}` };
  return { condition: `[${distinct.map(cedarText).join(", ")}].contains(${path})` };
}

/** Undefined where the text does not end where the policy does. */
function withUnless(text: string, condition: string): string | undefined {
  const trimmed = text.trimEnd();
  return trimmed.endsWith(";") ? `${trimmed.slice(0, -1)}\nunless {\n  ${condition}\n};` : undefined;
}

/** Cedar's own words, which no attribute is written as. */
const reserved = new Set(["true", "false", "if", "then", "else", "in", "is", "like", "has", "__cedar"]);

/** A Cedar string literal. What could end it, or turn what is around it, is written out: docs.cedarpolicy.com, "Strings". */
function cedarText(text: string): string {
  const escaped = text.replace(/["\\\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) => {
    return `\\u{${character.codePointAt(0)?.toString(16) ?? "0"}}`;
  });
  return `"${escaped}"`;
}

function none(reason: string): Narrowing {
  return { status: "none", reason };
}
