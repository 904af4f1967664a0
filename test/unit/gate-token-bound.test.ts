import fc from "fast-check";
import { expect, test } from "vitest";

import type { JsonSchema } from "../../src/core/json.ts";
import type { ReleaseDocument } from "../../src/core/release.ts";
import type { Message } from "../../src/core/transcript.ts";
import { inputTokenBound } from "../../src/gate/budgets/token-bound.ts";
import { requestBody } from "../../src/providers/model-request.ts";

const text = fc.string({ unit: "binary", maxLength: 40 });
const schema = fc.dictionary(text, fc.jsonValue({ maxDepth: 2 })) as unknown as fc.Arbitrary<JsonSchema>;
const message: fc.Arbitrary<Message> = fc.oneof(
  fc.record({ role: fc.constantFrom("system" as const, "user" as const), content: text }),
  fc.record({ role: fc.constant("tool" as const), callId: text, content: text }),
  fc.record({
    role: fc.constant("assistant" as const),
    content: text,
    toolCalls: fc.array(fc.record({ id: text, name: text, arguments: text }), { maxLength: 4 }),
  }),
);
const request = fc.record({
  name: text,
  maxOutputTokens: fc.integer({ min: 1, max: 1_000_000 }),
  temperature: fc.option(fc.double({ min: 0, max: 2, noNaN: true }), { nil: undefined }),
  messages: fc.array(message, { maxLength: 6 }),
  tools: fc.array(fc.record({ name: text, description: text, parameters: schema }), { maxLength: 4 }),
  output: fc.option(schema, { nil: undefined }),
  field: fc.constantFrom("max_tokens" as const, "max_completion_tokens" as const),
});

test("what is held for a model call counts at least every byte of the request that is sent, its output schema included", () => {
  fc.assert(
    fc.property(request, ({ name, maxOutputTokens, temperature, messages, tools, output, field }) => {
      const model = { name, maxOutputTokens, ...(temperature === undefined ? {} : { temperature }) };
      const document = { model, tools, ...(output === undefined ? {} : { output }) } as unknown as ReleaseDocument;
      const sent = {
        ...requestBody({ model: name, messages, tools, maxOutputTokens, temperature, output }, field),
        stream: true,
        stream_options: { include_usage: true },
      };
      expect(inputTokenBound(messages, document)).toBeGreaterThanOrEqual(Buffer.byteLength(JSON.stringify(sent)));
    }),
    { numRuns: 500 },
  );
});
