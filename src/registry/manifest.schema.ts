import { z } from "zod";

import { effectClasses } from "../core/action.ts";
import { namePattern, teamNameProblem, toolNamePattern } from "../core/ids.ts";
import { destinationNames, resultLabels } from "../core/labels.schema.ts";
import { microUsdPerUsd } from "../core/money.ts";
import { maxToolTimeoutMs, riskTiers } from "../core/release.ts";
import { renderHintsByName } from "../core/render.schema.ts";
import { sourceFields } from "../core/retrieval.schema.ts";
import type { JsonSchema } from "../core/json.ts";
import { jsonSchemaProblem } from "./json-schema.ts";

const name = z.string().regex(namePattern, "must be lower-case letters, digits and hyphens, and begin with a letter");

const teamName = name.superRefine((team, context) => {
  const problem = teamNameProblem(team);
  if (problem !== undefined) context.addIssue({ code: "custom", message: problem });
});

const durationUnits: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `90s`, `10m`, `2h`, `7d`: milliseconds. */
const duration = z
  .string()
  .regex(/^[1-9][0-9]{0,5}[smhd]$/, 'must be a whole number and a unit: "90s", "10m", "2h" or "7d"')
  .transform((text) => Number(text.slice(0, -1)) * (durationUnits[text.slice(-1)] ?? 0));

/** `$0.50`: micro-USD. */
const dollars = z
  .string()
  .regex(/^\$[0-9]{1,6}(\.[0-9]{1,6})?$/, 'must be an amount in US dollars in quotes, such as "$0.50"')
  .transform((text) => Math.round(Number(text.slice(1)) * microUsdPerUsd))
  .refine((amount) => amount > 0, "must be more than nothing");

/** The same names that policies can address: `group/NAME`. */
const group = z
  .string()
  .regex(/^[a-z][a-z0-9_-]{0,62}$/, "must be lower-case letters, digits, `_` and `-`, and begin with a letter");

/** Describes an object. Misspelt keywords are problems: what they were meant to check would go unchecked. */
const jsonSchema = z.record(z.string(), z.json()).superRefine((schema, context) => {
  const problem = jsonSchemaProblem(schema as JsonSchema, "strict");
  if (problem !== undefined) context.addIssue({ code: "custom", message: problem });
});

/** Beside or below the manifest: registering somebody's manifest must not read the rest of the disk. */
const relativeFile = z
  .string()
  .min(1)
  .max(500)
  .refine(
    (path) => !/^([/\\]|[A-Za-z]:)/.test(path) && !path.split(/[/\\]/).includes("..") && !path.includes("\0"),
    "must be a file beside or below the manifest",
  );

/** What is decided on is this very address, and a release is no place for a password. */
const httpUrl = z.url({ protocol: /^https?$/, abort: true }).refine((text) => {
  const url = URL.parse(text);
  return url === null || (url.username === "" && url.password === "" && url.hash === "");
}, "must have no user name, password or fragment");

const moduleTools = z.strictObject({
  /** A file of function tools, relative to the manifest. */
  module: z.string().min(1),
  /** Default: every tool of the module. */
  names: z.array(z.string().regex(toolNamePattern)).min(1).optional(),
});

const httpTool = z.strictObject({
  name: z.string().regex(toolNamePattern, "must be letters, digits, `_` and `-`, at most 64, and begin with a letter"),
  description: z.string().min(1).max(10_000),
  parameters: jsonSchema,
  effect: z.enum(effectClasses),
  groups: z.array(group).max(32).default([]),
  /** Default: `none`, except for reads. An HTTP tool cannot be asked what became of a key, so there is no `lookup`. */
  idempotency: z.enum(["key", "none"]).optional(),
  short: z.boolean().default(false),
  timeout: duration.refine((ms) => ms <= maxToolTimeoutMs, "must be at most 14m").default(30_000),
  /** Arguments that say where something goes. Default: every one of a tool that acts, none of one that reads. */
  destinations: destinationNames.optional(),
  /** Whose text the results carry. Default: anybody's. */
  results: resultLabels.optional(),
  /** How arguments are to be read by those who decide. Default: by their names and formats. */
  render: renderHintsByName.optional(),
  http: z.strictObject({ method: z.enum(["GET", "POST", "PUT", "DELETE"]), url: httpUrl }),
});

/** A tool says what it is by what it has, so that a problem in it is named where it is. */
const tool = z.unknown().transform((value, context) => {
  const parsed = (isRecord(value) && "module" in value ? moduleTools : httpTool).safeParse(value);
  if (parsed.success) return parsed.data;
  for (const issue of parsed.error.issues) context.issues.push({ ...issue, input: value } as never);
  return z.NEVER;
});

const moduleSources = z.strictObject({
  /** A file of sources, relative to the manifest. */
  module: z.string().min(1),
  /** Default: every source of the module. */
  names: z.array(z.string().regex(toolNamePattern)).min(1).optional(),
});

