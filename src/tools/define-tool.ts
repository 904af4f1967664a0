import { z } from "zod";

import type { EffectClass } from "../core/action.ts";
import { CodedError } from "../core/errors.ts";
import type { RunId } from "../core/ids.ts";
import type { Json, JsonObject, JsonSchema } from "../core/json.ts";
import { defaultResultLabels } from "../core/labels.ts";
import type { ToolResultLabels } from "../core/labels.ts";
import type { IdempotencySupport } from "../core/release.ts";
import type { RenderHint } from "../core/render.ts";
import type { Callable } from "../core/retrieval.ts";
import type { RunInput } from "../core/run.ts";
import { clip } from "./clip.ts";
import { toolFacts } from "./definition.schema.ts";
import { strictInput } from "./strict-input.ts";

/**
 * What a tool throws for a failure that is known to have had **no effect** (an unknown order, a refused recipient). Its message is
 * told to the model. Anything else that is thrown may have happened half-way, and is treated so.
 */
export class ToolError extends CodedError<"tool_failed"> {
  constructor(message: string, options: { cause?: unknown; hint?: string } = {}) {
    super("tool_failed", message, options);
  }
}

/**
 * What a tool throws where it **did** its work, and has no result to tell: an answer that is too long, or cannot be read. Its message is
 * told to the model, and the call is not repeated.
 */
export class ToolResultError extends CodedError<"result_unusable"> {
  constructor(message: string, options: { cause?: unknown; hint?: string } = {}) {
    super("result_unusable", message, options);
  }
}

/** What a tool gets beside its arguments. */
export type ToolContext = {
  readonly run: RunId;
  readonly subject: RunInput["subject"];
  readonly tags: Readonly<Record<string, string>>;
  /** The same for every attempt of one step, and for no other step. Tools with `idempotency: "key"` MUST honour it. */
  readonly idempotencyKey: string;
  /** Aborted when the run is cancelled or the tool's time is up. */
  readonly signal: AbortSignal;
};

/** A tool in code: what the policy, the model and the gate know of it, and what it does. */
export type Tool = {
  readonly definition: Omit<Callable, "implementation">;
  execute(args: JsonObject, context: ToolContext): Promise<Json>;
  /**
   * Asked after a crash: the result of the effect with this key, or undefined where it has not happened. Whatever it throws means that
   * it could not be found out yet. Tools with `idempotency: "lookup"` MUST have it.
   */
  lookup?(context: ToolContext): Promise<Json | undefined>;
};

type ToolOptions<Input extends z.ZodObject> = {
  readonly name: string;
  readonly description: string;
  /**
   * Arguments. Its JSON Schema is what the model sees and the policy's types come from; objects in it are strict unless they say
   * otherwise. Defaults and transforms are the tool's own: a policy sees the arguments as the model gave them.
   */
  readonly input: Input;
  readonly effect: EffectClass;
  readonly groups?: readonly string[];
  /** Default: `none`, except for reads, which may always run again. */
  readonly idempotency?: IdempotencySupport;
  readonly short?: boolean;
  /** Default: 30 seconds. */
  readonly timeoutMs?: number;
  /**
   * The arguments that say where something goes, or what is changed: recipients, accounts, URLs, paths, credentials. Default: every
   * argument of a tool that acts, none of one that reads.
   */
  readonly destinations?: readonly (keyof z.input<Input> & string)[];
  /** Whose text the results carry. Default: anybody's, `{ origin: "untrusted", confidentiality: "internal" }`. */
  readonly results?: Partial<ToolResultLabels>;
  /** How arguments are to be read by those who decide on a call. Default: by their names and formats. */
  readonly render?: Readonly<Partial<Record<keyof z.input<Input> & string, RenderHint>>>;
  execute(args: z.output<Input>, context: ToolContext): Promise<Json> | Json;
  lookup?(context: ToolContext): Promise<Json | undefined>;
};

/** In milliseconds. */
export const defaultToolTimeoutMs = 30_000;

/** Makes a tool from a function and a zod schema of its arguments. Throws TypeError for one that no agent could have. */
export function defineTool<Input extends z.ZodObject>(options: ToolOptions<Input>): Tool {
  const input = strictInput(options.input);
  const { $schema: _, ...parameters } = z.toJSONSchema(input, { io: "input" }) as Record<string, Json>;
  const lookup = options.lookup?.bind(options);
  const tool: Tool = {
    definition: {
      name: options.name,
      description: options.description,
      parameters: parameters as JsonSchema,
      effect: options.effect,
      groups: options.groups ?? [],
      idempotency: options.idempotency ?? (options.effect === "read" ? "key" : "none"),
      short: options.short ?? false,
      timeoutMs: options.timeoutMs ?? defaultToolTimeoutMs,
      ...(options.destinations === undefined ? {} : { destinations: options.destinations }),
      ...(options.results === undefined ? {} : { results: { ...defaultResultLabels, ...options.results } }),
      ...(options.render === undefined ? {} : { render: options.render as Readonly<Record<string, RenderHint>> }),
    },
    async execute(args, context) {
      const parsed = input.safeParse(args);
      if (!parsed.success) throw new ToolError(clip(`arguments do not fit: ${z.prettifyError(parsed.error)}`, 600));
      return options.execute(parsed.data as z.output<Input>, context);
    },
    ...(lookup === undefined ? {} : { lookup }),
  };
  const problem = toolProblem(tool);
  if (problem !== undefined) throw new TypeError(`tool \`${clip(options.name, 64)}\`: ${problem}`);
  return tool;
}

/** Whether `value` is a whole tool, made by `defineTool` or by hand. */
export function isTool(value: unknown): value is Tool {
  return looksLikeTool(value) && toolProblem(value) === undefined;
}

/** Whether `value` is meant to be a tool, well made or not. */
export function looksLikeTool(value: unknown): value is { readonly definition: object } {
  if (typeof value !== "object" || value === null || !("definition" in value && "execute" in value)) return false;
  return typeof value.definition === "object" && value.definition !== null && typeof value.execute === "function";
}

/** What is wrong with a tool, or undefined. */
export function toolProblem(tool: { readonly definition: object }): string | undefined {
  const parsed = toolFacts.safeParse(tool.definition);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    return clip(`${issue?.path.join(".") ?? ""}: ${issue?.message ?? "not a definition"}`, 300);
  }
  const lookup = "lookup" in tool ? tool.lookup : undefined;
  if (lookup !== undefined && typeof lookup !== "function") return "lookup: expected a function";
  // It would be run again after a crash, without anybody being asked.
  if (parsed.data.idempotency === "lookup" && lookup === undefined)
    return 'idempotency "lookup" needs a `lookup` function';
  return undefined;
}
