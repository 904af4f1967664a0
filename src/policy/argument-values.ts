import type { CedarValueJson } from "@cedar-policy/cedar-wasm/nodejs";

import { isObject } from "../core/json.ts";
import type { Json, JsonObject } from "../core/json.ts";
import { flowRules } from "../core/labels.ts";
import type { FlowRules } from "../core/labels.ts";
import { canonicalText } from "../store/canonical.ts";
import type { ArgumentType, Attribute } from "./argument-types.ts";

/** An argument that policies cannot be shown faithfully: the step is denied as `undecidable`. Names, no contents. */
export class Unrepresentable extends Error {}

/**
 * Arguments as the Cedar record that `attributes` describe. Throws {@link Unrepresentable} for a value of another
 * type, an undeclared property (policies could not see it, the tool could), an integer past 2^53 - 1, a number with
 * more than four decimal places or past decimal's range, and text that is not Unicode. By the first three rules, a default behind a
 * reference stood in for nothing.
 */
export function recordValue(
  value: JsonObject,
  attributes: ReadonlyMap<string, Attribute>,
  path: string,
  rules: FlowRules = flowRules,
): Record<string, CedarValueJson> {
  for (const name of Object.keys(value)) {
    if (!attributes.has(name)) throw new Unrepresentable(`${path} has a property that the tool's schema does not`);
  }
  const entries: [string, CedarValueJson][] = [];
  for (const [name, attribute] of attributes) {
    const given = Object.hasOwn(value, name) ? value[name] : undefined;
    if (given === undefined && rules < 4 && attribute.isDefaultBehind === true) continue;
    const present = given === undefined ? attribute.default : given;
    const isAbsent = present === undefined || (present === null && attribute.type.kind !== "text");
    if (isAbsent) {
      if (attribute.required) throw new Unrepresentable(`${path}.${name}: expected a ${attribute.type.kind}, got none`);
      continue;
    }
    entries.push([name, cedarValue(present, attribute.type, `${path}.${name}`, rules)]);
  }
  return Object.fromEntries(entries);
}

/** One JSON value as the Cedar value of the given type. */
export function cedarValue(
  value: Json,
  type: ArgumentType,
  path: string,
  rules: FlowRules = flowRules,
): CedarValueJson {
  switch (type.kind) {
    case "string":
      if (typeof value !== "string") throw mismatch(path, "a string", value);
      return unicode(value, path);
    case "bool":
      if (typeof value !== "boolean") throw mismatch(path, "a boolean", value);
      return value;
    case "long":
      if (!Number.isSafeInteger(value)) throw mismatch(path, "an integer within ±(2^53 - 1)", value);
      // Turns -0 into 0.
      return (value as number) + 0;
    case "decimal":
      if (typeof value !== "number") throw mismatch(path, "a number", value);
      return { __extn: { fn: "decimal", arg: decimalText(value, path) } };
    case "text":
      return jsonText(value, path);
    case "set":
      if (!Array.isArray(value)) throw mismatch(path, "an array", value);
      return value.map((element: Json, index) => cedarValue(element, type.element, `${path}[${index}]`, rules));
    case "record":
      if (!isObject(value)) throw mismatch(path, "an object", value);
      return recordValue(value, type.attributes, path, rules);
  }
}

/** Cedar's decimal is an int64 of ten-thousandths. What it cannot hold exactly is refused, never rounded. */
function decimalText(value: number, path: string): string {
  // The shortest text that reads back as this number: what RFC 8785 writes, and what the model sent.
  const match = /^(-?\d+)(?:\.(\d{1,4}))?$/.exec(String(value + 0));
  if (match === null || Math.abs(value) > 922_337_203_685_477) {
    throw new Unrepresentable(`${path}: expected a number with at most 4 decimal places and 15 digits before them`);
  }
  return `${match[1]}.${match[2] ?? "0"}`;
}

function jsonText(value: Json, path: string): string {
  try {
    return canonicalText(value);
  } catch (cause) {
    throw new Unrepresentable(`${path}: has no canonical JSON text`, { cause });
  }
}

/** A lone surrogate would reach Cedar as U+FFFD: another text than the tool gets. */
export function unicode(value: string, path: string): string {
  if (!value.isWellFormed()) throw new Unrepresentable(`${path}: text has a lone surrogate`);
  return value;
}

function mismatch(path: string, expected: string, value: Json): Unrepresentable {
  const got = value === null ? "null" : Array.isArray(value) ? "array" : typeof value;
  return new Unrepresentable(`${path}: expected ${expected}, got ${got === "number" ? "another number" : got}`);
}
