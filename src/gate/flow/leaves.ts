import { isObject } from "../../core/json.ts";
import type { Json, JsonSchema } from "../../core/json.ts";

/** The texts and numbers in a value, as texts. */
export function valuesOf(value: Json): readonly string[] {
  if (value === null || typeof value === "boolean") return [];
  if (typeof value !== "object") return [String(value)];
  if (Array.isArray(value)) return value.flatMap(valuesOf);
  return Object.values(value).flatMap(valuesOf);
}

/**
 * All in an argument that came from somewhere: texts, numbers, and the names of properties, which a model may choose as it chooses a text.
 * Names that the tool's own schema gives are the tool's.
 */
export function wordsOf(value: Json, schema: Json | undefined): readonly string[] {
  if (value === null || typeof value === "boolean") return [];
  if (typeof value !== "object") return [String(value)];
  if (Array.isArray(value)) {
    const items = propertyOf(schema, "items");
    return value.flatMap((inner: Json) => wordsOf(inner, items));
  }
  const declared = propertyOf(schema, "properties");
  return Object.entries(value).flatMap(([name, inner]) => {
    const own = propertyOf(declared, name);
    return own === undefined
      ? [name, ...wordsOf(inner, propertyOf(schema, "additionalProperties"))]
      : wordsOf(inner, own);
  });
}

/** The schema of one argument, if the tool's parameters have it. */
export function schemaOfArgument(parameters: JsonSchema | undefined, name: string): Json | undefined {
  return propertyOf(propertyOf(parameters, "properties"), name);
}

function propertyOf(value: Json | undefined, name: string): Json | undefined {
  return isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;
}

export function hasBoolean(value: Json): boolean {
  if (typeof value === "boolean") return true;
  if (typeof value !== "object" || value === null) return false;
  return Object.values(value).some(hasBoolean);
}

/** All that can be read in a value, names of properties included. Not by recursion: a text that is parsed may be deeper than our stack. */
export function textsIn(value: Json): readonly string[] {
  const texts: string[] = [];
  const waiting: (readonly [name: string | undefined, value: Json])[] = [[undefined, value]];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const [name, inner] = next;
    if (name !== undefined) texts.push(name);
    if (inner === null || typeof inner === "boolean") continue;
    if (typeof inner !== "object") texts.push(String(inner));
    else if (Array.isArray(inner)) for (const item of inner.toReversed()) waiting.push([undefined, item as Json]);
    // One by one: there may be more of them than a call has room for.
    else for (const entry of Object.entries(inner).toReversed()) waiting.push(entry);
  }
  return texts;
}
