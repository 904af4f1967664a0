import { teamNameProblem } from "../core/ids.ts";
import type { Digest } from "../core/ids.ts";
import type { Json, JsonSchema } from "../core/json.ts";
import { unknownDestination } from "../core/labels.schema.ts";
import type { Release, ReleaseDocument, ToolDefinition } from "../core/release.ts";
import { callablesOf, kindOf } from "../core/retrieval.ts";
import type { Callable, RetrievalSource } from "../core/retrieval.ts";
import { digestOf } from "../store/index.ts";
import { RegistryError } from "./errors.ts";
import { jsonSchemaProblem } from "./json-schema.ts";
import type { AgentInCode, AgentManifest } from "./manifest.schema.ts";

/**
 * The release of an agent with these tools and this prompt. `outputInFile` is the JSON Schema that the manifest's `outputFile` holds:
 * with neither, an agent that promises an object would answer with text. Throws `release_invalid`.
 */
export function releaseOf(
  manifest: AgentManifest | AgentInCode,
  prompt: string,
  tools: readonly ToolDefinition[],
  outputInFile?: JsonSchema,
  retrieval: readonly RetrievalSource[] = [],
): Release {
  const { name, team, useCase, riskTier, model, limits, outputFile } = manifest;
  const output = manifest.output ?? outputInFile;
  if (outputFile !== undefined && output === undefined) {
    throw new RegistryError("release_invalid", `output schema \`${outputFile}\` was not read`);
  }
  assertAllFound("tool", manifest.tools, tools);
  assertAllFound("source", manifest.retrieval, retrieval);
  return releaseOfDocument({
    v: 1,
    team,
    agent: name,
    useCase,
    riskTier,
    model: {
      name: model.name,
      maxOutputTokens: model.maxOutputTokens,
      ...(model.temperature === undefined ? {} : { temperature: model.temperature }),
    },
    prompt,
    tools,
    ...(retrieval.length === 0 ? {} : { retrieval }),
    limits: {
      maxSteps: limits.maxSteps,
      maxCostMicroUsd: limits.maxCost,
      ...(limits.maxTokens === undefined ? {} : { maxTokens: limits.maxTokens }),
      ...(limits.maxCalls === undefined ? {} : { maxCalls: limits.maxCalls }),
      maxWallClockMs: limits.maxWallClock,
    },
    ...(output === undefined ? {} : { output: output as JsonSchema }),
  });
}

/** A document with its name, after what no schema of the API can say is checked. Throws `release_invalid`. */
export function releaseOfDocument(document: ReleaseDocument): Release {
  const reserved = teamNameProblem(document.team);
  if (reserved !== undefined) throw new RegistryError("release_invalid", `team: ${reserved}`);
  const callables = callablesOf(document);
  const names = callables.map(({ name }) => name);
  const twice = callables.find(({ name }, index) => names.indexOf(name) !== index);
  if (twice !== undefined) {
    const hint = "the model calls tools and sources by name: give one of them another";
    throw new RegistryError("release_invalid", `${wordFor(twice)} \`${twice.name}\` is there twice`, { hint });
  }
  for (const tool of document.tools) {
    assertJsonSchema(`parameters of tool \`${tool.name}\``, tool.parameters);
    const unknown = unknownDestination(tool.destinations, tool.parameters);
    if (unknown !== undefined) {
      throw new RegistryError("release_invalid", `tool \`${tool.name}\`: destinations name no argument \`${unknown}\``);
    }
    const unread = unknownDestination(Object.keys(tool.render ?? {}), tool.parameters);
    if (unread !== undefined)
      throw new RegistryError("release_invalid", `tool \`${tool.name}\`: render names no argument \`${unread}\``);
  }
  if (document.output !== undefined) assertJsonSchema("output", document.output);
  return { digest: digestOfDocument(document), document };
}

/** Throws `release_invalid` for text that cannot be hashed, or that Postgres cannot keep. */
function digestOfDocument(document: ReleaseDocument): Digest {
  try {
    // An escaped NUL; a backslash that is itself escaped begins none.
    if (/(?<!\\)(?:\\\\)*\\u0000/.test(JSON.stringify(document))) throw new TypeError("text has a NUL character");
    return digestOf(document as unknown as Json);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : "no canonical form";
    throw new RegistryError("release_invalid", `release cannot be kept: ${reason}`, { cause });
  }
}

/** A tool or source that was named and not found must not just be missing from the release. */
function assertAllFound(
  what: string,
  wanted: AgentManifest["tools" | "retrieval"] | AgentInCode["tools"],
  found: readonly { readonly name: string }[],
): void {
  const given = new Set(found.map(({ name }) => name));
  const missing = wanted.flatMap(namesIn).find((name) => !given.has(name));
  if (missing !== undefined) throw new RegistryError("release_invalid", `${what} \`${missing}\` was not found`);
}

function wordFor(callable: Callable): string {
  return kindOf(callable) === "tool" ? "tool" : "source";
}

function namesIn(tool: AgentManifest["tools" | "retrieval"][number] | AgentInCode["tools"][number]): readonly string[] {
  if ("definition" in tool) return [tool.definition.name];
  return "module" in tool ? (tool.names ?? []) : [tool.name];
}

function assertJsonSchema(what: string, schema: JsonSchema): void {
  const problem = jsonSchemaProblem(schema, "lenient");
  if (problem !== undefined) throw new RegistryError("release_invalid", `${what}: ${problem}`);
}
