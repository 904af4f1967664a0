import { expect, test } from "vitest";
import { z } from "zod";

import { parseYaml } from "../../src/core/yaml-document.schema.ts";

const schema = z.strictObject({
  name: z.string(),
  model: z.strictObject({ tokens: z.int().optional() }).optional(),
  tools: z.array(z.strictObject({ id: z.int() })).optional(),
});

function problems(text: string): readonly string[] {
  const parsed = parseYaml(text, schema);
  return parsed.ok
    ? []
    : parsed.problems.map(({ line, column, path, message }) => `${line}:${column} ${path} ${message}`);
}

test("a document that fits is its value, in YAML and in JSON", () => {
  expect(parseYaml("name: a\ntools:\n  - id: 1\n", schema)).toEqual({
    ok: true,
    value: { name: "a", tools: [{ id: 1 }] },
  });
  expect(parseYaml('{"name": "a"}', schema)).toEqual({ ok: true, value: { name: "a" } });
});

test.each([
  // At the field itself: what is wrong is its name, and its value may be lines below.
  ["an unknown field", "name: a\nmodle:\n\n  tokens: 1\n", ["2:1 modle is not a field here; did you mean `model`?"]],
  [
    "one in a mapping",
    "name: a\nmodel:\n  tokens: 1\n  tokns: 2\n",
    ["4:3 model.tokns is not a field here; did you mean `tokens`?"],
  ],
  [
    "two in a list",
    "name: a\ntools:\n  - id: 1\n  - id: 2\n    x: 1\n    y: 1\n",
    ["5:5 tools.1.x is not a field here", "6:5 tools.1.y is not a field here"],
  ],
  [
    "one behind an alias",
    "name: a\nmodel: &m\n  tokns: 1\ntools: [*m]\n",
    [
      "3:3 model.tokns is not a field here; did you mean `tokens`?",
      "3:3 tools.0.tokns is not a field here",
      "4:9 tools.0.id is missing: expected number",
    ],
  ],
  ["one that is a number", "name: a\n7: b\n", ["2:1 7 is not a field here"]],
  ["one of JSON", '{"name": "a", "x": 1}', ["1:15 x is not a field here"]],
  [
    "a wrong value",
    "name: 7\nmodel:\n  tokens: x\n",
    [
      "1:7 name invalid input: expected string, received number",
      "3:11 model.tokens invalid input: expected number, received string",
    ],
  ],
  // At what misses it.
  ["a missing field", "name: a\ntools:\n  - {}\n", ["3:5 tools.0.id is missing: expected number"]],
  ["a field twice", "name: a\nname: b\n", ["2:1  map keys must be unique"]],
  ["nothing", "", ["1:1  the file is empty"]],
])("%s is reported at its place", (_, text, expected) => {
  expect(problems(text)).toEqual(expected);
});

test("a document that unfolds, or is too long, is refused before it is looked into", () => {
  const bomb = Array.from({ length: 12 }, (_, n) => `a${n}: &a${n} [${n === 0 ? "x" : `*a${n - 1},`.repeat(10)}]`).join(
    "\n",
  );
  expect(problems(bomb)).toEqual([expect.stringContaining("alias")]);
  expect(problems(`name: ${"a".repeat(256 * 1024)}`)).toEqual([expect.stringContaining("is longer than")]);
});
