import { isObject } from "../core/json.ts";
import type { Json, JsonObject, JsonSchema } from "../core/json.ts";
import { canonicalText } from "../store/canonical.ts";

/**
 * What policies see of a tool's argument. `text` stands for everything that Cedar has no type for: a String with the
 * value's RFC 8785 text.
 */
export type ArgumentType =
  | { readonly kind: "string" | "long" | "bool" | "decimal" | "text" }
  | { readonly kind: "set"; readonly element: ArgumentType }
  | { readonly kind: "record"; readonly attributes: ReadonlyMap<string, Attribute> };

export type Attribute = {
  readonly type: ArgumentType;
  readonly required: boolean;
  /** Stands in for an absent value, as it will when the tool runs. */
  readonly default?: Json;
  /** The default is said behind a reference. */
  readonly isDefaultBehind?: true;
};

type Typed = { readonly type: ArgumentType; readonly nullable: boolean };

const text: Typed = { type: { kind: "text" }, nullable: false };
/** Keys that Cedar's JSON form reads as entities or extension values instead of attributes. */
const reservedKeys = new Set(["__entity", "__extn", "__expr"]);
/** Deeper objects become text: it bounds the schema of a hostile or recursive tool. */
const maxDepth = 8;

/** The attributes of `context.input`; undefined if the schema does not describe an object Cedar can hold. */
export function inputAttributes(parameters: JsonSchema): ReadonlyMap<string, Attribute> | undefined {
  const resolved = resolve(parameters, parameters, 0);
  if (!isObject(resolved)) return undefined;
  if (resolved["type"] !== undefined && resolved["type"] !== "object") return undefined;
  return attributesOf(resolved, parameters, 0);
}

/** The Cedar type of one JSON Schema. `root` is the document that `$ref`s point into. */
export function argumentType(schema: Json | undefined, root: JsonSchema, depth = 0): Typed {
  const resolved = resolve(schema, root, 0);
  if (!isObject(resolved) || depth > maxDepth) return text;
  const values = "const" in resolved ? [resolved["const"] ?? null] : resolved["enum"];
  if (Array.isArray(values)) return typeOfValues(values);
  const { type } = resolved;
  if (typeof type === "string") return { type: namedType(type, resolved, root, depth), nullable: false };
  if (Array.isArray(type))
    return unionOf(
      type.map((name) => ({ ...resolved, type: name })),
      root,
      depth,
    );
  const branches = resolved["anyOf"] ?? resolved["oneOf"];
  if (Array.isArray(branches)) return unionOf(branches, root, depth);
  return text;
}

function namedType(name: string, schema: JsonObject, root: JsonSchema, depth: number): ArgumentType {
  if (name === "string") return { kind: "string" };
  if (name === "integer") return { kind: "long" };
  if (name === "number") return { kind: "decimal" };
  if (name === "boolean") return { kind: "bool" };
  if (name === "array") return { kind: "set", element: elementType(schema, root, depth) };
  if (name === "object" && isObject(schema["properties"]) && !isOpen(schema)) {
    const attributes = attributesOf(schema, root, depth);
    if (attributes !== undefined) return { kind: "record", attributes };
  }
  return { kind: "text" };
}

/** A map, or a record with room for more, says too little about its keys: policies get its text. */
function isOpen(schema: JsonObject): boolean {
  const { additionalProperties } = schema;
  return (additionalProperties !== undefined && additionalProperties !== false) || "patternProperties" in schema;
}

function elementType(schema: JsonObject, root: JsonSchema, depth: number): ArgumentType {
  if ("prefixItems" in schema) return text.type;
  const element = argumentType(schema["items"], root, depth + 1);
  return element.nullable ? text.type : element.type;
}

function attributesOf(schema: JsonObject, root: JsonSchema, depth: number): ReadonlyMap<string, Attribute> | undefined {
  const properties = schema["properties"] ?? {};
  if (!isObject(properties)) return undefined;
  const required = new Set<Json>(Array.isArray(schema["required"]) ? schema["required"] : []);
  const attributes = new Map<string, Attribute>();
  for (const [name, property] of Object.entries(properties)) {
    if (reservedKeys.has(name) || !name.isWellFormed()) return undefined;
    const { type, nullable } = argumentType(property, root, depth + 1);
    const own = defaultOf(property);
    // Where it is not said beside a reference, it may be said behind it.
    const fallback = own ?? defaultOf(resolve(property, root, 0));
    attributes.set(name, {
      type,
      required: !nullable && (required.has(name) || fallback !== undefined),
      ...(fallback === undefined ? {} : { default: fallback }),
      ...(fallback === own ? {} : { isDefaultBehind: true as const }),
    });
  }
  return attributes;
}

function defaultOf(schema: Json | undefined): Json | undefined {
  return isObject(schema) ? (schema["default"] ?? undefined) : undefined;
}

/** `X` or null is an optional X; branches of one type are that type; anything else is text. */
function unionOf(branches: readonly Json[], root: JsonSchema, depth: number): Typed {
  const others = branches.filter((branch) => !isNullSchema(branch));
  const hadNull = others.length < branches.length;
  const [first, ...rest] = others.map((branch) => argumentType(branch, root, depth + 1));
  if (first === undefined || first.type.kind === "text") return text;
  if (!rest.every(({ type }) => shapeOf(type) === shapeOf(first.type))) return text;
  return { type: first.type, nullable: hadNull || [first, ...rest].some(({ nullable }) => nullable) };
}

function typeOfValues(values: readonly Json[]): Typed {
  const present = values.filter((value) => value !== null);
  const nullable = present.length < values.length;
  if (present.length === 0) return text;
  if (present.every((value) => typeof value === "string")) return { type: { kind: "string" }, nullable };
  if (present.every((value) => typeof value === "boolean")) return { type: { kind: "bool" }, nullable };
  if (present.every((value) => Number.isSafeInteger(value))) return { type: { kind: "long" }, nullable };
  return text;
}

/** Follows local `$ref`s and one-branch `allOf`s, as pydantic writes them. Anything else unresolved is unknown. */
function resolve(schema: Json | undefined, root: JsonSchema, hops: number): Json | undefined {
  if (!isObject(schema) || hops > maxDepth) return undefined;
  const { $ref: reference, allOf } = schema;
  if (typeof reference === "string") return resolve(lookUp(reference, root), root, hops + 1);
  if (Array.isArray(allOf)) {
    return allOf.length === 1 && !("properties" in schema) ? resolve(allOf[0], root, hops + 1) : undefined;
  }
  return schema;
}

function lookUp(reference: string, root: JsonSchema): Json | undefined {
  const match = /^#\/(\$defs|definitions)\/([^/~%]+)$/.exec(reference);
  if (match?.[1] === undefined || match[2] === undefined) return undefined;
  const definitions = root[match[1]];
  return isObject(definitions) && Object.hasOwn(definitions, match[2]) ? definitions[match[2]] : undefined;
}

function isNullSchema(schema: Json): boolean {
  return isObject(schema) && (schema["type"] === "null" || schema["const"] === null);
}

/** Two types are the same to Cedar exactly when their shapes are equal texts. */
function shapeOf(type: ArgumentType): string {
  return canonicalText(toPlain(type));
}

function toPlain(type: ArgumentType): Json {
  if (type.kind === "set") return { set: toPlain(type.element) };
  if (type.kind !== "record") return type.kind;
  const entries = [...type.attributes].map(([name, { type: inner, required, default: fallback }]) => {
    return [name, [toPlain(inner), required, fallback ?? null]] as const;
  });
  return { record: Object.fromEntries(entries) };
}
