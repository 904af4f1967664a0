import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { defineAgent, parseManifest, RegistryError, releaseOf } from "../../src/registry/index.ts";

const complete = `name: support
team: shop
description: Answers customers.
useCase: customer-support
riskTier: limited
model:
  name: scripted/support
  temperature: 0.2
prompt: Be kind.
tools:
  - module: ./tools.ts
    names: [refund]
  - name: rates
    description: Exchange rates.
    effect: read
    groups: [egress_rates]
    timeout: 5s
    parameters:
      type: object
      properties: { base: { type: string } }
      additionalProperties: false
    http: { method: GET, url: "https://rates.example/v1" }
limits:
  maxCost: "$2.50"
  maxWallClock: 2h
output:
  type: object
  properties: { reply: { type: string } }
`;

/** The lines of the refusal, without the file's name. */
function problems(text: string): readonly string[] {
  try {
    parseManifest(text, "agent.yaml");
  } catch (error) {
    if (!(error instanceof RegistryError) || error.code !== "manifest_invalid") throw error;
    return error.message.split("\n").map((line) => line.replace(/^agent\.yaml:/, ""));
  }
  return [];
}

/** `complete` with one text in the place of another. */
function changed(from: string, to: string): string {
  expect(complete.split(from)).toHaveLength(2);
  return complete.replace(from, to);
}

describe("a manifest", () => {
  test("is read with its defaults, money in micro-USD and times in milliseconds", () => {
    expect(parseManifest(complete, "agent.yaml")).toEqual({
      name: "support",
      team: "shop",
      description: "Answers customers.",
      useCase: "customer-support",
      riskTier: "limited",
      model: { name: "scripted/support", maxOutputTokens: 1024, temperature: 0.2 },
      prompt: "Be kind.",
      tools: [
        { module: "./tools.ts", names: ["refund"] },
        {
          name: "rates",
          description: "Exchange rates.",
          effect: "read",
          groups: ["egress_rates"],
          short: false,
          timeout: 5_000,
          parameters: { type: "object", properties: { base: { type: "string" } }, additionalProperties: false },
          http: { method: "GET", url: "https://rates.example/v1" },
        },
      ],
      retrieval: [],
      limits: { maxSteps: 50, maxCost: 2_500_000, maxWallClock: 7_200_000 },
      output: { type: "object", properties: { reply: { type: "string" } } },
    });
  });

  describe("with sources", () => {
    const http = `  - name: web
    description: Pages.
    results: { origin: untrusted, confidentiality: public }
    http: { url: "https://search.example/v1" }
`;
    const withSources = (text: string): string => `${complete}retrieval:\n  - module: ./sources.ts\n${text}`;

    test("has a query leave the company unless it says otherwise", () => {
      expect(parseManifest(withSources(http), "agent.yaml").retrieval).toEqual([
        { module: "./sources.ts" },
        {
          name: "web",
          description: "Pages.",
          effect: "egress",
          groups: [],
          results: { origin: "untrusted", confidentiality: "public" },
          topK: 5,
          short: false,
          timeout: 30_000,
          http: { method: "POST", url: "https://search.example/v1" },
        },
      ]);
    });

    test.each<[string, string, string, RegExp]>([
      [
        "whose documents are nobody knows whose",
        "    results: { origin: untrusted, confidentiality: public }\n",
        "",
        /retrieval\.1\.results: is missing/,
      ],
      ["whose origin is no word", "untrusted", "mine", /retrieval\.1\.results\.origin/],
      ["that brings any number of documents", "    http", "    topK: 1000\n    http", /retrieval\.1\.topK/],
      ["that writes", "    http", "    effect: write\n    http", /retrieval\.1\.effect/],
      [
        "with a misspelt field",
        "    http",
        "    topk: 3\n    http",
        /retrieval\.1\.topk: is not a field here; did you mean `topK`\?/,
      ],
      ["with a password", "https://", "https://a:b@", /retrieval\.1\.http\.url: must have no user name/],
    ])("refuses one %s", (_what, from, to, problem) => {
      expect(http).toContain(from);
      expect(problems(withSources(http.replace(from, to))).join("\n")).toMatch(problem);
    });
  });

  test("of each example is read, and code says the same as YAML", () => {
    const yaml = parseManifest(readFileSync("examples/support/agent.yaml", "utf8"), "agent.yaml");
    const { tools: _, ...rest } = yaml;
    const { tools, ...inCode } = defineAgent({
      name: "support",
      team: "shop",
      useCase: "customer-support",
      riskTier: "limited",
      model: { name: "scripted/support" },
      promptFile: "./prompt.md",
      tools: [{ definition: { name: "refund" } }],
      limits: { maxSteps: 12, maxCost: "$0.50", maxWallClock: "10m" },
      output: yaml.output,
    });
    expect(inCode).toEqual(rest);
    expect(tools).toHaveLength(1);
    expect(() => parseManifest(readFileSync("examples/agentdojo/agent.yaml", "utf8"), "agent.yaml")).not.toThrow();
  });
});

