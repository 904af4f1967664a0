import { z } from "zod";

type Schema = z.core.$ZodType;

/**
 * The same schema with every object in it strict, at any depth, so that what it parses and its JSON Schema agree: zod drops
 * properties that an object does not name, and a policy would have seen an argument that the tool never gets. Objects that say
 * otherwise (`looseObject`, `catchall`) stay as they are.
 */
export function strictInput<Input extends z.ZodObject>(input: Input): Input {
  return strict(input, new Map()) as Input;
}

function strict(schema: Schema, made: Map<Schema, Schema>): Schema {
  const known = made.get(schema);
  if (known !== undefined) return known;
  const { def } = schema._zod as unknown as { readonly def: SchemaDef };
  const copy = z.core.clone(schema, strictDef(def, (inner) => strict(inner, made)) as never);
  made.set(schema, copy);
  describeAs(copy, schema);
  return copy;
}

/** Descriptions are kept beside schemas. Not the `id`: two schemas cannot have one. */
function describeAs(copy: Schema, original: Schema): void {
  const { id: _, ...meta } = z.globalRegistry.get(original) ?? {};
  if (Object.keys(meta).length > 0) z.globalRegistry.add(copy, meta);
}

type SchemaDef = Schema["_zod"]["def"] & {
  readonly shape?: Readonly<Record<string, Schema>>;
  readonly catchall?: Schema;
  readonly getter?: () => Schema;
};

function strictDef(def: SchemaDef, inner: (schema: Schema) => Schema): object {
  if (def.type === "object") {
    // Looked at late: a shape may refer to the schema that it is part of.
    return copyWith(def, {
      shape: () => Object.fromEntries(Object.entries(def.shape ?? {}).map(([name, field]) => [name, inner(field)])),
      catchall: () => (def.catchall === undefined ? z.never() : inner(def.catchall)),
    });
  }
  if (def.type === "lazy") return { ...def, getter: () => inner((def.getter as () => Schema)()) };
  return Object.fromEntries(Object.entries(def).map(([name, value]) => [name, strictPart(value, inner)]));
}

/** Copies `def` with parts that are made when they are first asked for. */
function copyWith(def: object, parts: Readonly<Record<string, () => unknown>>): object {
  const copy: object = Object.defineProperties({}, Object.getOwnPropertyDescriptors(def));
  for (const [name, make] of Object.entries(parts)) {
    let value: { readonly made: unknown } | undefined;
    const get = (): unknown => (value ??= { made: make() }).made;
    Object.defineProperty(copy, name, { get, enumerable: true, configurable: true });
  }
  return copy;
}

/** Schemas hold others in fields (`innerType`, `element`, `left`) and in lists (`options`, `items`). */
function strictPart(value: unknown, inner: (schema: Schema) => Schema): unknown {
  if (isSchema(value)) return inner(value);
  return Array.isArray(value) ? value.map((part) => strictPart(part, inner)) : value;
}

function isSchema(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && "_zod" in value;
}
