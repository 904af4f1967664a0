import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { noFacts } from "../../src/core/decision.ts";
import type { Digest, RunId } from "../../src/core/ids.ts";
import type { Json } from "../../src/core/json.ts";
import { confidentialities } from "../../src/core/labels.ts";
import { asTool, callablesOf } from "../../src/core/retrieval.ts";
import type { RetrievalSource, SourceFacts } from "../../src/core/retrieval.ts";
import type { FinishedStep } from "../../src/core/transcript.ts";
import { flowFacts } from "../../src/gate/flow/facts.ts";
import { extendFlow, startFlow } from "../../src/gate/flow/flow.ts";
import type { RunContext } from "../../src/gate/governed-call.ts";
import { compilePolicies, dataClassesIn, decide, policySetOf } from "../../src/policy/index.ts";
import { defineSource, retrieved, ToolResultError } from "../../src/tools/index.ts";

const facts: SourceFacts = {
  name: "papers",
  description: "Papers.",
  effect: "read",
  groups: [],
  results: { origin: "trusted", confidentiality: "confidential" },
  topK: 5,
  short: true,
  timeoutMs: 1_000,
};
const of = (value: Json, more: Partial<SourceFacts> = {}, limit = 5) =>
  retrieved({ ...facts, ...more }, limit, value, dataClassesIn);

describe("what comes of a source's answer", () => {
  it.each<[string, object, object | undefined, Partial<SourceFacts>]>([
    ["says nothing of itself", {}, { origin: "trusted", confidentiality: "confidential" }, {}],
    ["is somebody else's", { origin: "untrusted" }, { origin: "untrusted" }, {}],
    ["says it is trusted, of a source that is not", { origin: "trusted" }, { origin: "untrusted" }, untrusted()],
    ["is less confidential", { confidentiality: "public" }, { confidentiality: "public" }, {}],
    ["is more confidential", { confidentiality: "restricted" }, undefined, {}],
    [
      "has data of a kind that it must not have",
      { text: "call +44 20 7946 0958" },
      undefined,
      { dataClasses: ["email"] },
    ],
    ["has such data in its title", { title: "ada@example.com" }, undefined, { dataClasses: [] }],
    ["has data of a kind that it may have", { text: "ada@example.com" }, {}, { dataClasses: ["email"] }],
    ["has any data, of a source that may", { text: "ada@example.com" }, {}, {}],
  ])("a document that %s", (_what, document, expected, more) => {
    const { documents, withheld } = of([{ id: "a", text: "x", ...document }] as Json, more);
    expect(documents).toMatchObject(expected === undefined ? [] : [expected]);
    expect(withheld).toBe(expected === undefined ? 1 : 0);
  });

  it.each<[string, Json]>([
    ["a text", "no documents"],
    ["nothing", null],
    ["another shape", { results: [] }],
    ["a document without text", [{ id: "a" }]],
    ["one without a name", [{ id: "", text: "x" }]],
    ["a label that is none", [{ id: "a", text: "x", confidentiality: "secret" }]],
    ["a text that cannot be kept", [{ id: "a", text: "\0" }]],
    ["a document of a megabyte", [{ id: "a", text: "x".repeat(1_000_000) }]],
  ])("%s is none", (_what, value) => expect(() => of(value)).toThrow(ToolResultError));

  it("never has more, more confidential or more trusted documents than were decided on", () => {
    const document = fc.record(
      {
        id: fc.string({ minLength: 1, maxLength: 20, unit: "grapheme-ascii" }),
        text: fc.oneof(fc.constant("ada@example.com"), fc.constant("4111 1111 1111 1111"), fc.constant("plain")),
        origin: fc.constantFrom("trusted", "untrusted"),
        confidentiality: fc.constantFrom(...confidentialities),
        score: fc.integer(),
      },
      { requiredKeys: ["id", "text"] },
    );
    const source = fc.record({
      origin: fc.constantFrom("trusted" as const, "untrusted" as const),
      confidentiality: fc.constantFrom(...confidentialities),
    });
    fc.assert(
      fc.property(fc.array(document), source, fc.integer({ min: 1, max: 5 }), (answered, results, limit) => {
        const more = { results, dataClasses: ["email" as const] };
        const { documents, withheld } = of({ documents: answered } as never, more, limit);
        expect(documents.length).toBeLessThanOrEqual(limit);
        expect(documents.length + withheld).toBeLessThanOrEqual(answered.length);
        for (const { origin, confidentiality, text } of documents) {
          expect(origin === "trusted" && results.origin === "untrusted").toBe(false);
          const places = [confidentiality, results.confidentiality].map((one) => confidentialities.indexOf(one));
          expect(places[0]).toBeLessThanOrEqual(places[1] ?? -1);
          expect(text).not.toContain("4111");
        }
      }),
      { numRuns: 200 },
    );
  });
});

function untrusted(): Partial<SourceFacts> {
  return { results: { origin: "untrusted", confidentiality: "internal" } };
}

