import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { answerText } from "../../src/gate/answers/readings.ts";
import { redactedAnswer } from "../../src/gate/answers/redacted.ts";
import type { ModelResult } from "../../src/core/transcript.ts";
import { dataClassesIn, ownDataClasses } from "../../src/policy/data-classes.ts";

const answer = (content: string, given: Partial<ModelResult> = {}): ModelResult => {
  return { content, toolCalls: [], finishReason: "stop", ...given };
};
const redactedText = (content: string): string | undefined =>
  redactedAnswer({}, answer(content), ownDataClasses)?.content;

describe("an answer without what is found in it", () => {
  it.each<[string, string, string]>([
    ["is its text without", "Write to ada@shop.example.", "Write to [redacted]."],
    [
      "stays JSON in its own form",
      '{ "to":  ["ada@shop.example"], "n": 1.50 }',
      '{ "to":  ["[redacted]"], "n": 1.50 }',
    ],
    ["hides nothing in escapes", '{"to":"ad\\u0061\\u0040shop.example"}', '{"to":"[redacted]"}'],
    [
      "hides nothing in numbers",
      '{"card":4111111111111111,"n":4.111111111111111e15}',
      '{"card":"[redacted]","n":"[redacted]"}',
    ],
    ["hides nothing in names", '{"ada@shop.example":true}', '{"[redacted]":true}'],
    ["hides nothing in what is said twice", '{"a":"219-09-9999","a":1}', '{"a":"[redacted]","a":1}'],
    ["has no password under its name", '{"password":"hunter2-Hunter"}', '{"password":"[redacted]"}'],
    ["is itself where nothing is found", '{"a": "box"}', '{"a": "box"}'],
  ])("%s", (_what, content, expected) => expect(redactedText(content)).toBe(expected));

  it("keeps the calls that it asks for", () => {
    const toolCalls = [{ id: "1", name: "mail", arguments: '{"to":"ada@shop.example"}' }];
    const made = redactedAnswer({}, answer("To ada@shop.example", { toolCalls, finishReason: "tool_calls" }), [
      "email",
    ]);
    expect(made).toEqual(answer("To [redacted]", { toolCalls, finishReason: "tool_calls" }));
  });

  it("has nothing of what another detector has found, wherever it stands", () => {
    const content = '{"by":"Ada \\u004covelace","of":["Ada Lovelace","ada"]}';
    const read = answerText({ content });
    const start = read.lastIndexOf("Ada Lovelace");
    const places = [
      { name: "person", start, end: start + 12 },
      { name: "email", start: 0, end: 9 },
    ] as const;
    expect(redactedAnswer({}, answer(content), ["person"], places)?.content).toBe(
      '{"by":"[redacted]","of":["[redacted]","ada"]}',
    );
    const across = { name: "person", start: start - 4, end: start + 12 } as const;
    expect(redactedAnswer({}, answer(content), ["person"], [across])).toBeUndefined();
  });

  it("is none where something would still be found: parts of one text in several", () => {
    // In lines, as they are read one after the other, two texts are an account's number.
    expect(redactedText('["DE89 3704 0044 0532","0130 00"]')).toBeUndefined();
  });

  const output = { type: "object", properties: { to: { type: "string", format: "email" }, n: { type: "integer" } } };
  it("says so where it does not fit the output schema any more", () => {
    expect(redactedAnswer({ output }, answer('{"n":4111111111111111}'), ["card"])).toMatchObject({
      content: '{"n":"[redacted]"}',
      problem: expect.stringContaining("The answer does not fit the output schema: /n must be integer"),
    });
    const fits = redactedAnswer({ output: { type: "object" } }, answer('{"n":4111111111111111}'), ["card"]);
    expect(fits).not.toHaveProperty("problem");
  });

  it("holds nothing that its detectors find, as text or as JSON", () => {
    const value = fc.constantFrom(
      "ada@shop.example",
      "4111 1111 1111 1111",
      "DE89370400440532013000",
      "a",
      "secret=",
      "219-09-9999",
    );
    const texts = fc.array(value, { maxLength: 4 }).map((pieces) => pieces.join(" "));
    const contents = fc.oneof(
      texts,
      fc.array(texts, { maxLength: 3 }).map((list) => JSON.stringify({ list, [list.join()]: 4111111111111111 })),
      texts.map((text) => JSON.stringify(text).replaceAll("a", "\\u0061")),
    );
    fc.assert(
      fc.property(contents, fc.subarray([...ownDataClasses], { minLength: 1 }), (content, classes) => {
        const made = redactedAnswer({}, answer(content), classes)?.content;
        if (made === undefined) return;
        const left = [made, ...parsedTexts(made)].flatMap((text) => dataClassesIn(text));
        expect(left.filter((name) => classes.includes(name))).toEqual([]);
      }),
      { numRuns: 1_000 },
    );
  });
});

function parsedTexts(content: string): readonly string[] {
  const texts: string[] = [];
  try {
    JSON.parse(content, (name, value: unknown) => {
      texts.push(name, ...(typeof value === "string" || typeof value === "number" ? [String(value)] : []));
      return value;
    });
  } catch {
    return [];
  }
  return texts;
}
