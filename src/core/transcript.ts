import type { Json, JsonObject } from "./json.ts";

/** A tool call as the model asked for it. `arguments` is the model's text: it may not be JSON at all. */
export type ModelToolCall = { readonly id: string; readonly name: string; readonly arguments: string };

/** The conversation, in the terms that every chat-completions API shares. */
export type Message =
  | { readonly role: "system"; readonly content: string }
  | { readonly role: "user"; readonly content: string }
  | { readonly role: "assistant"; readonly content: string; readonly toolCalls: readonly ModelToolCall[] }
  | { readonly role: "tool"; readonly callId: string; readonly content: string };

export const finishReasons = ["stop", "tool_calls", "length", "content_filter"] as const;
/** Why a model said no more. */
export type FinishReason = (typeof finishReasons)[number];

/** What a model step leaves in the payload store. */
export type ModelResult = {
  readonly content: string;
  readonly toolCalls: readonly ModelToolCall[];
  readonly finishReason: FinishReason;
  /** Set where the answer does not fit the output schema: what is wrong, told to the model in the repair turn. */
  readonly problem?: string;
  /** Policy did not let the answer go further: this stands in its place, and `problem` says why. */
  readonly withheld?: true;
};

/** What stands in the place of an answer that policy did not let go further; `why` is for the model, and holds nothing of it. */
export function withheldAnswer(why: string): ModelResult {
  return {
    content: "[withheld by policy]",
    toolCalls: [],
    finishReason: "stop",
    problem: `Your answer was not let through: ${why}. Answer again without that.`,
    withheld: true,
  };
}

/** What stands in the place of the answer of a call that policy has only recorded. */
export const unaskedAnswer: ModelResult = {
  content: "[recorded by policy: the model was not asked]",
  toolCalls: [],
  finishReason: "stop",
};

/** And in the place of an answer that it has only recorded. */
export const unsentAnswer: ModelResult = {
  content: "[recorded by policy: the answer goes no further]",
  toolCalls: [],
  finishReason: "stop",
};

/** What a tool step leaves in the payload store. */
export type ToolResult =
  | { readonly status: "ok"; readonly value: Json; readonly changed?: ChangedCall }
  | { readonly status: "error"; readonly message: string; readonly changed?: ChangedCall }
  | { readonly status: "denied"; readonly code: string; readonly message: string };

/** What a reviewer made of a call before it was made: the agent is told. */
export type ChangedCall = { readonly arguments: JsonObject; readonly reason: string };

/** A finished step with its contents, in the order of `seq`. */
export type FinishedStep =
  | { readonly kind: "model"; readonly result: ModelResult }
  | { readonly kind: "tool"; readonly callId: string; readonly result: ToolResult };

/**
 * The conversation after `steps`, which MUST be in the order of their `seq`: that order is the workflow's, so parallel calls
 * read the same however they finished.
 */
export function transcript(prompt: string, input: string, steps: readonly FinishedStep[]): readonly Message[] {
  const messages: Message[] = [
    { role: "system", content: prompt },
    { role: "user", content: input },
  ];
  for (const step of steps) {
    switch (step.kind) {
      case "model":
        messages.push({ role: "assistant", content: step.result.content, toolCalls: step.result.toolCalls });
        if (step.result.problem !== undefined) messages.push({ role: "user", content: step.result.problem });
        break;
      case "tool":
        messages.push({ role: "tool", callId: step.callId, content: toolContent(step.result) });
        break;
    }
  }
  return messages;
}

function toolContent(result: ToolResult): string {
  if (result.status !== "denied" && result.changed !== undefined) {
    const { arguments: made, reason } = result.changed;
    const because = reason === "" ? {} : { because: reason };
    const outcome = result.status === "ok" ? { result: result.value } : { error: result.message };
    return JSON.stringify({
      note: "a reviewer changed this call before it was made",
      made_with: made,
      ...because,
      ...outcome,
    });
  }
  switch (result.status) {
    case "ok":
      return typeof result.value === "string" ? result.value : JSON.stringify(result.value);
    case "error":
      return JSON.stringify({ error: result.message });
    case "denied":
      return JSON.stringify({ denied: result.code, reason: result.message });
  }
}