test("tokens and calls of a run are limits of its release, and no part of one without", () => {
  const of = (limits: string) =>
    releaseOf(
      parseManifest(
        `name: a\nteam: t\nuseCase: u\nriskTier: minimal\nmodel: { name: m }\nprompt: p\nlimits: ${limits}`,
        "a",
      ),
      "p",
      [],
    ).document.limits;
  const others = { maxSteps: 50, maxCostMicroUsd: 1_000_000, maxWallClockMs: 900_000 };
  expect(of("{ maxTokens: 20000, maxCalls: 30 }")).toEqual({ ...others, maxTokens: 20_000, maxCalls: 30 });
  expect(Object.keys(of("{}"))).toEqual(Object.keys(others));
  for (const wrong of ["{ maxTokens: 0 }", "{ maxTokens: 1.5 }", '{ maxCalls: "3" }', "{ maxCalls: 100001 }"])
    expect(() => of(wrong)).toThrow(/limits\.max(Tokens|Calls): /);
});

describe("what is wrong is told with its place", () => {
  test.each([
    ["name: support", "name: Support", /^1:7: name: must be lower-case/],
    ["riskTier: limited", "riskTier: huge", /^5:11: riskTier: invalid option/],
    [
      "temperature: 0.2",
      "temprature: 0.2",
      /^8:\d+: model\.temprature: is not a field here; did you mean `temperature`\?/,
    ],
    ["useCase: customer-support", "usecase: customer-support", /^4:\d+: usecase: .*did you mean `useCase`\?/],
    ["prompt: Be kind.", "promptFile: ../../etc/passwd", /^9:13: promptFile: must be a file beside or below/],
    ["prompt: Be kind.", "promptFile: /etc/passwd", /^9:13: promptFile: must be a file beside or below/],
    ["prompt: Be kind.", "promptFile: a.md\nprompt: b", /^1:1: needs either `prompt` or `promptFile`/],
    ["names: [refund]", "name: [refund]", /^12:\d+: tools\.0\.name: .*did you mean `names`\?/],
    ["effect: read", "effect: reed", /^15:13: tools\.1\.effect: invalid option/],
    ["[egress_rates]", "[Egress]", /^16:14: tools\.1\.groups\.0: must be lower-case/],
    [
      "timeout: 5s",
      'results: { identifiers: ["*.user name"] }',
      /^17:\d+: tools\.1\.results\.identifiers\.0: must be a place in a result, such as `\*\.id`/,
    ],
    [
      "timeout: 5s",
      'results: { identifiers: [{ at: ["*.to"], where: {} }] }',
      /^17:\d+: tools\.1\.results\.identifiers\.0\.where: must name at least one place/,
    ],
    [
      "timeout: 5s",
      'results: { identifiers: [{ at: ["*.to", "id"], where: { "*.status": sent } }] }',
      /^17:\d+: tools\.1\.results\.identifiers\.0\.where\.\*\.status: must be a property of an object on the way to `id`/,
    ],
    [
      "timeout: 5s",
      'results: { identifiers: [{ at: "*.to", where: { "*.status": sent } }] }',
      /^17:\d+: tools\.1\.results\.identifiers\.0\.at: invalid input: expected array, received string/,
    ],
    [
      "timeout: 5s",
      'results: { identifiers: [{ at: ["*.to"], wehre: { "*.status": sent } }] }',
      /^17:46: tools\.1\.results\.identifiers\.0\.wehre: is not a field here/,
    ],
    [
      "timeout: 5s",
      'results: { identifiers: [{ at: ["*.to"], where: { "*.status": [sent, read] } }] }',
      /^17:\d+: tools\.1\.results\.identifiers\.0\.where\.\*\.status: must be one text or number/,
    ],
    [
      "timeout: 5s",
      'results: { identifiers: [{ at: ["*.to"], where: { status: sent } }] }',
      /^17:\d+: tools\.1\.results\.identifiers\.0\.where\.status: must be a property of an object on the way to `\*\.to`/,
    ],
    [
      "timeout: 5s",
      "results: { identifiers: [[id]] }",
      /^17:\d+: tools\.1\.results\.identifiers\.0: must be a place in a result, or one with conditions/,
    ],
    ["timeout: 5s", "results: { identifiers: [] }", /^17:\d+: tools\.1\.results\.identifiers: /],
    [
      "timeout: 5s",
      "results: { origin: trusted, identifiers: [id] }",
      /^17:\d+: tools\.1\.results\.identifiers: all of a trusted result is trusted/,
    ],
    [
      "timeout: 5s",
      "results: { identifier: [id] }",
      /^17:\d+: tools\.1\.results\.identifier: .*did you mean `identifiers`\?/,
    ],
    ["timeout: 5s", "timeout: 5", /^17:14: tools\.1\.timeout: /],
    ["timeout: 5s", "idempotency: lookup", /^17:18: tools\.1\.idempotency: invalid option/],
    [
      "type: object\n      properties: { base",
      "type: array\n      properties: { base",
      /^19:7: tools\.1\.parameters: must be .*type: "object"/,
    ],
    [
      "additionalProperties: false",
      "aditionalProperties: false",
      /^19:7: tools\.1\.parameters: is not a JSON Schema: .*aditionalProperties/,
    ],
    ["{ base: { type: string } }", "{ base: { type: strin } }", /^19:7: tools\.1\.parameters: is not a JSON Schema/],
    ["additionalProperties: false", "$id: https://x.example", /^19:7: tools\.1\.parameters: must not have an `\$id`/],
    [
      "additionalProperties: false",
      "$ref: https://x.example/other.json",
      /^19:7: tools\.1\.parameters: is not a JSON Schema/,
    ],
    ["https://rates.example/v1", "file:///etc/passwd", /^22:31: tools\.1\.http\.url: invalid URL/],
    [
      "https://rates.example/v1",
      "https://user:pw@rates.example",
      /^22:31: tools\.1\.http\.url: must have no user name/,
    ],
    ['url: "https', 'ulr: "https', /^22:\d+: tools\.1\.http\.ulr: .*did you mean `url`\?/],
    ["team: shop", "team: people", /^\d+:7: team: `people` is reserved for the log of keys/],
    ['"$2.50"', "2.50", /^24:12: limits\.maxCost: invalid input: expected string/],
    ['"$2.50"', '"$0"', /^24:12: limits\.maxCost: must be more than nothing/],
    ["maxWallClock: 2h", "maxWallClok: 2h", /^25:\d+: limits\.maxWallClok: .*did you mean `maxWallClock`\?/],
    ["output:\n", "outputFile: a.json\noutput:\n", /^1:1: cannot have both `output` and `outputFile`/],
  ])("%j as %j", (from, to, expected) => {
    const [first, ...others] = problems(changed(from, to)).filter((line) => !line.includes("is missing"));
    expect(first).toMatch(expected);
    expect(others).toEqual([]);
  });

  test("all of it at once, in the order of the file", () => {
    const text =
      "nmae: x\nteam: T\nuseCase: u\nriskTier: high\nmodel: { name: m, maxOutputTokens: 0 }\ntools:\n  - { module: 1 }\n  - {}\n";
    expect(problems(text)).toEqual([
      "1:1: name: is missing: expected string",
      "1:1: nmae: is not a field here; did you mean `name`?",
      "1:1: needs either `prompt` or `promptFile`",
      expect.stringMatching(/^2:7: team: must be lower-case/),
      expect.stringMatching(/^5:36: model\.maxOutputTokens: /),
      expect.stringMatching(/^7:15: tools\.0\.module: .*expected string, received number/),
      ...["name", "description", "parameters"].map((field) =>
        expect.stringMatching(`^8:5: tools\\.1\\.${field}: is missing`),
      ),
      expect.stringMatching(/^8:5: tools\.1\.effect: /),
      expect.stringMatching(/^8:5: tools\.1\.http: is missing/),
    ]);
  });

  test.each([
    ["an empty file", "", /^1:1: the file is empty/],
    ["a list", "- 1\n", /^1:1: invalid input: expected object/],
    ["a duplicate key", changed("useCase: customer-support", "name: other"), /^4:1: map keys must be unique/],
    ["broken YAML", "name: a\nmodel: {name: x\nteam: b\n", /^3:\d+: /],
    ["two documents", `${complete}---\nname: b\n`, /^29:1: source contains multiple documents/],
    ["tabs", "name: a\nmodel:\n\tname: b\n", /^[23]:\d+: /],
    ["a key called __proto__", `${complete}__proto__: { prompt: evil }\n`, /__proto__: is not a field here/],
    [
      "an alias bomb",
      `${complete}a: &a [1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c]\n`,
      /excessive alias count/,
    ],
    [
      "a schema that holds itself",
      changed(
        "parameters:\n      type: object\n      properties: { base: { type: string } }",
        "parameters: &p\n      type: object\n      properties: { base: *p }",
      ),
      /tools\.1\.parameters: is nested deeper than 64/,
    ],
    ["256 KiB and one", `#${"x".repeat(256 * 1024)}`, /^1:1: the file is longer than/],
    ["brackets without end", `name: ${"[".repeat(50_000)}`, /^1:\d+: /],
  ])("%s", (_, text, expected) => {
    expect(problems(text)[0]).toMatch(expected);
  });

  test("in code, too", () => {
    const agent = { name: "a", team: "t", useCase: "u", riskTier: "high", model: { name: "m" }, prompt: "p" } as const;
    expect(() => defineAgent({ ...agent, limits: { maxCost: "50" } })).toThrow(/limits.maxCost/);
    expect(() => defineAgent({ ...agent, tools: [{} as never] })).toThrow(/defineTool/);
    expect(defineAgent(agent).limits.maxSteps).toBe(50);
  });
});