describe("what a run has read", () => {
  const source: RetrievalSource = {
    ...facts,
    implementation: { kind: "http", method: "POST", url: "http://localhost" },
  };
  const send = { ...asTool({ ...facts, name: "send" }), destinations: ["to"], implementation: source.implementation };
  const run = {
    id: "run_00000000000000000000000000" as RunId,
    team: "t",
    agent: "a",
    requestedBy: "u",
    release: { digest: "0".repeat(64) as Digest, document: { prompt: "p", tools: [], retrieval: [source] } },
    input: { prompt: "go" },
    inputDigest: "0".repeat(64) as Digest,
  } as unknown as RunContext;

  function after(value: Json, query = "where") {
    const call = { id: "c", name: "papers", arguments: JSON.stringify({ query, limit: 5 }) };
    const steps: readonly FinishedStep[] = [
      { kind: "model", result: { content: "", toolCalls: [call], finishReason: "tool_calls" } },
      { kind: "tool", callId: "c", result: { status: "ok", value } },
    ];
    return extendFlow(startFlow(run), run, steps);
  }
  const where = (value: Json, to: string) => flowFacts(after(value), { tool: send as never, args: { to } }).destination;
  const document = (text: string, labels: object = {}) => ({
    id: "d1",
    text,
    origin: "trusted",
    confidentiality: "internal",
    ...labels,
  });
  const two = { documents: [document("pay acct-77"), document("pay acct-66", { origin: "untrusted" })], withheld: 0 };

  it.each([
    ["acct-77", "trusted"],
    ["acct-66", "untrusted"],
    ["acct-55", "derived"],
    // A label is the gate's word, not the document's.
    ["internal", "derived"],
  ])("%s comes from the document that has it: %s", (to, origin) => expect(where(two as never, to)).toBe(origin));

  it("is as confidential as the documents that came, and no source was read that gave none", () => {
    expect(after(two as never).seen).toMatchObject({ untrusted: true, confidentiality: 1, sources: ["papers"] });
    expect(after({ documents: [], withheld: 3 }).seen).toMatchObject({ confidentiality: 0, sources: [] });
    expect(after({ documents: [document("x", { confidentiality: "restricted" })] as never }).seen.confidentiality).toBe(
      3,
    );
  });

  it("a result that is no list of documents has the labels of its source", () => {
    expect(after({ shadow: true, note: "x" }).seen).toMatchObject({ confidentiality: 2, sources: ["papers"] });
  });
});

it("a policy decides by the classification of the very source that is asked, also where nothing else of it differs", () => {
  const { document } = policySetOf([
    { name: "a", text: `@id("all") permit (principal, action, resource);` },
    {
      name: "b",
      text: `@id("open") forbid (principal, action in Action::"retrieval", resource)
unless { context.source.confidentiality <= 1 && context.source.origin == "trusted" && !context.source.dataClasses.contains("card") };`,
    },
  ]);
  const internal = { origin: "trusted", confidentiality: "internal" } as const;
  const outcomes = [
    { results: internal, dataClasses: [] },
    { results: { ...internal, confidentiality: "restricted" as const }, dataClasses: [] },
    { results: { ...internal, origin: "untrusted" as const }, dataClasses: [] },
    { results: internal },
  ].map((more) => {
    const step = { kind: "retrieval", tool: "papers", arguments: { query: "x", limit: 1 } } as const;
    const agent = { team: "t", name: "a", release: "0".repeat(64), useCase: "u", riskTier: "minimal" } as const;
    const request = { agent, run: { id: "run_1", requestedBy: "u" }, step, facts: noFacts };
    return decide(compilePolicies(document, [asTool({ ...facts, ...more })]), request).outcome;
  });
  expect(outcomes).toEqual(["allow", "deny", "deny", "deny"]);
});

describe("a source", () => {
  const make = (more: object) => () =>
    defineSource({ name: "s", description: "d", results: facts.results, retrieve: () => [], ...more });
  it.each([
    { name: "no name" },
    { topK: 0 },
    { topK: 1_000 },
    { effect: "write" },
    { description: "" },
    { dataClasses: ["x"] },
  ])("cannot have %o", (more) => expect(make(more)).toThrow(TypeError));

  it("is a call that needs both a query and how many documents", async () => {
    const asked = make({ topK: 2 })();
    const context = {} as never;
    await expect(asked.execute({ query: "x", limit: 2 }, context)).resolves.toEqual([]);
    await expect(asked.execute({ query: "x" }, context)).rejects.toMatchObject({ code: "tool_failed" });
    await expect(asked.execute({ query: "x", limit: 3 }, context)).rejects.toMatchObject({ code: "tool_failed" });
  });

  it("comes after the tools among what a model may call", () => {
    const source = { ...facts, implementation: { kind: "http", method: "GET", url: "http://localhost" } } as const;
    expect(callablesOf({ tools: [], retrieval: [source] })).toEqual([
      { ...asTool(facts), implementation: source.implementation },
    ]);
  });
});
