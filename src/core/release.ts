import type { EffectClass } from "./action.ts";
import type { Digest } from "./ids.ts";
import type { JsonSchema } from "./json.ts";
import type { ToolResultLabels } from "./labels.ts";
import type { RenderHint } from "./render.ts";
import type { RetrievalSource } from "./retrieval.ts";

export const riskTiers = ["minimal", "limited", "high"] as const;
/** The use case's risk, in the EU AI Act's words. Policies see it. */
export type RiskTier = (typeof riskTiers)[number];

export type ModelConfig = {
  readonly name: string;
  /** The most tokens one answer may have; it also bounds what is reserved for the call. */
  readonly maxOutputTokens: number;
  readonly temperature?: number;
};

/** How a tool call is kept from happening twice after a crash. */
export type IdempotencySupport =
  /** The tool takes an idempotency key: a second call with the same key has no second effect. */
  | "key"
  /** The tool can be asked whether a key's effect has happened. */
  | "lookup"
  /** Neither: an interrupted call has an unknown outcome, and is never repeated. */
  | "none";

export type ToolImplementation =
  /** `module` is a path below one of the worker's tool roots; `sha256` pins the file's bytes. */
  | { readonly kind: "function"; readonly module: string; readonly sha256: Digest }
  /** Arguments are sent as JSON (or in the query of a GET), with the key in `Idempotency-Key`. */
  | { readonly kind: "http"; readonly method: "GET" | "POST" | "PUT" | "DELETE"; readonly url: string };

/** The most that `timeoutMs` may be: an activity that runs a tool ends after 15 minutes. */
export const maxToolTimeoutMs = 840_000;
/** The most for the fast lane, where an activity ends after 45 seconds. */
export const maxShortToolTimeoutMs = 30_000;

export type ToolDefinition = {
  readonly name: string;
  readonly description: string;
  readonly parameters: JsonSchema;
  readonly effect: EffectClass;
  /** Risk groups: policies address them as `Action::"group/NAME"`. */
  readonly groups: readonly string[];
  readonly idempotency: IdempotencySupport;
  /** Takes well under a second and survives a rerun: it may go through the fast lane (a local activity). */
  readonly short: boolean;
  readonly timeoutMs: number;
  /**
   * The arguments that say where something goes, or what is changed: a recipient, an account, a URL, a path, a credential. Absent: every
   * argument of a tool that acts, none of one that reads.
   */
  readonly destinations?: readonly string[];
  /** Whose text the results carry. Absent: anybody's. */
  readonly results?: ToolResultLabels;
  /** How arguments are to be read by those who decide on a call. Absent: by their names and formats. */
  readonly render?: Readonly<Record<string, RenderHint>>;
  readonly implementation: ToolImplementation;
};

export type RunLimits = {
  /** Governed steps in one run. */
  readonly maxSteps: number;
  readonly maxCostMicroUsd: number;
  /** Tokens of all model calls, input and output together. Absent: no limit. */
  readonly maxTokens?: number;
  /** Calls of models and tools that were begun; what was denied does not count. Absent: no limit. */
  readonly maxCalls?: number;
  /** Time in which the agent works; waiting for people does not count. */
  readonly maxWallClockMs: number;
};

/** An immutable, content-hashed set of everything that determines what an agent does. */
export type ReleaseDocument = {
  readonly v: 1;
  readonly team: string;
  readonly agent: string;
  readonly useCase: string;
  readonly riskTier: RiskTier;
  readonly model: ModelConfig;
  /** The system prompt. */
  readonly prompt: string;
  readonly tools: readonly ToolDefinition[];
  /** Where documents may be retrieved from; absent: nowhere. */
  readonly retrieval?: readonly RetrievalSource[];
  readonly limits: RunLimits;
  /** The final answer's JSON Schema; absent: the answer is text. */
  readonly output?: JsonSchema;
};

/** A release with its name: SHA-256 over the document's RFC 8785 bytes. */
export type Release = { readonly digest: Digest; readonly document: ReleaseDocument };

export const channels = ["dev", "staging", "production"] as const;
export type Channel = (typeof channels)[number];
