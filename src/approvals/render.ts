import type { Action } from "../core/action.ts";
import type { Json } from "../core/json.ts";
import { canonicalText, sha256 } from "../store/canonical.ts";

/** Longer values are cut for the eye; their digest says what the rest is. In characters. */
const longestShown = 2_000;

/**
 * What a reviewer sees of an action: a function of the action alone, so that what is shown, signed and run can be compared. Plain
 * text; whatever could make it read as something else is written out.
 */
export function renderAction(action: Action): string {
  const lines = [
    `${action.kind} \`${visible(action.name)}\``,
    `agent ${visible(action.team)}/${visible(action.agent)}, release ${action.release.slice(0, 12)}`,
    `run ${action.run}, step ${action.seq}`,
    "arguments:",
    ...renderValue(action.arguments, "  "),
  ];
  return `${lines.join("\n")}\n`;
}

function renderValue(value: Json, indent: string, key?: string): readonly string[] {
  const label = key === undefined ? "" : `${renderKey(key)}: `;
  if (typeof value !== "object" || value === null) return [`${indent}${label}${renderScalar(value, key)}`];
  const isList = Array.isArray(value);
  const names = Object.keys(value).toSorted();
  if (names.length === 0) return [`${indent}${label}${isList ? "(empty list)" : "(nothing)"}`];
  const head = key === undefined ? [] : [`${indent}${label}`.trimEnd()];
  if (isList) return [...head, ...value.flatMap((item: Json) => renderItem(item, indent))];
  const fields = value as { readonly [name: string]: Json };
  const inner = key === undefined ? indent : `${indent}  `;
  return [...head, ...names.flatMap((name) => renderValue(fields[name] ?? null, inner, name))];
}

function renderItem(item: Json, indent: string): readonly string[] {
  const [first = "", ...rest] = renderValue(item, `${indent}    `);
  return [`${indent}  - ${first.trimStart()}`, ...rest];
}

/** A name that could be read as more than a name is quoted. */
function renderKey(key: string): string {
  return /^[A-Za-z_][A-Za-z0-9_.-]{0,99}$/.test(key) ? key : renderText(key);
}

function renderScalar(value: null | boolean | number | string, key: string | undefined): string {
  if (typeof value === "string") return renderText(value);
  if (typeof value !== "number") return String(value);
  const isMoney = key !== undefined && /(^|_)cents$/.test(key) && Number.isSafeInteger(value);
  return isMoney ? `${value} (${money(value)})` : canonicalText(value);
}

/** Quoted, so that what follows the closing quote is ours. */
function renderText(text: string): string {
  if (text.length <= longestShown) return visible(JSON.stringify(text));
  const shown = visible(JSON.stringify(text.slice(0, longestShown)));
  return `${shown} … (cut; ${text.length} characters in all, SHA-256 ${sha256(text)})`;
}

/** The currency is the tool's to know. */
function money(cents: number): string {
  const sign = cents < 0 ? "-" : "";
  const whole = Math.floor(Math.abs(cents) / 100);
  return `${sign}${whole.toLocaleString("en-US")}.${(Math.abs(cents) % 100).toString().padStart(2, "0")}`;
}

/**
 * Characters that show nothing, or turn what is around them, as `\u{…}`: control, format (bidirectional ones above all), surrogate,
 * private and unassigned ones, separators and spaces but the plain one, and what Unicode says may be ignored.
 */
function visible(text: string): string {
  return text.replace(
    /(?! )[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Z}\p{Default_Ignorable_Code_Point}\u2800]/gu,
    (character) => `\\u{${character.codePointAt(0)?.toString(16) ?? ""}}`,
  );
}
