import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { z } from "zod";
import { releaseDocument } from "../../src/api/index.ts";
import { teamParams } from "../../src/api/policies.schema.ts";
import { addReceiverBody } from "../../src/api/receivers.schema.ts";
import type { ReleaseDocument, ToolDefinition } from "../../src/core/release.ts";
import type { RetrievalSource } from "../../src/core/retrieval.ts";
import { defineAgent, parseManifest, releaseOf, releaseOfDocument } from "../../src/registry/index.ts";

const tool: ToolDefinition = {
  name: "rates",
  description: "Exchange rates.",
  parameters: { type: "object", properties: {} },
  effect: "read",
  groups: [],
  idempotency: "key",
  short: false,
  timeoutMs: 5_000,
  implementation: { kind: "http", method: "GET", url: "https://rates.example/v1" },
};
const source: RetrievalSource = {
  name: "pages",
  description: "Pages.",
  effect: "egress",
  groups: [],
  results: { origin: "untrusted", confidentiality: "internal" },
  topK: 5,
  short: false,
  timeoutMs: 5_000,
  implementation: { kind: "http", method: "POST", url: "https://pages.example/v1" },
};
const head = {
  name: "support",
  team: "shop",
  useCase: "u",
  riskTier: "limited",
  model: { name: "m" },
  prompt: "Be kind.",
} as const;
const agent = defineAgent(head);
const document = releaseOf(agent, "Be kind.", [tool]).document;

describe("a release", () => {
  test("is named by what it holds: any change is another release, the order of keys is none", () => {
    const { digest } = releaseOf(agent, "Be kind.", [tool]);
    expect(digest).toMatch(/^[0-9a-f]{64}$/);
    const turned = Object.fromEntries(Object.entries(document).toReversed()) as unknown as ReleaseDocument;
    expect(releaseOfDocument(turned).digest).toBe(digest);
    const changes: readonly Partial<ReleaseDocument>[] = [
      { prompt: "Be kind!" },
      { tools: [] },
      { tools: [{ ...tool, timeoutMs: 5_001 }] },
      { model: { ...document.model, temperature: 0 } },
      { limits: { ...document.limits, maxCostMicroUsd: 1 } },
      { output: { type: "object" } },
      { riskTier: "high" },
      { retrieval: [source] },
      { retrieval: [{ ...source, results: { origin: "untrusted", confidentiality: "public" } }] },
    ];
    const digests = changes.map((change) => releaseOfDocument({ ...document, ...change }).digest);
    expect(new Set([digest, ...digests]).size).toBe(changes.length + 1);
  });

  test("has each name once among tools and sources, and every source that its manifest names", () => {
    const named = { ...source, name: tool.name };
    expect(() => releaseOf(agent, "p", [tool], undefined, [named])).toThrow("source `rates` is there twice");
    expect(() => releaseOf(agent, "p", [], undefined, [source, source])).toThrow("source `pages` is there twice");
    const wanting = defineAgent({ ...head, retrieval: [{ definition: { name: "pages" } }] });
    expect(() => releaseOf(wanting, "p", [tool])).toThrow("source `pages` was not found");
    expect(releaseOf(wanting, "p", [tool], undefined, [source]).document.retrieval).toEqual([source]);
  });

  test("is of no team that is named as the ledger's log of people, by whatever entrance", () => {
    const reserved = "`people` is reserved for the log of keys and delegations";
    expect(() => releaseOf(defineAgent({ ...head, team: "people" }), "p", [tool])).toThrow(reserved);
    const told = (schema: z.ZodType, value: unknown) => JSON.stringify(schema.safeParse(value).error?.issues);
    expect(told(releaseDocument, { ...document, team: "people" })).toContain(reserved);
    expect(told(teamParams, { team: "people" })).toContain(reserved);
    const address = { kind: "email", to: "a@example.com" };
    expect(told(addReceiverBody, { team: "people", address })).toContain(reserved);
    for (const team of ["peoples", "shop"]) {
      expect(releaseDocument.safeParse({ ...document, team }).success).toBe(true);
      expect(addReceiverBody.safeParse({ team, address }).success).toBe(true);
    }
  });

  test("of YAML and of code is the same one", () => {
    const yaml =
      "name: support\nteam: shop\nuseCase: u\nriskTier: limited\nmodel: { name: m }\nprompt: Be kind.\ntools: [{ module: ./tools.ts }]\n";
    expect(releaseOf(parseManifest(yaml, "a.yaml"), "Be kind.", [tool])).toEqual(releaseOf(agent, "Be kind.", [tool]));
  });

  test("survives a round through JSON with its name", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.double({ min: 0, max: 2, noNaN: true }), (prompt, temperature) => {
        fc.pre(!prompt.includes("\0"));
        const release = releaseOfDocument({
          ...document,
          tools: [],
          prompt,
          model: { ...document.model, temperature },
        });
        expect(releaseOfDocument(JSON.parse(JSON.stringify(release.document)) as ReleaseDocument).digest).toBe(
          release.digest,
        );
      }),
    );
  });

  test.each([
    ["two tools of one name", { tools: [tool, tool] }, /tool `rates` is there twice/],
    [
      "parameters that are no schema",
      { tools: [{ ...tool, parameters: { type: "object", required: "a" } }] },
      /parameters of tool `rates`/,
    ],
    ["parameters that are no object", { tools: [{ ...tool, parameters: { type: "string" } }] }, /type: "object"/],
    [
      "a schema that reaches out",
      { output: { type: "object", $ref: "https://x.example" } },
      /output: is not a JSON Schema/,
    ],
    ["a schema with a name of its own", { output: { type: "object", $id: "x" } }, /output: must not have an `\$id`/],
    ["text that Postgres cannot keep", { prompt: "a\0b" }, /NUL/],
    ["text that cannot be hashed", { prompt: "\ud800" }, /surrogate/],
  ] as const)("is refused with %s", (_, change, message) => {
    expect(() => releaseOfDocument({ ...document, ...(change as Partial<ReleaseDocument>) })).toThrow(
      expect.objectContaining({ code: "release_invalid", message: expect.stringMatching(message) }),
    );
  });

  test("may speak of escapes, and hold formats that a library made up", () => {
    expect(() => releaseOfDocument({ ...document, prompt: String.raw`\u0000` })).not.toThrow();
    const parameters = { type: "object", properties: { id: { type: "string", format: "cuid" } } };
    expect(() => releaseOfDocument({ ...document, tools: [{ ...tool, parameters }] })).not.toThrow();
  });

  test("has every tool and schema that its manifest names, or is none", () => {
    const yaml = "name: a\nteam: b\nuseCase: u\nriskTier: limited\nmodel: { name: m }\nprompt: p\n";
    const named = parseManifest(`${yaml}tools: [{ module: ./tools.ts, names: [rates, refund] }]\n`, "a.yaml");
    expect(() => releaseOf(named, "p", [tool])).toThrow(/tool `refund` was not found/);
    const inFile = parseManifest(`${yaml}outputFile: answer.json\n`, "a.yaml");
    expect(() => releaseOf(inFile, "p", [])).toThrow(/`answer.json` was not read/);
    expect(releaseOf(inFile, "p", [], { type: "object" }).document.output).toEqual({ type: "object" });
  });
});