const { timeoutMs: _, ...writtenAsInReleases } = sourceFields;
const httpSource = z.strictObject({
  ...writtenAsInReleases,
  /** Default: the query leaves the company. */
  effect: sourceFields.effect.default("egress"),
  groups: sourceFields.groups.default([]),
  topK: sourceFields.topK.default(5),
  short: z.boolean().default(false),
  timeout: duration.refine((ms) => ms <= maxToolTimeoutMs, "must be at most 14m").default(30_000),
  /** It gets `query` and `limit`, and answers with `documents`. */
  http: z.strictObject({ method: z.enum(["GET", "POST"]).default("POST"), url: httpUrl }),
});

const source = z.unknown().transform((value, context) => {
  const parsed = (isRecord(value) && "module" in value ? moduleSources : httpSource).safeParse(value);
  if (parsed.success) return parsed.data;
  for (const issue of parsed.error.issues) context.issues.push({ ...issue, input: value } as never);
  return z.NEVER;
});

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

const fields = {
  name,
  team: teamName,
  description: z.string().max(2_000).optional(),
  useCase: z.string().min(1).max(200),
  riskTier: z.enum(riskTiers),
  model: z.strictObject({
    name: z.string().min(1).max(200),
    maxOutputTokens: z.int().min(1).max(1_000_000).default(1_024),
    temperature: z.number().min(0).max(2).optional(),
  }),
  prompt: z.string().min(1).max(200_000).optional(),
  /** A text file, relative to the manifest. */
  promptFile: relativeFile.optional(),
  limits: z
    .strictObject({
      maxSteps: z.int().min(1).max(100_000).default(50),
      maxCost: dollars.default(microUsdPerUsd),
      maxTokens: z.int().min(1).max(1_000_000_000_000).optional(),
      maxCalls: z.int().min(1).max(100_000).optional(),
      maxWallClock: duration.default(900_000),
    })
    .prefault({}),
  /** The final answer's JSON Schema; without it the answer is text. */
  output: jsonSchema.optional(),
  /** The same in a file of its own, relative to the manifest. */
  outputFile: relativeFile.optional(),
};

const isMapping = ({ value }: { readonly value: unknown }): boolean => isRecord(value) && !Array.isArray(value);

/** Asked whatever else is wrong, so that every problem is told at once. */
const onePrompt = [
  (manifest: object) => "prompt" in manifest !== "promptFile" in manifest,
  { error: "needs either `prompt` or `promptFile`", when: isMapping },
] as const;

const oneOutput = [
  (manifest: object) => !("output" in manifest && "outputFile" in manifest),
  { error: "cannot have both `output` and `outputFile`", when: isMapping },
] as const;

/** An agent as a team writes it down in YAML. */
export const manifestSchema = z
  .strictObject({
    ...fields,
    tools: z.array(tool).max(100).default([]),
    /** Where documents may be retrieved from. */
    retrieval: z.array(source).max(50).default([]),
  })
  .refine(...onePrompt)
  .refine(...oneOutput);

/** The same in code: its tools are values. */
export const agentSchema = z
  .strictObject({
    ...fields,
    tools: z.array(z.custom<CodeTool>(isCodeTool, "must be tools made by `defineTool`")).max(200).default([]),
    retrieval: z.array(z.custom<CodeTool>(isCodeTool, "must be sources made by `defineSource`")).max(50).default([]),
  })
  .refine(...onePrompt)
  .refine(...oneOutput);

/** What the registry needs of a tool in code; `defineTool` makes more. */
export type CodeTool = { readonly definition: { readonly name: string } };

function isCodeTool(value: unknown): boolean {
  return isRecord(value) && isRecord(value["definition"]) && typeof value["definition"]["name"] === "string";
}

/** The fields that may stand at a place of a manifest, such as `tools.0.http`: what an unknown one is compared with. */
export function fieldsAt(place: string): readonly string[] {
  const shape = shapes[place.replace(/^(tools|retrieval)\.\d+(?=\.|$)/, "$1.*")];
  return Object.keys(shape ?? {});
}

const shapes: Readonly<Record<string, object>> = {
  "": manifestSchema.shape,
  model: fields.model.shape,
  limits: fields.limits.def.innerType.shape,
  "tools.*": { ...moduleTools.shape, ...httpTool.shape },
  "tools.*.http": httpTool.shape.http.shape,
  "tools.*.results": resultLabels.shape,
  "retrieval.*": { ...moduleSources.shape, ...httpSource.shape },
  "retrieval.*.http": httpSource.shape.http.shape,
  "retrieval.*.results": sourceFields.results.shape,
};

export type AgentManifest = z.output<typeof manifestSchema>;
export type AgentInCode = z.output<typeof agentSchema>;
export type ManifestTool = AgentManifest["tools"][number];
export type ManifestSource = AgentManifest["retrieval"][number];
export type AgentInput = z.input<typeof agentSchema>;
