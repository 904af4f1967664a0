import type {
  ChatCompletionCreateParamsBase,
  ChatCompletionMessageParam,
} from "openai/resources/chat/completions/completions";

import type { JsonSchema } from "../core/json.ts";
import type { ToolDefinition } from "../core/release.ts";
import type { Message } from "../core/transcript.ts";

/** One question to a model, in the terms of the conversation. */
export type ModelRequest = {
  readonly model: string;
  readonly messages: readonly Message[];
  readonly tools: readonly Pick<ToolDefinition, "name" | "description" | "parameters">[];
  readonly maxOutputTokens: number;
  readonly temperature?: number | undefined;
  /** The final answer's JSON Schema. It guides the model; the caller checks the answer itself. */
  readonly output?: JsonSchema | undefined;
};

/**
 * Which field bounds the answer. OpenAI's reasoning models refuse the older `max_tokens`; some compatible servers know only that one,
 * and would silently answer without any bound.
 */
export type OutputLimitField = "max_completion_tokens" | "max_tokens";

/** The body of `POST /chat/completions`, without `stream`. */
export function requestBody(
  request: ModelRequest,
  limitField: OutputLimitField,
): Omit<ChatCompletionCreateParamsBase, "stream"> {
  return {
    model: request.model,
    messages: request.messages.map(messageParam),
    [limitField]: request.maxOutputTokens,
    ...(request.temperature === undefined ? {} : { temperature: request.temperature }),
    ...toolParams(request.tools),
    // Not `strict`: that accepts a subset of JSON Schema only, and a schema outside it would be an error instead of a hint.
    ...(request.output === undefined
      ? {}
      : { response_format: { type: "json_schema", json_schema: { name: "answer", schema: { ...request.output } } } }),
  };
}

function toolParams(
  tools: ModelRequest["tools"],
): Pick<ChatCompletionCreateParamsBase, "tools" | "parallel_tool_calls"> {
  // An empty list is refused by several servers.
  if (tools.length === 0) return {};
  return {
    tools: tools.map(({ name, description, parameters }) => ({
      type: "function",
      function: { name, description, parameters: { ...parameters } },
    })),
    parallel_tool_calls: true,
  };
}

function messageParam(message: Message): ChatCompletionMessageParam {
  switch (message.role) {
    case "system":
    case "user":
      return { role: message.role, content: message.content };
    case "tool":
      return { role: "tool", tool_call_id: message.callId, content: message.content };
    case "assistant":
      return message.toolCalls.length === 0 ? { role: "assistant", content: message.content } : assistantCalls(message);
  }
}

function assistantCalls(message: Extract<Message, { role: "assistant" }>): ChatCompletionMessageParam {
  return {
    role: "assistant",
    content: message.content === "" ? null : message.content,
    tool_calls: message.toolCalls.map((call) => ({
      id: call.id,
      type: "function",
      function: { name: call.name, arguments: call.arguments },
    })),
  };
}
