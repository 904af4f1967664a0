import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { noFacts } from "../../src/core/decision.ts";
import type { Json, JsonObject } from "../../src/core/json.ts";
import { checkPolicySet, compilePolicies, decide, narrowPolicy } from "../../src/policy/index.ts";
import type { ApprovedCall, PolicyTool } from "../../src/policy/index.ts";

const tool = {
  name: "refund",
  effect: "write",
  groups: [],
  parameters: {
    type: "object",
    properties: {
      amount_cents: { type: "integer" },
      "currency code": { type: "string" },
      note: { type: "string" },
      express: { type: "boolean" },
      tags: { type: "array", items: { type: "string" } },
    },
    required: ["amount_cents", "currency code"],
    additionalProperties: false,
  },
} as const satisfies PolicyTool;
const other = {
  ...tool,
  name: "mail",
  parameters: { type: "object", properties: { to: { type: "string" } } },
} as const;

const permit = { id: "all", text: '@id("all") permit (principal, action, resource);' };
const asks = {
  id: "asks",
  text: `@id("asks") @decision("require_approval") @group("treasury")
forbid (principal, action in Action::"effect/write", resource)
// a comment before the end
when { true };`,
};

const call = (args: JsonObject, agent = "shop/support"): ApprovedCall => ({ agent, arguments: args });

function outcome(text: string, args: JsonObject, agent = "support", name: string = tool.name): string {
  const compiled = compilePolicies({ v: 1, policies: [permit, { id: "asks", text }] }, [tool, other]);
  return decide(compiled, {
    agent: { team: "shop", name: agent, release: "0".repeat(64), useCase: "tests", riskTier: "limited" },
    run: { id: "run_1", requestedBy: "operator" },
    step: { kind: "tool", tool: name, arguments: args },
    facts: noFacts,
  }).outcome;
}

describe("a narrower policy", () => {
  const text = fc.oneof(
    fc.string({ unit: "grapheme", maxLength: 12 }),
    fc.constantFrom('"', "\\", '"] || true //', "\u202E", "\n};"),
  );
  const args = fc.record(
    {
      amount_cents: fc.integer({ min: -1_000, max: 100_000 }),
      "currency code": fc.constantFrom("EUR", "USD"),
      note: text,
      express: fc.boolean(),
      tags: fc.array(text, { maxLength: 3 }),
    },
    { requiredKeys: ["amount_cents", "currency code"] },
  );

  test("checks, lets through every call that it was made from, and still asks about all that is beyond them", () => {
    fc.assert(
      fc.property(fc.array(args, { minLength: 1, maxLength: 12 }), args, (samples, probe) => {
        const narrowing = narrowPolicy(
          asks,
          tool,
          samples.map((one) => call(one as JsonObject)),
        );
        if (narrowing.status === "none") throw new Error(narrowing.reason);
        const document = { v: 1 as const, policies: [permit, { id: "asks", text: narrowing.text }] };
        expect(checkPolicySet(document, [tool, other]).filter(({ severity }) => severity === "error")).toEqual([]);
        for (const one of samples) expect(outcome(narrowing.text, one as JsonObject)).toBe("allow");
        const amounts = samples.map(({ amount_cents }) => amount_cents);
        const beyond = { ...probe, amount_cents: Math.max(...amounts) + 1 } as JsonObject;
        expect(outcome(narrowing.text, beyond)).toBe("require_approval");
        expect(outcome(narrowing.text, { ...probe, amount_cents: Math.min(...amounts) - 1 } as JsonObject)).toBe(
          "require_approval",
        );
        expect(outcome(narrowing.text, samples[0] as JsonObject, "another")).toBe("require_approval");
        expect(outcome(narrowing.text, {}, "support", "mail")).toBe("require_approval");
        const isNew = samples.every(({ express }) => express === undefined);
        const express = outcome(narrowing.text, { ...samples[0], express: true } as JsonObject);
        expect(isNew ? express : "require_approval").toBe("require_approval");
      }),
      { numRuns: 25 },
    );
  });

  test("texts of a few are bounded by them, and the rest is named", () => {
    const samples = Array.from({ length: 6 }, (_, n) => {
      return call({ amount_cents: 100, "currency code": n % 2 === 0 ? "EUR" : 'U"SD', note: `n${n}` });
    });
    const narrowing = narrowPolicy(asks, tool, samples);
    if (narrowing.status === "none") throw new Error(narrowing.reason);
    expect(narrowing.open).toEqual(["note"]);
    expect(narrowing.text).toContain("context.input.amount_cents == 100");
    expect(outcome(narrowing.text, { amount_cents: 100, "currency code": 'U"SD', note: "x" })).toBe("allow");
    expect(outcome(narrowing.text, { amount_cents: 100, "currency code": "GBP", note: "x" })).toBe("require_approval");
    expect(outcome(narrowing.text, { amount_cents: 100, "currency code": "EUR", tags: [] })).toBe("require_approval");
  });

  test("is not proposed where the destination would be open, nothing is bounded, or the text has no end", () => {
    const many = Array.from({ length: 9 }, (_, n) => call({ to: `${n}@example.com` }));
    expect(narrowPolicy(asks, { ...other, destinations: ["to"] }, many)).toMatchObject({
      reason: expect.stringContaining("`to`"),
    });
    expect(narrowPolicy(asks, other, many)).toMatchObject({ reason: expect.stringContaining("nothing in common") });
    const commented = { ...asks, text: `${asks.text} // the end` };
    expect(narrowPolicy(commented, tool, [call({ amount_cents: 1, "currency code": "EUR" })])).toMatchObject({
      status: "none",
    });
    expect(narrowPolicy(asks, tool, [])).toMatchObject({ status: "none" });
    const odd: Json = 1.5;
    expect(narrowPolicy(asks, tool, [call({ amount_cents: odd, "currency code": "EUR" })])).toMatchObject({
      open: ["amount_cents", "currency code"],
    });
  });
});
