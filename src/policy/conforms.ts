import type { Type } from "@cedar-policy/cedar-wasm/nodejs";

import type { CedarRequest } from "./request.ts";
import type { CedarSchema } from "./schema.ts";

type RecordType = Extract<Type<string>, { type: "Record" }>;

/**
 * What of a request the schema does not allow; undefined if it conforms. Names a place, never contents.
 *
 * The same question as Cedar's own request validation answers, for the types that `schema.ts` makes, at a hundredth of the
 * time: Cedar copies and walks the schema on every call. A type that is not known here conforms to nothing. That both
 * answer alike is tested with generated requests, right and wrong ones (test/unit/policy-engine.test.ts).
 */
export function schemaFault(schema: CedarSchema, action: string, request: CedarRequest): string | undefined {
  const { entityTypes = {}, actions = {} } = schema[""] ?? {};
  const applies = Object.hasOwn(actions, action) ? actions[action]?.appliesTo : undefined;
  if (applies === undefined) return `the schema does not cover the action ${action}`;
  const [principal, resource] = [uidOf(request.principal), uidOf(request.resource)];
  const asked = uidOf(request.action);
  if (asked.type !== "Action" || asked.id !== action) return "action: expected the action that the policies are for";
  if (!applies.principalTypes.includes(principal.type)) return `principal: unexpected type ${principal.type}`;
  if (!applies.resourceTypes.includes(resource.type)) return `resource: unexpected type ${resource.type}`;
  const seen = new Set<string>();
  for (const { uid, attrs, parents, tags } of request.entities) {
    const { type, id } = uidOf(uid);
    const known = Object.hasOwn(entityTypes, type) ? entityTypes[type] : undefined;
    if (known === undefined || "enum" in known) return `entities: unexpected type ${type}`;
    const stranger = parents.map(uidOf).find((parent) => !(known.memberOfTypes ?? []).includes(parent.type));
    if (stranger !== undefined) return `entities: ${type} is in a ${stranger.type}`;
    if (tags !== undefined) return `entities: ${type} has tags`;
    const fault = recordFault(attrs, (known.shape ?? { type: "Record", attributes: {} }) as RecordType, type);
    if (fault !== undefined) return fault;
    const name = JSON.stringify([type, id]);
    if (seen.has(name)) return `entities: a ${type} is there twice`;
    seen.add(name);
  }
  for (const { type, id } of [principal, resource]) {
    if (!seen.has(JSON.stringify([type, id]))) return `entities: expected the ${type} itself`;
  }
  return typeFault(request.context, (applies.context ?? { type: "Record", attributes: {} }) as Type<string>, "context");
}

function typeFault(value: unknown, type: Type<string>, path: string): string | undefined {
  switch (type.type) {
    case "String":
      return typeof value === "string" && value.isWellFormed() ? undefined : `${path}: expected a string`;
    case "Long":
      return Number.isSafeInteger(value) ? undefined : `${path}: expected an integer`;
    case "Boolean":
      return typeof value === "boolean" ? undefined : `${path}: expected a boolean`;
    case "Set":
      return setFault(value, (type as Extract<Type<string>, { type: "Set" }>).element, path);
    case "Record":
      return recordFault(value, type as RecordType, path);
    case "Extension":
      return (type as { name?: string }).name === "decimal" && isDecimal(value)
        ? undefined
        : `${path}: expected a decimal`;
    default:
      return `${path}: a type that requests never have`;
  }
}

function setFault(value: unknown, element: Type<string>, path: string): string | undefined {
  if (!Array.isArray(value)) return `${path}: expected an array`;
  for (const one of value) {
    const fault = typeFault(one, element, `${path}[]`);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

function recordFault(value: unknown, { attributes }: RecordType, path: string): string | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return `${path}: expected a record`;
  for (const name of Object.keys(value)) {
    if (!Object.hasOwn(attributes, name)) return `${path}: has an attribute that the schema does not`;
  }
  for (const name of Object.keys(attributes)) {
    const type = attributes[name];
    if (type === undefined) continue;
    if (!Object.hasOwn(value, name)) {
      if (type.required !== false) return `${path}.${name}: is missing`;
      continue;
    }
    const fault = typeFault((value as Record<string, unknown>)[name], type, `${path}.${name}`);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

/** As `argument-values.ts` writes it. Whether it is in range, Cedar finds out. */
function isDecimal(value: unknown): boolean {
  if (typeof value !== "object" || value === null || Object.keys(value).length !== 1) return false;
  const { __extn: extension } = value as { __extn?: { fn?: unknown; arg?: unknown } };
  if (extension?.fn !== "decimal" || typeof extension.arg !== "string") return false;
  return /^-?\d{1,15}\.\d{1,4}$/.test(extension.arg);
}

function uidOf(uid: CedarRequest["principal"]): { readonly type: string; readonly id: string } {
  return "__entity" in uid ? uid.__entity : uid;
}
