import { describe, expect, test } from "vitest";
import { z } from "zod";

import type { JsonObject, JsonSchema } from "../../src/core/json.ts";
import { defineTool, fits, isTool, parseArguments, ToolError } from "../../src/tools/index.ts";
import type { Tool, ToolContext } from "../../src/tools/index.ts";

const parameters = {
  type: "object",
  properties: {
    to: { type: "string", enum: ["ada", "ben"] },
    amount: { type: "integer", minimum: 1 },
    note: { type: "object", properties: { text: { type: "string" } }, additionalProperties: false },
    any: {},
  },
  required: ["to"],
  additionalProperties: false,
} as const;

describe("a model's arguments", () => {
  test("that fit are given as they are", () => {
    expect(parseArguments('{"to": "ada", "amount": 1, "note": {"text": "é"}}', parameters)).toEqual({
      ok: true,
      value: { to: "ada", amount: 1, note: { text: "é" } },
    });
    expect(parseArguments("", { type: "object" })).toEqual({ ok: true, value: {} });
    // The policy, the digest and the tool all get the parsed value: the last one.
    expect(parseArguments('{"to":"ada","to":"ben"}', parameters)).toEqual({ ok: true, value: { to: "ben" } });
  });

  test.each([
    ["cut off", '{"to": "ada"', "arguments are not valid JSON"],
    ["an array", "[]", "arguments must be a JSON object"],
    ["null", "null", "arguments must be a JSON object"],
    ["too long", `{"to":"ada"}${" ".repeat(256 * 1024)}`, "arguments are longer than 262144 bytes"],
    ["a lone surrogate", String.raw`{"to":"ada","any":"\ud800"}`, "text has a lone surrogate"],
    ["a lone surrogate in a key", String.raw`{"to":"ada","any":{"\ud800":1}}`, "key has a lone surrogate"],
    ["a number that is none", '{"to":"ada","any":1e400}', "number is not finite"],
    ["deep", `{"to":"ada","any":${"[".repeat(200)}${"]".repeat(200)}}`, "value is nested deeper than 128"],
    ["very deep", `{"to":"ada","any":${"[".repeat(100_000)}${"]".repeat(100_000)}}`, "value is nested deeper than 128"],
    ["a prototype", '{"to":"ada","any":[{"__proto__":{"to":"ben"}}]}', "a property must not be named `__proto__`"],
    ["an extra property", '{"to":"ada","iban":"X"}', "(top) must NOT have additional properties `iban`"],
    ["a nested one", '{"to":"ada","note":{"x":1}}', "/note must NOT have additional properties `x`"],
    ["a missing one", "{}", "(top) must have required property 'to'"],
    ["a wrong value", '{"to":"sk-secret"}', "/to must be equal to one of the allowed values"],
  ])("are refused: %s", (_, text, problem) => {
    expect(parseArguments(text, parameters)).toEqual({ ok: false, problem });
  });

  test("whose names could not be recorded are refused, whatever the schema lets through", () => {
    const many = (count: number) => JSON.stringify(Object.fromEntries(Array.from({ length: count }, (_, n) => [n, 1])));
    const problems = ['{"a\\u0000b":1}', many(1_001), '{"a":{"\\u0000":1}}', many(1_000)].map((text) => {
      const parsed = parseArguments(text, { type: "object" });
      return parsed.ok ? "" : parsed.problem;
    });
    expect(problems).toEqual(["an argument's name must not hold NUL", "there are more than 1000 arguments", "", ""]);
  });

  test("that are inherited do not count", () => {
    const schema = { type: "object", required: ["toString"] };
    expect(parseArguments("{}", schema)).toMatchObject({ ok: false });
  });

  test("are refused in few words, on one line, without their values", () => {
    const secrets = Object.fromEntries(
      Array.from({ length: 50 }, (_, n) => [`k${n}\n${"x".repeat(900)}`, "sk-secret"]),
    );
    const schema = { type: "object", additionalProperties: { pattern: "y".repeat(500) } };
    const result = parseArguments(JSON.stringify(secrets), schema);
    expect(result).toMatchObject({ ok: false, problem: expect.not.stringMatching(/sk-secret|\n/) as string });
    expect(result.ok ? "" : result.problem.length).toBeLessThanOrEqual(600);
    const extra = fits(secrets, { type: "object", additionalProperties: false });
    expect(extra.ok ? 0 : extra.problem.length).toBeLessThanOrEqual(600);
  });
});

