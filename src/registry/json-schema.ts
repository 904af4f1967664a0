import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

import type { Json, JsonSchema } from "../core/json.ts";

/** Made once: it takes longer than most schemas. */
const validators = {
  strict: addFormats.default(new Ajv2020({ strictTypes: false, strictTuples: false, logger: false })),
  lenient: new Ajv2020({ strict: false, validateFormats: false, logger: false }),
};

/** Deeper schemas overflow the stacks of validators. */
const maxDepth = 64;

/**
 * Why `schema` cannot describe a JSON object (arguments of a tool, an agent's answer), or undefined where it can. `strict` also refuses
 * keywords and formats that nobody knows, such as a misspelt `requierd`: right for what a person writes, wrong for what libraries
 * generate. Compiles the schema, so it is for registration, not for every call.
 */
export function jsonSchemaProblem(schema: JsonSchema, mode: "strict" | "lenient"): string | undefined {
  const shape = shapeProblem(schema);
  if (shape !== undefined) return shape;
  if (schema["type"] !== "object") return 'must be a JSON Schema with `type: "object"`';
  const ajv = validators[mode];
  try {
    ajv.compile(schema as object);
    return undefined;
  } catch (error) {
    const reason = error instanceof Error ? (error.message.split("\n")[0] ?? "") : "";
    return `is not a JSON Schema: ${reason}`;
  } finally {
    // What it compiled it would keep for ever.
    ajv.removeSchema(schema as object);
  }
}

/** `$id` would name the schema for a whole process, where two releases may hold two versions of it. */
function shapeProblem(value: Json, depth = 0): string | undefined {
  if (depth > maxDepth) return `is nested deeper than ${maxDepth}`;
  if (typeof value !== "object" || value === null) return undefined;
  if ("$id" in value && typeof value["$id"] === "string") return "must not have an `$id`: schemas are self-contained";
  for (const inner of Object.values(value)) {
    const problem = shapeProblem(inner as Json, depth + 1);
    if (problem !== undefined) return problem;
  }
  return undefined;
}
