import { Ajv2020 } from "ajv/dist/2020.js";
import type { ErrorObject, ValidateFunction } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

import type { Json, JsonObject, JsonSchema } from "../core/json.ts";
import { CanonicalError, canonicalText } from "../store/canonical.ts";
import { clip } from "./clip.ts";

/** Arguments longer than this are refused before they are parsed. Bytes of the model's text. */
const maxArgumentBytes = 256 * 1024;
/** Names at the top are in the record of each decision, with what is known of their values. */
const maxArguments = 1_000;
/** Problems go to the model and to the record: short, and few. */
const maxProblems = 5;
const maxPathCharacters = 100;
const maxProblemCharacters = 600;

export type Parsed<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly problem: string };

/**
 * The model's text as arguments of a tool with these parameters. Of two properties with one name the last counts, for the policy and
 * the tool alike. Problems name paths and rules, not values. `mostNames`: at the top.
 */
export function parseArguments(
  text: string,
  parameters: JsonSchema,
  mostNames: number = maxArguments,
): Parsed<JsonObject> {
  if (Buffer.byteLength(text) > maxArgumentBytes) {
    return refused(`arguments are longer than ${maxArgumentBytes} bytes`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text === "" ? "{}" : text);
  } catch {
    return refused("arguments are not valid JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return refused("arguments must be a JSON object");
  }
  const names = Object.keys(value);
  if (names.length > mostNames) return refused(`there are more than ${mostNames} arguments`);
  // Postgres keeps no NUL: the decision could not be recorded.
  if (names.some((name) => name.includes("\0"))) return refused("an argument's name must not hold NUL");
  return fits(value as JsonObject, parameters);
}

/** Whether `value` can be hashed and fits `schema`. Nothing fits a schema that cannot be checked. */
export function fits<Value extends Json>(value: Value, schema: JsonSchema): Parsed<Value> {
  const unusable = unusableJson(value);
  if (unusable !== undefined) return refused(unusable);
  const validate = validatorOf(schema);
  if (validate === undefined) return refused("the schema to check against is not a usable JSON Schema");
  // Not merely truthy: an asynchronous validator answers with a promise.
  if (validate(value) === true) return { ok: true, value };
  const problems = (validate.errors ?? []).slice(0, maxProblems).map(problemText);
  return refused(problems.length === 0 ? "does not fit the schema" : problems.join("; "));
}

function refused(problem: string): { readonly ok: false; readonly problem: string } {
  return { ok: false, problem: clip(problem, maxProblemCharacters) };
}

/** What JSON text can say, and what hashing, copying or a validator would trip over. */
function unusableJson(value: Json): string | undefined {
  try {
    canonicalText(value);
  } catch (error) {
    if (error instanceof CanonicalError) return error.message;
    throw error;
  }
  return hasPrototypeKey(value) ? "a property must not be named `__proto__`" : undefined;
}

/** Libraries drop such a property, or take it for the prototype: a policy and a tool would not see the same. */
function hasPrototypeKey(value: Json): boolean {
  if (typeof value !== "object" || value === null) return false;
  return Object.hasOwn(value, "__proto__") || Object.values(value).some((inner) => hasPrototypeKey(inner as Json));
}

const options = { strict: false, allErrors: true, ownProperties: true, logger: false } as const;

// It has seen the rules of JSON Schema and nothing else: it checks schemas, and keeps none of them.
const metaSchemas = new Ajv2020(options);
// Undefined: the schema cannot be used, and need not be tried again.
const validators = new WeakMap<JsonSchema, { readonly validate: ValidateFunction | undefined }>();

function validatorOf(schema: JsonSchema): ValidateFunction | undefined {
  const known = validators.get(schema);
  if (known !== undefined) return known.validate;
  const validate = compile(schema);
  validators.set(schema, { validate });
  return validate;
}

function compile(schema: JsonSchema): ValidateFunction | undefined {
  if ("$async" in schema) return undefined;
  try {
    if (metaSchemas.validateSchema(schema) !== true) return undefined;
    // An instance of its own: ids cannot meet another tool's, references lead nowhere else, and it goes when the schema goes.
    const ajv = addFormats.default(new Ajv2020({ ...options, meta: false, validateSchema: false }));
    return ajv.compile(schema);
  } catch {
    return undefined;
  }
}

function problemText({ instancePath, keyword, message, params }: ErrorObject): string {
  const path = instancePath === "" ? "(top)" : clip(instancePath, maxPathCharacters);
  const extra = keyword === "additionalProperties" ? ` \`${clip(String(params["additionalProperty"]), 64)}\`` : "";
  return `${path} ${clip(message ?? keyword, 200)}${extra}`;
}
