import { z } from "zod";

import type { Json, JsonObject } from "../core/json.ts";
import type { TokenUsage } from "../core/money.ts";
import type { Message, ModelToolCall } from "../core/transcript.ts";
import type { Play } from "./script-play.ts";

const textSchema = z
  .union([z.string(), z.array(z.object({ type: z.literal("text"), text: z.string() }))])
  .transform((content) => (typeof content === "string" ? content : content.map((part) => part.text).join("")));

const messageSchema = z.discriminatedUnion("role", [
  z.object({ role: z.enum(["system", "developer"]), content: textSchema }),
  z.object({ role: z.literal("user"), content: textSchema }),
  z.object({ role: z.literal("tool"), content: textSchema, tool_call_id: z.string() }),
  z.object({
    role: z.literal("assistant"),
    content: textSchema.nullish(),
    tool_calls: z
      .array(z.object({ id: z.string(), function: z.object({ name: z.string(), arguments: z.string() }) }))
      .nullish(),
  }),
]);

/** What the scripted model reads of a chat-completions request. */
export const chatRequestSchema = z.object({
  model: z.string(),
  messages: z.array(messageSchema).min(1),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
  max_completion_tokens: z.int().positive().nullish(),
  max_tokens: z.int().positive().nullish(),
  tools: z.array(z.json()).nullish(),
});
export type ChatRequest = z.output<typeof chatRequestSchema>;

/** The request's conversation in our terms. */
export function messagesOf(request: ChatRequest): readonly Message[] {
  return request.messages.map((message): Message => {
    switch (message.role) {
      case "system":
      case "developer":
        return { role: "system", content: message.content };
      case "user":
        return { role: "user", content: message.content };
      case "tool":
        return { role: "tool", callId: message.tool_call_id, content: message.content };
      case "assistant":
        return {
          role: "assistant",
          content: message.content ?? "",
          toolCalls: (message.tool_calls ?? []).map((call) => ({
            id: call.id,
            name: call.function.name,
            arguments: call.function.arguments,
          })),
        };
    }
  });
}

export type FinishReason = "stop" | "tool_calls" | "length";

/** One answer, before it is put into one piece or many. */
export type WireAnswer = {
  readonly id: string;
  readonly model: string;
  readonly content: string;
  readonly calls: readonly ModelToolCall[];
  readonly finishReason: FinishReason;
  readonly usage: TokenUsage;
};

/** The answer of the play, cut where the request's limit cuts it. */
export function wireAnswer(
  request: ChatRequest,
  messages: readonly Message[],
  play: Extract<Play, { kind: "answer" }>,
): WireAnswer {
  const limit = request.max_completion_tokens ?? request.max_tokens ?? Number.MAX_SAFE_INTEGER;
  const wanted = tokensOf(play.content) + callTokens(play.calls);
  // Half a tool call is of no use to anyone: past the limit there is text only.
  const cut = wanted > limit;
  const content = cut ? play.content.slice(0, limit * charactersPerToken) : play.content;
  const calls = cut ? [] : play.calls;
  const counted = { ...promptUsage(request, messages), output: tokensOf(content) + callTokens(calls), reasoning: 0 };
  return {
    id: `chatcmpl-${play.key.slice(0, 24)}`,
    model: request.model,
    content,
    calls,
    finishReason: cut ? "length" : calls.length > 0 ? "tool_calls" : "stop",
    usage: play.turn.usage ?? counted,
  };
}

const charactersPerToken = 4;

function tokensOf(text: string): number {
  return Math.ceil(text.length / charactersPerToken);
}

function callTokens(calls: readonly ModelToolCall[]): number {
  return calls.reduce((sum, call) => sum + tokensOf(call.name) + tokensOf(call.arguments), 0);
}

/** All that was there before the last answer counts as cached, as with providers that keep the prefix of a conversation. */
function promptUsage(request: ChatRequest, messages: readonly Message[]): Pick<TokenUsage, "input" | "cachedInput"> {
  const tools = tokensOf(JSON.stringify(request.tools ?? []));
  const tokens = messages.map(
    (message) => tokensOf(message.content) + (message.role === "assistant" ? callTokens(message.toolCalls) : 0),
  );
  const lastAnswer = messages.findLastIndex((message) => message.role === "assistant");
  const sum = (part: readonly number[]) => part.reduce((total, count) => total + count, 0);
  return { input: tools + sum(tokens), cachedInput: lastAnswer === -1 ? 0 : tools + sum(tokens.slice(0, lastAnswer)) };
}

function usageJson(usage: TokenUsage): JsonObject {
  return {
    prompt_tokens: usage.input,
    completion_tokens: usage.output,
    total_tokens: usage.input + usage.output,
    prompt_tokens_details: { cached_tokens: usage.cachedInput },
    completion_tokens_details: { reasoning_tokens: usage.reasoning },
  };
}

/** Fixed, so that the same question gets the same bytes. */
const created = 1_767_225_600;

function toolCallJson(call: ModelToolCall): JsonObject {
  return { id: call.id, type: "function", function: { name: call.name, arguments: call.arguments } };
}

/** `chat.completion`. */
export function completionJson(answer: WireAnswer): JsonObject {
  const message: JsonObject = {
    role: "assistant",
    content: answer.content === "" && answer.calls.length > 0 ? null : answer.content,
    refusal: null,
    ...(answer.calls.length === 0 ? {} : { tool_calls: answer.calls.map(toolCallJson) }),
  };
  return {
    id: answer.id,
    object: "chat.completion",
    created,
    model: answer.model,
    choices: [{ index: 0, message, logprobs: null, finish_reason: answer.finishReason }],
    usage: usageJson(answer.usage),
  };
}

const pieceLength = 24;

function pieces(text: string): readonly string[] {
  return text.match(new RegExp(`.{1,${pieceLength}}`, "gsu")) ?? [];
}

/** The same as `chat.completion.chunk`s: the role, the text and the calls in pieces, the end, and the usage if asked for. */
export function chunksJson(answer: WireAnswer, includeUsage: boolean): readonly JsonObject[] {
  const deltas: JsonObject[] = [
    { role: "assistant", content: "" },
    ...pieces(answer.content).map((content) => ({ content })),
    ...answer.calls.flatMap(callDeltas),
  ];
  const chunks = deltas.map((delta) => chunk(answer, [{ index: 0, delta, logprobs: null, finish_reason: null }]));
  chunks.push(chunk(answer, [{ index: 0, delta: {}, logprobs: null, finish_reason: answer.finishReason }]));
  if (includeUsage) chunks.push({ ...chunk(answer, []), usage: usageJson(answer.usage) });
  return chunks;
}

function chunk(answer: WireAnswer, choices: readonly Json[]): JsonObject {
  return { id: answer.id, object: "chat.completion.chunk", created, model: answer.model, choices, usage: null };
}

function callDeltas(call: ModelToolCall, index: number): readonly JsonObject[] {
  const start = { index, id: call.id, type: "function", function: { name: call.name, arguments: "" } };
  return [start, ...pieces(call.arguments).map((text) => ({ index, function: { arguments: text } }))].map((delta) => ({
    tool_calls: [delta],
  }));
}

/** OpenAI's error object. */
export function errorJson(type: string, code: string | null, message: string): JsonObject {
  return { error: { message, type, param: null, code } };
}
