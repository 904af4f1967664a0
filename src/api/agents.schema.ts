import { z } from "zod";

import { effectClasses } from "../core/action.ts";
import { destinationNames, writtenResultLabels } from "../core/labels.schema.ts";
import { renderHintsByName } from "../core/render.schema.ts";
import { channels, maxToolTimeoutMs, riskTiers } from "../core/release.ts";
import type { ReleaseDocument, ToolDefinition } from "../core/release.ts";
import { sourceFields } from "../core/retrieval.schema.ts";
import type { RetrievalSource } from "../core/retrieval.ts";
import { digest, jsonObject, name, principalId, teamName, time, toolName } from "./common.schema.ts";

export const channel = z.enum(channels);

const implementation = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("function"), module: z.string().min(1).max(500), sha256: digest }),
  z.strictObject({
    kind: z.literal("http"),
    method: z.enum(["GET", "POST", "PUT", "DELETE"]),
    url: z.url().max(2_000),
  }),
]);

export const toolDefinition: z.ZodType<ToolDefinition, ToolDefinition> = z
  .strictObject({
    name: toolName,
    description: z.string().max(10_000),
    parameters: jsonObject,
    effect: z.enum(effectClasses),
    groups: z.array(z.string().max(64)).max(32),
    idempotency: z.enum(["key", "lookup", "none"]),
    short: z.boolean(),
    timeoutMs: z.int().min(1).max(maxToolTimeoutMs),
    destinations: z.exactOptional(destinationNames),
    results: z.exactOptional(writtenResultLabels),
    render: z.exactOptional(renderHintsByName),
    implementation,
  })
  .meta({ id: "ToolDefinition" });

export const retrievalSource: z.ZodType<RetrievalSource, RetrievalSource> = z
  .strictObject({ ...sourceFields, implementation })
  .meta({ id: "RetrievalSource" });

/** What a release is made of. The server hashes it; a client cannot choose its name. */
export const releaseDocument: z.ZodType<ReleaseDocument, ReleaseDocument> = z
  .strictObject({
    v: z.literal(1),
    team: teamName,
    agent: name,
    useCase: z.string().min(1).max(200),
    riskTier: z.enum(riskTiers),
    model: z.strictObject({
      name: z.string().min(1).max(200),
      maxOutputTokens: z.int().min(1).max(1_000_000),
      temperature: z.number().min(0).max(2).optional(),
    }),
    prompt: z.string().min(1).max(200_000),
    tools: z.array(toolDefinition).max(200),
    retrieval: z.exactOptional(z.array(retrievalSource).min(1).max(50)),
    limits: z.strictObject({
      maxSteps: z.int().min(1).max(100_000),
      maxCostMicroUsd: z.int().min(1).max(1_000_000_000_000),
      maxTokens: z.int().min(1).max(1_000_000_000_000).optional(),
      maxCalls: z.int().min(1).max(100_000).optional(),
      maxWallClockMs: z.int().min(1_000).max(31_536_000_000),
    }),
    output: jsonObject.optional(),
  })
  .meta({ id: "ReleaseDocument" });

export const registerAgentBody = z.strictObject({ document: releaseDocument });

export const registeredAgent = z
  .object({
    team: name,
    agent: name,
    release: digest,
    /** False: this very release was registered before, and is now in production again. */
    created: z.boolean(),
    policySet: digest,
    /** The team had no policies, and has been given those that ship. */
    policiesActivated: z.boolean(),
  })
  .meta({ id: "RegisteredAgent" });
export type RegisteredAgent = z.output<typeof registeredAgent>;

export const agentSummary = z
  .object({
    team: name,
    agent: name,
    channels: z.partialRecord(channel, digest).describe("the release that each channel points at"),
    releases: z.int(),
    registeredAt: time,
  })
  .meta({ id: "AgentSummary" });
export type AgentSummary = z.output<typeof agentSummary>;

export const agentDetail = agentSummary
  .extend({
    production: z.object({ digest, document: releaseDocument }).nullable(),
    history: z.array(z.object({ release: digest, channel, at: time, by: principalId, reason: z.string() })),
  })
  .meta({ id: "AgentDetail" });
export type AgentDetail = z.output<typeof agentDetail>;
