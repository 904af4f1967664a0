import { expect, test } from "vitest";

import { transcript } from "../../src/core/transcript.ts";
import type { FinishedStep, ModelResult } from "../../src/core/transcript.ts";

const model = (content: string, more: Partial<ModelResult> = {}): FinishedStep => ({
  kind: "model",
  result: { content, toolCalls: [], finishReason: "stop", ...more },
});

test("a conversation is the prompt, the input, and the steps in their order, each result under its call's id", () => {
  const toolCalls = ["c1", "c2", "c3", "c4"].map((id) => ({ id, name: "look", arguments: "{}" }));
  const messages = transcript("Be kind.", "Hello.", [
    model("I look.", { toolCalls, finishReason: "tool_calls" }),
    { kind: "tool", callId: "c1", result: { status: "ok", value: "text stays text" } },
    { kind: "tool", callId: "c2", result: { status: "ok", value: { b: 1, a: [null] } } },
    { kind: "tool", callId: "c3", result: { status: "error", message: "no such order" } },
    { kind: "tool", callId: "c4", result: { status: "denied", code: "policy", message: "too much" } },
    model("not json", { problem: "The answer is not JSON." }),
    model('{"ok":true}'),
  ]);
  expect(messages).toEqual([
    { role: "system", content: "Be kind." },
    { role: "user", content: "Hello." },
    { role: "assistant", content: "I look.", toolCalls },
    { role: "tool", callId: "c1", content: "text stays text" },
    { role: "tool", callId: "c2", content: '{"b":1,"a":[null]}' },
    { role: "tool", callId: "c3", content: '{"error":"no such order"}' },
    { role: "tool", callId: "c4", content: '{"denied":"policy","reason":"too much"}' },
    { role: "assistant", content: "not json", toolCalls: [] },
    // Without it the model would not know what to do better.
    { role: "user", content: "The answer is not JSON." },
    { role: "assistant", content: '{"ok":true}', toolCalls: [] },
  ]);
});
