import { expect, it } from "vitest";

import { modelActivity } from "../../activities/model.ts";
import { issue } from "../../src/gate/governed-call.ts";
import type { GovernedModelCall } from "../../src/gate/index.ts";
import type { ModelProvider } from "../../src/providers/index.ts";

const usage = { input: 10, cachedInput: 0, output: 10, reasoning: 0 };

it.each([
  [500, { status: "result" }],
  [501, { status: "failed", message: "the model asked for 501 calls at once, and 500 is the most" }],
])("an answer that asks for %i calls at once: %j, and its tokens are paid for", async (count, expected) => {
  const toolCalls = Array.from({ length: count }, (_, n) => ({ id: `c${n}`, name: "look", arguments: "{}" }));
  const answer = { content: "", toolCalls, finishReason: "tool_calls", usage } as const;
  const provider = { complete: () => Promise.resolve(answer) } as unknown as ModelProvider;
  const run = { release: { document: { model: { name: "m", maxOutputTokens: 10 }, tools: [] } } };
  const { signal } = new AbortController();
  const call = issue({
    kind: "model",
    run,
    seq: 0,
    messages: [],
    watched: false,
    signal,
  } as unknown as GovernedModelCall);
  const outcome = await modelActivity(provider, () => undefined)(call as GovernedModelCall);
  expect(outcome).toMatchObject({ ...expected, usage });
});
