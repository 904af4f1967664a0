import { z } from "zod";

import type { TokenUsage } from "../core/money.ts";
import { finishReasons } from "../core/transcript.ts";
import type { ModelResult, ModelToolCall } from "../core/transcript.ts";
import { ProviderError } from "./errors.ts";

/** What a model answered, and what it cost in tokens. */
export type ModelAnswer = Omit<ModelResult, "problem"> & { readonly usage: TokenUsage };

// Lenient about fields that are not used, strict about those that are: compatible servers differ in the former only.
const usageSchema = z.object({
  prompt_tokens: z.int().nonnegative(),
  completion_tokens: z.int().nonnegative(),
  prompt_tokens_details: z.object({ cached_tokens: z.int().nonnegative().nullish() }).nullish(),
  completion_tokens_details: z.object({ reasoning_tokens: z.int().nonnegative().nullish() }).nullish(),
});

const toolCallSchema = z.object({
  id: z.string().min(1),
  function: z.object({ name: z.string().min(1), arguments: z.string() }),
});

const completionSchema = z.object({
  choices: z.array(
    z.object({
      message: z.object({
        content: z.string().nullish(),
        refusal: z.string().nullish(),
        tool_calls: z.array(toolCallSchema).nullish(),
      }),
      finish_reason: z.enum(finishReasons),
    }),
  ),
  usage: z.unknown().optional(),
});

/** One event of a streamed answer. */
export const chunkSchema = z.object({
  choices: z
    .array(
      z.object({
        index: z.int().nullish(),
        delta: z
          .object({
            content: z.string().nullish(),
            refusal: z.string().nullish(),
            tool_calls: z
              .array(
                z.object({
                  index: z.int().nonnegative().nullish(),
                  id: z.string().nullish(),
                  function: z.object({ name: z.string().nullish(), arguments: z.string().nullish() }).nullish(),
                }),
              )
              .nullish(),
          })
          .nullish(),
        finish_reason: z.string().nullish(),
      }),
    )
    .nullish(),
  usage: z.unknown().optional(),
  error: z.unknown().optional(),
});

/**
 * The answer that a chat completion holds. Throws `malformed_response` where it is none, and where its tokens are not counted
 * or break `cached ⊂ input`, `reasoning ⊂ output`: a call whose cost is unknown must not pass. The error has the tokens where they are counted.
 */
export function answerOf(value: unknown): ModelAnswer {
  try {
    return answerIn(value);
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    const { code, message, retryable, hint } = error;
    throw new ProviderError(code, message, { retryable, hint, usage: countedIn(value) });
  }
}

/** Also of what is no answer: its tokens are paid for. */
function countedIn(value: unknown): TokenUsage | undefined {
  try {
    return usageOf(z.object({ usage: z.unknown() }).parse(value).usage);
  } catch {
    return undefined;
  }
}

function answerIn(value: unknown): ModelAnswer {
  const parsed = completionSchema.safeParse(value);
  if (!parsed.success) throw malformed(`chat completion has an unexpected ${pathOf(parsed.error)}`);
  const choice = parsed.data.choices[0];
  if (choice === undefined) throw malformed("chat completion has no choice");
  const usage = usageOf(parsed.data.usage);
  const toolCalls = toolCallsOf(choice.message.tool_calls ?? []);
  const content = choice.message.content ?? "";
  const refusal = choice.message.refusal ?? "";
  if (content === "" && refusal !== "")
    return { content: refusal, toolCalls: [], finishReason: "content_filter", usage };
  return { content, toolCalls, finishReason: finishReasonOf(choice.finish_reason, toolCalls), usage };
}

function toolCallsOf(calls: readonly z.infer<typeof toolCallSchema>[]): readonly ModelToolCall[] {
  // Results are matched to calls by id: two calls of one id cannot be answered.
  if (new Set(calls.map((call) => call.id)).size !== calls.length)
    throw malformed("chat completion has two tool calls of one id");
  return calls.map((call) => ({ id: call.id, name: call.function.name, arguments: call.function.arguments }));
}

function finishReasonOf(
  reason: ModelAnswer["finishReason"],
  toolCalls: readonly ModelToolCall[],
): ModelAnswer["finishReason"] {
  // Several compatible servers say `stop` after tool calls.
  if (reason === "stop" && toolCalls.length > 0) return "tool_calls";
  if (reason === "tool_calls" && toolCalls.length === 0)
    throw malformed("chat completion ends in tool calls and has none");
  return reason;
}

function usageOf(value: unknown): TokenUsage {
  // The same server will not count the next time either, and each try costs tokens that nobody sees: no retry.
  const uncounted = (message: string) => malformed(message, false);
  if (value === undefined || value === null) throw uncounted("chat completion has no usage: its cost is unknown");
  const parsed = usageSchema.safeParse(value);
  if (!parsed.success) throw uncounted(`chat completion has an unexpected usage.${pathOf(parsed.error)}`);
  const input = parsed.data.prompt_tokens;
  const output = parsed.data.completion_tokens;
  const cachedInput = parsed.data.prompt_tokens_details?.cached_tokens ?? 0;
  const reasoning = parsed.data.completion_tokens_details?.reasoning_tokens ?? 0;
  if (cachedInput > input) throw uncounted("usage has more cached than input tokens");
  if (reasoning > output) throw uncounted("usage has more reasoning than output tokens");
  return { input, cachedInput, output, reasoning };
}

export function malformed(message: string, retryable = true): ProviderError {
  return new ProviderError("malformed_response", message, { retryable });
}

/** Where the first problem is. Paths are field names of the schema above and indices: nothing of the content. */
function pathOf(error: z.ZodError): string {
  const path = error.issues[0]?.path ?? [];
  return path.length === 0 ? "form" : path.map(String).join(".");
}
