import { isObject } from "../core/json.ts";
import type { Json, JsonObject } from "../core/json.ts";
import type { ToolDefinition } from "../core/release.ts";
import type { RenderHint } from "../core/render.ts";

export type ReadTool = Pick<ToolDefinition, "parameters" | "render">;

const names: readonly (readonly [RegExp, RenderHint])[] = [
  [/(^|_)cents$/, "money"],
  [/^(to|cc|bcc|recipients?|reply_to)$/, "recipient"],
  [/^subject$/, "subject"],
  [/^(body|message|content|text|html|markdown)$/, "text"],
  [/(^|_)sql$/, "sql"],
  [/^(patch|diff)$/, "diff"],
];
const sqlText =
  /^\s*(?:select|insert\s+into|update\s+\S+\s+set|delete\s+from|with\s+\S+\s+as|create|alter|drop|truncate|grant|merge\s+into)\b/i;

/**
 * How each argument of a call is to be read: as its tool says, else by its schema's format and its name. A hint that does not suit the
 * value is none: nothing of it is left out or guessed at.
 */
export function hintsFor(args: JsonObject, tool: ReadTool | undefined): ReadonlyMap<string, RenderHint> {
  const hints = new Map<string, RenderHint>();
  for (const [name, value] of Object.entries(args)) {
    const hint = own(tool?.render, name) ?? defaultHint(name, value, tool);
    if (hint !== undefined && suits(hint, value)) hints.set(name, hint);
  }
  addChange(hints, args);
  return hints;
}

function own(hints: ToolDefinition["render"], name: string): RenderHint | undefined {
  return hints !== undefined && Object.hasOwn(hints, name) ? hints[name] : undefined;
}

function defaultHint(name: string, value: Json, tool: ReadTool | undefined): RenderHint | undefined {
  if (isEmail(schemaOf(name, tool))) return "recipient";
  const named = names.find(([pattern]) => pattern.test(name))?.[1];
  if (named !== undefined) return named;
  return /^(query|statement)$/.test(name) && typeof value === "string" && sqlText.test(value) ? "sql" : undefined;
}

function schemaOf(name: string, tool: ReadTool | undefined): Json | undefined {
  const properties = tool?.parameters["properties"];
  return isObject(properties) && Object.hasOwn(properties, name) ? properties[name] : undefined;
}

function isEmail(schema: Json | undefined): boolean {
  if (!isObject(schema)) return false;
  const { format, items } = schema;
  return format === "email" || format === "idn-email" || isEmail(items);
}

function suits(hint: RenderHint, value: Json): boolean {
  switch (hint) {
    case "money":
      return typeof value === "number" && Number.isSafeInteger(value);
    case "recipient":
      return typeof value === "string" || (Array.isArray(value) && value.every((one) => typeof one === "string"));
    case "plain":
      return true;
    case "subject":
    case "text":
    case "sql":
    case "diff":
    case "before":
    case "after":
      return typeof value === "string";
  }
}

/** `old_text` and `new_text`, `before` and `after`: a change, where there is exactly one such pair. */
function addChange(hints: Map<string, RenderHint>, args: JsonObject): void {
  if ([...hints.values()].some((hint) => hint === "before" || hint === "after")) {
    // One without the other is no change.
    const both = [...hints.values()].filter((hint) => hint === "before" || hint === "after").length === 2;
    if (!both) for (const [name, hint] of hints) if (hint === "before" || hint === "after") hints.delete(name);
    return;
  }
  const pairs = Object.keys(args).flatMap((name) => {
    const other = name === "before" ? "after" : name.replace(/^old(?=[_A-Z])/, "new");
    if (other === name || !Object.hasOwn(args, other)) return [];
    const texts = typeof args[name] === "string" && typeof args[other] === "string";
    return texts && !hints.has(name) && !hints.has(other) ? [[name, other] as const] : [];
  });
  const [pair, ...more] = pairs;
  if (pair === undefined || more.length > 0) return;
  hints.set(pair[0], "before").set(pair[1], "after");
}
