import type { Action } from "../core/action.ts";
import type { Json, JsonObject } from "../core/json.ts";
import type { RenderHint } from "../core/render.ts";
import { canonicalText } from "../store/canonical.ts";
import { hintsFor } from "./hints.ts";
import type { ReadTool } from "./hints.ts";
import { lineDiff } from "../core/line-diff.ts";
import { minorUnits } from "./money-text.ts";
import { lined, lookalikeNote, quoted, visible } from "./visible.ts";

/** Names how texts are made, so that an auditor makes the same ones again; 1 cut long values. */
export const rendererVersion = 2;

/**
 * What a reviewer sees of an action: a function of the action and of its tool as the release pins it, so that what is shown, signed and
 * run can be compared. Plain text, and the whole of it; whatever could make it read as something else is written out, and two different
 * actions never read the same.
 */
export function renderAction(action: Action, tool?: ReadTool): string {
  const lines = [
    `${action.kind} \`${visible(action.name)}\``,
    `agent ${visible(action.team)}/${visible(action.agent)}, release ${action.release.slice(0, 12)}`,
    `run ${action.run}, step ${action.seq}`,
    "arguments:",
    ...renderArguments(action.arguments, tool),
  ];
  return `${lines.join("\n")}\n`;
}

/** Arguments as {@link renderAction} has them, on one line, cut to `characters`: to tell requests apart, never to decide by. */
export function shortArguments(args: Json, tool: ReadTool | undefined, characters: number): string {
  const lines = renderArguments(args, tool).map((line) => line.trim());
  const text = lines.filter((line) => line !== "").join(", ");
  return text.length <= characters ? text : `${text.slice(0, characters - 1)}…`;
}

/** What was changed in a call: the lines of its arguments that go, and those that come. */
export function renderChange(before: Json, after: Json, tool?: ReadTool): readonly string[] {
  return lineDiff(renderArguments(before, tool), renderArguments(after, tool))
    .filter(({ mark }) => mark !== " ")
    .map(({ mark, line }) => `${mark}${line}`);
}

function renderArguments(args: Json, tool: ReadTool | undefined): readonly string[] {
  const indent = "  ";
  if (typeof args !== "object" || args === null || Array.isArray(args)) return renderValue(args, indent);
  const fields = args as JsonObject;
  const hints = hintsFor(fields, tool);
  const letter = letterOf(fields, hints);
  const rest = Object.keys(fields)
    .toSorted()
    .filter((name) => !letter.includes(name) && hints.get(name) !== "after");
  if (letter.length === 0 && rest.length === 0) return renderValue(args, indent);
  return [
    ...(letter.length === 0 ? [] : renderLetter(fields, hints, letter, indent)),
    ...rest.flatMap((name) => renderArgument(fields, name, hints, indent)),
  ];
}

/** The arguments that make an e-mail or another message: to whom, about what, and the text. Empty: the call is none. */
function letterOf(args: JsonObject, hints: ReadonlyMap<string, RenderHint>): readonly string[] {
  const of = (wanted: RenderHint): readonly string[] =>
    Object.keys(args)
      .filter((name) => hints.get(name) === wanted)
      .toSorted();
  const [to, subject, body] = [of("recipient"), of("subject"), of("text")];
  return to.length > 0 && body.length > 0 ? [...to, ...subject, ...body] : [];
}

const letterWords: Partial<Record<RenderHint, string>> = { recipient: "To", subject: "Subject", text: "Body" };

function renderLetter(
  args: JsonObject,
  hints: ReadonlyMap<string, RenderHint>,
  names: readonly string[],
  indent: string,
): readonly string[] {
  return [
    `${indent}a message:`,
    ...names.flatMap((name) => {
      const word = letterWords[hints.get(name) ?? "plain"] ?? "";
      return renderRead(args, name, hints, `${indent}  `, `${word} (${renderKey(name)})`);
    }),
  ];
}

function renderArgument(
  args: JsonObject,
  name: string,
  hints: ReadonlyMap<string, RenderHint>,
  indent: string,
): readonly string[] {
  return renderRead(args, name, hints, indent, renderKey(name));
}

