import type { Json } from "../core/json.ts";

/**
 * Templates: `{{name}}` is a named capture of the branch's `when`; `{{result.TOOL.path.to.field}}` is from the latest result of that
 * tool in the conversation, `{{result.TOOL#2.field}}` from its second one. Filters follow after `|`: `cents` ("25.50" → 2550),
 * `number` ("6" → 6), `usd` (2550 → "$25.50"), `upper`, `json`.
 */
export type TemplateValues = {
  readonly names: Readonly<Record<string, string>>;
  /** Results per tool, in the conversation's order. */
  readonly results: ReadonlyMap<string, readonly Json[]>;
};

/** A branch's `when`: case does not matter, `.` matches line ends. Throws SyntaxError. */
export function compileWhen(text: string): RegExp {
  return new RegExp(text, "isu");
}

export const placeholder = /\{\{\s*([^{}]*?)\s*\}\}/g;

/** A template that asks for what is not there: told to the client by name, never by content. */
export class TemplateProblem extends Error {}

/** Fills every string inside `value`. A string that is one template alone becomes the value itself, whatever its type. */
export function fill(value: Json, values: TemplateValues): Json {
  if (typeof value === "string") return fillString(value, values);
  if (Array.isArray(value)) return (value as readonly Json[]).map((item) => fill(item, values));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fill(item as Json, values)]));
}

/** Fills `text`, as text. */
export function fillText(text: string, values: TemplateValues): string {
  return text.replaceAll(placeholder, (_, expression: string) => textOf(evaluate(expression, values)));
}

function fillString(text: string, values: TemplateValues): Json {
  const whole = /^\{\{\s*([^{}]*?)\s*\}\}$/.exec(text)?.[1];
  return whole === undefined ? fillText(text, values) : evaluate(whole, values);
}

function textOf(value: Json): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function evaluate(expression: string, values: TemplateValues): Json {
  const [path = "", ...filters] = expression.split("|").map((part) => part.trim());
  const [head = "", ...rest] = path.split(".");
  const start = head === "result" ? resultOf(rest.shift() ?? "", values) : values.names[head];
  let value: Json | undefined = start;
  for (const key of rest) value = member(value, key);
  if (value === undefined) throw new TemplateProblem(`nothing is known as \`${path}\``);
  return filters.reduce((current, filter) => applyFilter(filter, current), value);
}

function resultOf(reference: string, values: TemplateValues): Json | undefined {
  const [tool = "", nth] = reference.split("#");
  const results = values.results.get(tool) ?? [];
  return nth === undefined ? results.at(-1) : results[Number(nth) - 1];
}

function member(value: Json | undefined, key: string): Json | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  return Object.hasOwn(value, key) ? (value as { readonly [key: string]: Json })[key] : undefined;
}

export const filterNames = ["cents", "number", "usd", "upper", "json"];

function applyFilter(name: string, value: Json): Json {
  switch (name) {
    case "cents":
      return Math.round(Number(textOf(value).replace(/[$,\s]/g, "")) * 100);
    case "number":
      return numberOf(textOf(value));
    case "usd":
      return `$${(Number(value) / 100).toFixed(2)}`;
    case "upper":
      return textOf(value).toUpperCase();
    case "json":
      return JSON.stringify(value);
    default:
      throw new TemplateProblem(`there is no filter \`${name}\``);
  }
}

function numberOf(text: string): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (Number.isFinite(value)) return value;
  throw new TemplateProblem("what is given to `number` is not one");
}