describe("a schema", () => {
  test.each<[string, JsonSchema]>([
    ["is asynchronous, so that its validator answers with a promise", { $async: true, type: "object" }],
    ["says so of a part of it", { type: "object", properties: { a: { $async: true, type: "string" } } }],
    ["refers elsewhere", { type: "object", properties: { a: { $ref: "https://elsewhere.example/schema" } } }],
    ["is none, although it would compile, and let everything through", { type: "object", properties: { a: "string" } }],
    ["is none", { type: "object", required: "a" }],
    ["has a pattern that is none", { type: "object", properties: { a: { pattern: "(" } } }],
  ])("that nothing fits, because it %s", (_, schema) => {
    expect(fits({}, schema)).toEqual({
      ok: false,
      problem: expect.stringContaining("not a usable JSON Schema") as string,
    });
  });

  test("does not meet another of the same `$id`", () => {
    const named = (type: string): JsonSchema => ({
      $id: "https://tools.example/a",
      type: "object",
      properties: { a: { $ref: "#/$defs/a" } },
      $defs: { a: { type } },
    });
    const first = named("string");
    const second = named("integer");
    expect([fits({ a: "x" }, first).ok, fits({ a: "x" }, second).ok, fits({ a: 1 }, second).ok]).toEqual([
      true,
      false,
      true,
    ]);
    // Nor can it refer to one that another tool brought.
    expect(fits({ a: 1 }, { type: "object", properties: { a: { $ref: "https://tools.example/a" } } }).ok).toBe(false);
  });
});

const context = {} as ToolContext;
const inner = z.object({ a: z.int() });
type Tree = { readonly v: number; readonly kids?: Tree[] | undefined };
const tree: z.ZodType<Tree> = z.object({
  v: z.int(),
  get kids() {
    return z.array(tree).optional();
  },
});

function echo(input: z.ZodObject): Tool {
  return defineTool({ name: "echo", description: "", input, effect: "read", execute: (args) => args as JsonObject });
}

describe("a tool in code", () => {
  const tool = echo(
    z.object({
      plain: inner.describe("a thing").optional(),
      list: z.array(inner).optional(),
      record: z.record(z.string(), inner).optional(),
      union: z.union([inner, z.object({ a: z.int(), b: z.int() })]).optional(),
      both: z.intersection(inner, z.object({ c: z.int() })).optional(),
      tree: tree.optional(),
      lazy: z.lazy(() => inner).optional(),
      piped: inner.transform(({ a }) => a).optional(),
      refined: inner.refine(({ a }) => a > 0).optional(),
      open: z.looseObject({ a: z.int() }).optional(),
    }),
  );

  // Accepted by both or by neither: else a policy would see an argument that the tool does not get.
  test.each<[string, JsonObject, unknown]>([
    ["a nested object", { plain: { a: 1 } }, { plain: { a: 1 } }],
    ["an extra property", { extra: 1 }, undefined],
    ["one in a nested object", { plain: { a: 1, x: 1 } }, undefined],
    ["one in a list", { list: [{ a: 1, x: 1 }] }, undefined],
    ["one in a record", { record: { k: { a: 1, x: 1 } } }, undefined],
    ["the longer part of a union", { union: { a: 1, b: 2 } }, { union: { a: 1, b: 2 } }],
    ["an extra one in a union", { union: { a: 1, b: 2, x: 1 } }, undefined],
    ["both sides of an intersection", { both: { a: 1, c: 1 } }, { both: { a: 1, c: 1 } }],
    ["an extra one in an intersection", { both: { a: 1, c: 1, x: 1 } }, undefined],
    ["a recursive object", { tree: { v: 1, kids: [{ v: 2 }] } }, { tree: { v: 1, kids: [{ v: 2 }] } }],
    ["an extra one deep in it", { tree: { v: 1, kids: [{ v: 2, x: 1 }] } }, undefined],
    ["an extra one in a lazy object", { lazy: { a: 1, x: 1 } }, undefined],
    ["an extra one before a transform", { piped: { a: 1, x: 1 } }, undefined],
    ["an object that is open", { open: { a: 1, x: 1 } }, { open: { a: 1, x: 1 } }],
  ])("and its JSON Schema agree on %s", async (_, args, given) => {
    expect(fits(args, tool.definition.parameters).ok).toBe(given !== undefined);
    const got = await tool
      .execute(args, context)
      .catch((error: unknown) => (error instanceof ToolError ? undefined : error));
    expect(got).toEqual(given);
  });

  test("keeps its descriptions and its checks", async () => {
    expect(tool.definition.parameters["properties"]).toMatchObject({ plain: { description: "a thing" } });
    await expect(tool.execute({ refined: { a: 0 } }, context)).rejects.toThrow(/^arguments do not fit: /);
  });

  const options = { name: "t", description: "", input: z.object({}), effect: "write", execute: () => null } as const;

  test.each<[string, object, RegExp]>([
    ["a name that no model could call", { name: "a b" }, /name: must be letters/],
    ["a group that no policy could name", { groups: ["Money"] }, /groups\.0: must be lower-case/],
    ["no time to work in", { timeoutMs: 0 }, /timeoutMs/],
    // After a crash it would be run again, without being asked what became of it.
    ["a promised lookup that it does not have", { idempotency: "lookup" }, /needs a `lookup`/],
  ])("cannot have %s", (_, changed, problem) => {
    expect(() => defineTool({ ...options, ...changed })).toThrow(problem);
    const made = defineTool(options);
    expect(isTool(made)).toBe(true);
    expect(isTool({ ...made, definition: { ...made.definition, ...changed } })).toBe(false);
  });
});