function renderRead(
  args: JsonObject,
  name: string,
  hints: ReadonlyMap<string, RenderHint>,
  indent: string,
  label: string,
): readonly string[] {
  const value = args[name] ?? null;
  switch (hints.get(name)) {
    case "money":
      return [`${indent}${label}: ${value as number} (${minorUnits(value as number, args["currency"])})`];
    case "recipient":
      return renderRecipients(value as string | readonly string[], indent, label);
    case "text":
      return renderText(value as string, indent, label, "text");
    case "sql":
      return renderText(value as string, indent, label, "SQL");
    case "diff":
      return renderText(value as string, indent, label, "diff");
    case "before":
      return renderBeforeAfter(args, name, hints, indent);
    case "subject":
    case "plain":
    // Shown where its `before` is.
    case "after":
    case undefined:
      return renderValue(value, indent, label);
  }
}

function renderRecipients(value: string | readonly string[], indent: string, label: string): readonly string[] {
  const one = (text: string): string => `${quoted(text)}${lookalikeNote(text, true)}`;
  if (typeof value === "string") return [`${indent}${label}: ${one(value)}`];
  if (value.length === 0) return [`${indent}${label}: (empty list)`];
  return [`${indent}${label}:`, ...value.map((text) => `${indent}  - ${one(text)}`)];
}

/** A short line stays on its line; a longer text is shown line by line, and says how long it is. */
function renderText(text: string, indent: string, label: string, word: string): readonly string[] {
  if (!text.includes("\n") && text.length <= 200 && word === "text") {
    return [`${indent}${label}: ${quoted(text)}${lookalikeNote(text, false)}`];
  }
  const lines = lined(text);
  return [
    `${indent}${label}: ${word}, ${lines.length} lines, ${text.length} characters${lookalikeNote(text, false)}`,
    ...lines.map((line) => `${indent}${line}`),
  ];
}

function renderBeforeAfter(
  args: JsonObject,
  before: string,
  hints: ReadonlyMap<string, RenderHint>,
  indent: string,
): readonly string[] {
  const after = [...hints].find(([, hint]) => hint === "after")?.[0] ?? "";
  const [old, fresh] = [args[before] as string, args[after] as string];
  const note = lookalikeNote(old, false) || lookalikeNote(fresh, false);
  return [
    `${indent}change from ${renderKey(before)} (-) to ${renderKey(after)} (+):${note}`,
    ...lineDiff(old.split("\n"), fresh.split("\n")).flatMap(({ mark, line }) =>
      lined(line, mark).map((shown) => `${indent}${shown}`),
    ),
  ];
}

function renderValue(value: Json, indent: string, label?: string): readonly string[] {
  const head = label === undefined ? "" : `${label}: `;
  if (typeof value !== "object" || value === null) return [`${indent}${head}${renderScalar(value)}`];
  const isList = Array.isArray(value);
  const names = Object.keys(value).toSorted();
  if (names.length === 0) return [`${indent}${head}${isList ? "(empty list)" : "(nothing)"}`];
  const above = label === undefined ? [] : [`${indent}${head}`.trimEnd()];
  if (isList) return [...above, ...value.flatMap((item: Json) => renderItem(item, indent))];
  const fields = value as JsonObject;
  const inner = label === undefined ? indent : `${indent}  `;
  return [...above, ...names.flatMap((name) => renderField(fields, name, inner))];
}

function renderField(fields: JsonObject, name: string, indent: string): readonly string[] {
  const value = fields[name] ?? null;
  // Below the top, only what a name alone makes plain.
  if (/(^|_)cents$/.test(name) && typeof value === "number" && Number.isSafeInteger(value))
    return [`${indent}${renderKey(name)}: ${value} (${minorUnits(value, fields["currency"])})`];
  return renderValue(value, indent, renderKey(name));
}

function renderItem(item: Json, indent: string): readonly string[] {
  const [first = "", ...rest] = renderValue(item, `${indent}    `);
  return [`${indent}  - ${first.trimStart()}`, ...rest];
}

/** A name that could be read as more than a name is quoted. */
function renderKey(key: string): string {
  return /^[A-Za-z_][A-Za-z0-9_.-]{0,99}$/.test(key) ? key : quoted(key);
}

function renderScalar(value: null | boolean | number | string): string {
  if (typeof value === "string") return `${quoted(value)}${lookalikeNote(value, false)}`;
  return typeof value === "number" ? canonicalText(value) : String(value);
}
