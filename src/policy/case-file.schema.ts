import { z } from "zod";

import { effectClasses } from "../core/action.ts";
import { denialCodes } from "../core/decision.ts";
import { toolNamePattern } from "../core/ids.ts";
import type { JsonObject } from "../core/json.ts";
import { confidentialities, dataClasses, origins } from "../core/labels.ts";
import { riskTiers } from "../core/release.ts";
import { sourceFields } from "../core/retrieval.schema.ts";
import { asTool } from "../core/retrieval.ts";
import { finishReasons } from "../core/transcript.ts";
import { groupNamePattern } from "./schema.ts";
import type { PolicyTool } from "./schema.ts";

const text = z.string().max(10_000);
const count = z.int().min(0);
const jsonObject = z.record(z.string(), z.json()) as unknown as z.ZodType<JsonObject>;

const toolSchema = z.strictObject({
  name: z.string().regex(toolNamePattern),
  effect: z.enum(effectClasses),
  groups: z.array(z.string().regex(groupNamePattern)).default([]),
  parameters: jsonObject.default({ type: "object", properties: {} }),
});

/** A source; like a tool's, its description and its code are no matter here. */
const sourceSchema = z
  .strictObject({
    name: z.string().regex(toolNamePattern),
    effect: z.enum(["read", "egress"]).default("read"),
    groups: z.array(z.string().regex(groupNamePattern)).default([]),
    results: sourceFields.results,
    dataClasses: sourceFields.dataClasses,
    topK: sourceFields.topK.default(5),
  })
  .transform((source): PolicyTool => asTool({ ...source, description: "", short: false, timeoutMs: 1 }));

const seen = z.strictObject({
  untrusted: z.boolean().optional(),
  confidentiality: z.enum(confidentialities).optional(),
  sources: z.array(text).optional(),
  dataClasses: z.array(z.enum(dataClasses)).optional(),
});

export const labels = z.strictObject({
  confidentiality: z.enum(confidentialities).default("public"),
  sources: z.array(text).default([]),
});

/** What differs from a run that has done and read nothing. */
export const givenFacts = z.strictObject({
  at: z.iso.datetime().optional(),
  environment: z.strictObject({ name: text, region: text }).partial().optional(),
  requester: z
    .strictObject({ roles: z.array(text), groups: z.array(text) })
    .partial()
    .optional(),
  steps: count.optional(),
  spentMicroUsd: count.optional(),
  sameName: count.optional(),
  sameNameApproved: count.optional(),
  approvals: count.optional(),
  history: z.record(z.string(), count).optional(),
  origins: z.record(z.string(), z.enum(origins)).optional(),
  destination: z.enum([...origins, "none"]).optional(),
  contested: z.boolean().optional(),
  mixedScript: z.boolean().optional(),
  bestOrigin: z.enum([...origins, "none"]).optional(),
  worstOrigin: z.enum([...origins, "none"]).optional(),
  ungroundedLinks: count.optional(),
  dataClasses: z.array(z.enum(dataClasses)).optional(),
  labels: z
    .strictObject({ arguments: z.record(z.string(), labels).default({}), destination: labels, content: labels })
    .partial({ destination: true, content: true })
    .optional(),
  seen: seen.optional(),
});

/** What differs from a final answer of no particular text. */
export const givenResponse = z.strictObject({
  finishReason: z.enum(finishReasons).optional(),
  /** Default: it asks for no tools. */
  final: z.boolean().optional(),
  characters: count.default(0),
  tools: z.array(z.string().regex(toolNamePattern)).default([]),
  /** Default: as many as `tools`. */
  calls: count.optional(),
  callDataClasses: z.array(z.enum(dataClasses)).default([]),
  links: z
    .strictObject({ grounded: count, untrusted: count, ungrounded: count, hosts: z.array(text) })
    .partial()
    .default({}),
});

const circumstances = z.strictObject({
  agent: z
    .strictObject({
      team: text,
      name: text,
      release: text.default("0".repeat(64)),
      useCase: text,
      riskTier: z.enum(riskTiers),
    })
    .optional(),
  requestedBy: text.optional(),
  /** null: on nobody's behalf, although `defaults` names somebody. */
  subject: z.strictObject({ id: text, email: text.optional() }).nullable().optional(),
  facts: givenFacts.optional(),
});
export type Circumstances = z.infer<typeof circumstances>;

const expectation = z.strictObject({
  outcome: z.enum(["allow", "deny", "require_approval"]),
  code: z.enum(denialCodes).optional(),
  policies: z.array(text).optional(),
});

export const caseSchema = z
  .strictObject({
    name: text,
    tool: text.optional(),
    retrieval: text.optional(),
    arguments: jsonObject.default({}),
    model: text.optional(),
    maxOutputTokens: z.int().default(1_000),
    response: givenResponse.optional(),
    approved: z.array(z.strictObject({ policy: text, group: text, approvals: count })).default([]),
    expect: expectation,
    ...circumstances.shape,
  })
  .refine(
    ({ tool, retrieval, model }) => [tool, retrieval, model].filter((name) => name !== undefined).length === 1,
    "expected either `tool`, `retrieval` or `model`",
  )
  .refine((one) => one.response === undefined || one.model !== undefined, "`response` is what a `model` answered");

export const tableSchema = z.strictObject({
  v: z.literal(1),
  tools: z.array(toolSchema).max(500).default([]),
  retrieval: z.array(sourceSchema).max(100).default([]),
  defaults: circumstances.default({}),
  cases: z.array(caseSchema).max(10_000),
});
