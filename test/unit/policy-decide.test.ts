import fc from "fast-check";
import { describe, expect, it } from "vitest";

import type { Approved } from "../../src/core/approved.ts";
import { noFacts } from "../../src/core/decision.ts";
import { digestOf } from "../../src/store/canonical.ts";
import { compilePolicies, decide, explain, requestJson, schemaFor } from "../../src/policy/index.ts";
import type { PolicyRequest, PolicySetDocument, PolicyTool } from "../../src/policy/index.ts";
import { reader } from "../../src/policy/engine.ts";
import { evaluator } from "../../src/policy/evaluator.ts";

const parameters = { type: "object", properties: { amount: { type: "integer" } }, required: ["amount"] };
const pay: PolicyTool = { name: "pay", effect: "write", groups: ["money"], parameters };
const look: PolicyTool = { name: "look", effect: "read", groups: [], parameters };
const tools = [pay, look];

function documentOf(policies: Record<string, string>): PolicySetDocument {
  return { v: 1, policies: Object.entries(policies).map(([id, text]) => ({ id, text: `@id("${id}") ${text}` })) };
}

function request(amount: unknown, tool = "pay", facts = {}): PolicyRequest {
  return {
    agent: { team: "shop", name: "support", release: "0".repeat(64), useCase: "x", riskTier: "limited" },
    run: { id: "run_1", requestedBy: "me", subject: { id: "s" } },
    step: { kind: "tool", tool, arguments: { amount } as never },
    facts: { ...noFacts, ...facts },
  };
}

const permit = "permit (principal, action, resource);";
const asks = '@decision("require_approval") @group("treasury") @quorum("2") @expires("7d")';
const over = (limit: number): string =>
  `forbid (principal, action in Action::"tool", resource) when { context.input.amount > ${limit} };`;
const week = 7 * 86_400_000;
const approved = (policy: string, group: string, approvals: number, expiresMs = week): Approved[] => [
  { policy, group, approvals, quorum: 1, expiresMs, ageMs: 0 },
];

describe("decide", () => {
  const held = documentOf({
    permit,
    held: `@reason("much") ${asks} ${over(10)}`,
    limit: `@reason("too much") ${over(20)}`,
  });
  const compiled = compilePolicies(held, tools);

  it.each<[string, PolicyRequest, Approved[], object]>([
    ["below", request(10), [], { outcome: "allow", policies: [{ policy: "permit", text: "permitted by policy" }] }],
    [
      "above",
      request(11),
      [],
      {
        outcome: "require_approval",
        policies: [{ policy: "held", text: "much" }],
        requirements: [{ policy: "held", group: "treasury", quorum: 2, expiresMs: 7 * 86_400_000 }],
      },
    ],
    [
      "far above",
      request(21),
      [],
      { outcome: "deny", code: "forbidden", policies: [{ policy: "limit", text: "too much" }] },
    ],
    ["far above, approved", request(21), approved("held", "treasury", 5), { outcome: "deny", code: "forbidden" }],
    [
      "approved",
      request(11),
      approved("held", "treasury", 2),
      { outcome: "allow", policies: [{ policy: "permit" }, { policy: "held" }] },
    ],
    ["approved by too few", request(11), approved("held", "treasury", 1), { outcome: "require_approval" }],
    [
      "approved by one, twice",
      request(11),
      [...approved("held", "treasury", 1), ...approved("held", "treasury", 1)],
      { outcome: "require_approval" },
    ],
    ["approved for another policy", request(11), approved("permit", "treasury", 2), { outcome: "require_approval" }],
    ["approved by another group", request(11), approved("held", "reviewers", 2), { outcome: "require_approval" }],
    ["approved by NaN", request(11), approved("held", "treasury", Number.NaN), { outcome: "require_approval" }],
    ["an unknown tool", request(1, "erase"), [], { outcome: "deny", code: "undecidable", policies: [] }],
    ["a group as a tool", request(1, "../tool"), [], { outcome: "deny", code: "undecidable" }],
    ["wrong types", request("11"), [], { outcome: "deny", code: "undecidable" }],
    ["facts that are no integers", request(1, "pay", { steps: 0.5 }), [], { outcome: "deny", code: "undecidable" }],
    ["facts that are missing", request(1, "pay", { steps: undefined }), [], { outcome: "deny", code: "undecidable" }],
  ])("%s", (_name, asked, approvals, expected) => {
    expect(decide(compiled, asked, approvals)).toMatchObject(expected);
  });

  it("never asks people for what would be denied anyway", () => {
    const decision = decide(compilePolicies(documentOf({ held: `${asks} ${over(10)}` }), tools), request(11));
    expect(decision).toEqual({ outcome: "deny", code: "not_permitted", policies: [] });
  });

  it("needs every policy that fired satisfied", () => {
    const two = compilePolicies(documentOf({ permit, a: `${asks} ${over(10)}`, b: `${asks} ${over(11)}` }), tools);
    expect(decide(two, request(12), approved("a", "treasury", 2))).toMatchObject({
      outcome: "require_approval",
      requirements: [{ policy: "a" }, { policy: "b" }],
    });
    const both = [...approved("a", "treasury", 2), ...approved("b", "treasury", 2)];
    expect(decide(two, request(12), both).outcome).toBe("allow");
  });

  const terms = '@group("treasury") @quorum("1") @expires("24h")';
  it.each<[what: string, then: string, now: string, outcome: "allow" | "require_approval"]>([
    ["nothing", terms, terms, "allow"],
    ["another group", terms, terms.replace("treasury", "legal"), "require_approval"],
    ["a larger quorum", terms, terms.replace('"1"', '"2"'), "require_approval"],
    ["a group besides", terms, '@approvers("treasury and legal")', "require_approval"],
    ["a group less", '@approvers("treasury or legal")', '@approvers("treasury")', "require_approval"],
    ["a group more", '@approvers("treasury")', '@approvers("treasury or legal")', "allow"],
    [
      "different people",
      '@approvers("treasury and legal")',
      '@approvers("treasury and legal") @distinct("true")',
      "require_approval",
    ],
    [
      "the same people",
      '@approvers("treasury and legal") @distinct("true")',
      '@approvers("treasury and legal")',
      "allow",
    ],
    ["a passkey", terms, `${terms} @signed("passkey")`, "require_approval"],
    ["no passkey", `${terms} @signed("passkey")`, terms, "allow"],
    ["no editors", `${terms} @editor("counts")`, terms, "require_approval"],
    ["editors", terms, `${terms} @editor("counts")`, "allow"],
    ["less time", terms, terms.replace("24h", "30m"), "require_approval"],
    ["less time, and in time", terms, terms.replace("24h", "2h"), "allow"],
    ["more time", terms, terms.replace("24h", "7d"), "allow"],
    ["no escalation", `${terms} @escalate_after("1h") @escalate_to("bosses")`, terms, "require_approval"],
    [
      "escalation to others",
      `${terms} @escalate_after("1h") @escalate_to("bosses")`,
      `${terms} @escalate_after("1h") @escalate_to("legal")`,
      "require_approval",
    ],
    [
      "a later escalation",
      `${terms} @escalate_after("1h") @escalate_to("bosses")`,
      `${terms} @escalate_after("2h") @escalate_to("bosses")`,
      "require_approval",
    ],
    [
      "an earlier escalation",
      `${terms} @escalate_after("2h") @escalate_to("bosses")`,
      `${terms} @escalate_after("1h") @escalate_to("bosses")`,
      "allow",
    ],
    [
      "who it escalated to at once",
      `${terms} @escalate_after("2h") @escalate_to("bosses")`,
      '@approvers("treasury or bosses")',
      "allow",
    ],
    ["an amount", terms, `${terms} @amount("amount")`, "require_approval"],
    ["no amount", `${terms} @amount("amount")`, terms, "require_approval"],
    ["reminders", terms, `${terms} @remind_after("1h")`, "allow"],
  ])("where the same policy now asks for %s", (_what, then, now, outcome) => {
    const compiledWith = (annotations: string) =>
      compilePolicies(documentOf({ permit, held: `@decision("require_approval") ${annotations} ${over(10)}` }), tools);
    const asked = decide(compiledWith(then), request(11));
    if (asked.outcome !== "require_approval") throw new Error("expected to ask for approval");
    const hour = 3_600_000;
    const given = asked.requirements.map((one): Approved => ({ ...one, approvals: 1, ageMs: hour }));
    expect(decide(compiledWith(then), request(11), given).outcome).toBe("allow");
    expect(decide(compiledWith(now), request(11), given).outcome).toBe(outcome);
  });

  it("denies when a policy fails, although Cedar would skip the forbid and allow", () => {
    const overflow =
      'forbid (principal, action in Action::"tool", resource) when { context.input.amount * 9007199254740991 > 0 };';
    const compiled = compilePolicies(documentOf({ permit, overflow }), tools);
    const { decision, detail } = explain(compiled, request(2 ** 53 - 1));
    expect(decision).toEqual({
      outcome: "deny",
      code: "undecidable",
      policies: [{ policy: "overflow", text: "failed while it was evaluated" }],
    });
    expect(detail).toMatch(/overflow/);
  });

  it("matches groups, which Cedar without a schema would not", () => {
    const scopes = [
      'Action::"tool"',
      'Action::"group/money"',
      'Action::"effect/write"',
      '[Action::"tool/x", Action::"group/money"]',
    ];
    for (const scope of scopes) {
      const compiled = compilePolicies(
        documentOf({ permit, no: `forbid (principal, action in ${scope}, resource);` }),
        tools,
      );
      expect([scope, decide(compiled, request(1))]).toMatchObject([scope, { outcome: "deny", code: "forbidden" }]);
    }
    const inTeam = documentOf({
      permit:
        'permit (principal in Team::"shop", action, resource) when { resource.subject.id == "s" && principal.name == "support" };',
    });
    // Strict validation: `subject` is optional.
    expect(() => compilePolicies(inTeam, tools)).toThrow(/subject/);
    const guarded = documentOf({
      permit:
        'permit (principal in Team::"shop", action, resource) when { resource has subject && resource.subject.id == "s" };',
    });
    expect(decide(compilePolicies(guarded, tools), request(1)).outcome).toBe("allow");
  });

  it("checks each request against the schema, should our own conversion ever be wrong", () => {
    const compiled = compilePolicies(documentOf({ permit }), tools);
    const slice = compiled.slices.get("tool/pay");
    const good = explain(compiled, request(1)).request;
    if (slice === undefined || good === undefined) throw new Error("expected a request");
    const bad = { ...good, context: { ...good.context, input: { amount: "1" } } };
    expect(evaluator.evaluate(slice.of({ team: "shop", name: "support" }).all, slice.frame, good)).toMatchObject({
      response: { decision: "allow" },
    });
    expect(evaluator.evaluate(slice.of({ team: "shop", name: "support" }).all, slice.frame, bad).type).toBe("failure");
    const unknown = { ...good, principal: { type: "Stranger", id: "x" } };
    expect(evaluator.evaluate(slice.of({ team: "shop", name: "support" }).all, slice.frame, unknown).type).toBe(
      "failure",
    );
  });

  it("decides model calls by model, tokens and the run's facts", () => {
    const text =
      'permit (principal, action == Action::"model", resource) when { context.model == "m" && context.maxOutputTokens <= 100 && context.run.steps < 3 && context.run.spentMicroUsd < 5 && context.run.sameName == 0 };';
    const compiled = compilePolicies(documentOf({ text }), tools);
    const model = (maxOutputTokens: number, steps = 0): PolicyRequest => ({
      ...request(1),
      step: { kind: "model", model: "m", maxOutputTokens },
      facts: { ...noFacts, steps },
    });
    expect(decide(compiled, model(100)).outcome).toBe("allow");
    expect(decide(compiled, model(101))).toMatchObject({ code: "not_permitted" });
    expect(decide(compiled, model(100, 3))).toMatchObject({ code: "not_permitted" });
  });

  it("explains with a request that has one digest, whatever the order of the arguments' keys", () => {
    const compiled = compilePolicies(held, tools);
    const [first, second] = [request(1), structuredClone(request(1))].map((one) => explain(compiled, one).request);
    if (first === undefined || second === undefined) throw new Error("expected requests");
    expect(digestOf(requestJson(first, noFacts))).toBe(digestOf(requestJson(second, noFacts)));
    expect(first).toMatchObject({
      principal: { type: "Agent", id: "shop/support" },
      action: { type: "Action", id: "tool/pay" },
      context: { input: { amount: 1 }, run: { steps: 0 } },
    });
  });
});

const scope = fc.constantFrom(
  "action",
  'action in Action::"tool"',
  'action == Action::"tool/pay"',
  'action in Action::"effect/read"',
  'action in [Action::"group/money", Action::"tool/look"]',
  'action == Action::"tool"',
);
const who = fc.constantFrom(
  "principal",
  "principal",
  "principal is Agent",
  'principal == Agent::"shop/support"',
  'principal == Agent::"shop/other"',
  'principal in Team::"shop"',
  'principal is Agent in Team::"bank"',
  'principal in Agent::"bank/support"',
);
const what = fc.constantFrom("resource", "resource", "resource is Run", 'resource == Run::"run_2"');
const condition = fc.constantFrom(
  "",
  "when { context.run.spentMicroUsd > 0 }",
  'when { context.run.spentMicroUsd > 1 } unless { principal.name == "other" }',
  "when { context.run.spentMicroUsd * context.run.spentMicroUsd > 3 }",
  "when { resource has subject }",
  "unless { context.run.steps > 2 }",
  'when { principal in Team::"other" }',
  'when { action in Action::"group/money" }',
);
const annotation = fc.constantFrom("", "", asks, asks.replace("treasury", "legal"));
const policy = fc
  .tuple(fc.constantFrom("permit", "permit", "forbid"), who, scope, what, condition, annotation)
  .map(
    ([effect, by, where, on, when, note]) =>
      `${effect === "forbid" ? note : ""} ${effect} (${by}, ${where}, ${on}) ${when};`,
  );
// With enough forbids in some of them for the screen that is asked first.
const policySet = fc.array(policy, { minLength: 1, maxLength: 12 });
const agents = [
  { team: "shop", name: "support" },
  { team: "shop", name: "other" },
  { team: "bank", name: "support" },
];
const asked = fc
  .record({
    tool: fc.constantFrom("pay", "look"),
    steps: fc.nat(4),
    spentMicroUsd: fc.constantFrom(0, 1, 2, 2 ** 53 - 1),
    agent: fc.constantFrom(...agents),
  })
  .map(({ tool, steps, spentMicroUsd, agent }): PolicyRequest => {
    const one = request(1, tool, { steps, spentMicroUsd });
    return { ...one, agent: { ...one.agent, ...agent } };
  });
const approvals = fc.array(
  fc.record({
    policy: fc.constantFrom("p0", "p1", "p2"),
    group: fc.constantFrom("treasury", "legal"),
    approvals: fc.nat(3),
    quorum: fc.constant(1),
    expiresMs: fc.constant(week),
    ageMs: fc.constantFrom(0, week),
  }),
  { maxLength: 4 },
);

function numbered(texts: readonly string[]): PolicySetDocument {
  return documentOf(Object.fromEntries(texts.map((text, index) => [`p${index}`, text])));
}

describe("for any policies, request and approvals", () => {
  const runs = { numRuns: 100 };

  it("a forbid that people cannot lift wins", () => {
    fc.assert(
      fc.property(policySet, asked, approvals, (texts, one, given) => {
        const document = numbered([...texts, "forbid (principal, action, resource);"]);
        const decision = decide(compilePolicies(document, tools), one, given);
        // Where another policy fails, nothing can be said but no.
        expect(decision.outcome).toBe("deny");
        expect(["forbidden", "undecidable"]).toContain(decision.outcome === "deny" && decision.code);
      }),
      runs,
    );
  });

  it("one more forbid that people can lift never opens anything", () => {
    const openness = { deny: 0, require_approval: 1, allow: 2 };
    fc.assert(
      fc.property(policySet, asked, approvals, scope, condition, (texts, one, given, where, when) => {
        const more = `${asks} forbid (principal, ${where}, resource) ${when};`;
        const before = decide(compilePolicies(numbered(texts), tools), one, given);
        const after = decide(compilePolicies(numbered([...texts, more]), tools), one, given);
        expect(openness[after.outcome]).toBeLessThanOrEqual(openness[before.outcome]);
      }),
      runs,
    );
  });

  it("approvals for another policy or group change nothing", () => {
    fc.assert(
      fc.property(policySet, asked, (texts, one) => {
        const compiled = compilePolicies(numbered(texts), tools);
        const elsewhere = [...compiled.policies.keys()].flatMap((id) => [
          ...approved(id, "other", 9),
          ...approved(`${id}x`, "treasury", 9),
        ]);
        expect(decide(compiled, one, elsewhere)).toEqual(decide(compiled, one, []));
      }),
      runs,
    );
  });

  it("the order of policies changes nothing", () => {
    fc.assert(
      fc.property(policySet, asked, approvals, (texts, one, given) => {
        const document = numbered(texts);
        const turned = { ...document, policies: document.policies.toReversed() };
        expect(decide(compilePolicies(turned, tools), one, given)).toEqual(
          decide(compilePolicies(document, tools), one, given),
        );
      }),
      runs,
    );
  });

  it("a slice decides as the whole set does in Cedar itself, with its schema", () => {
    fc.assert(
      fc.property(policySet, asked, (texts, one) => {
        const document = numbered(texts);
        const { decision, request: cedarRequest } = explain(compilePolicies(document, tools), one);
        if (cedarRequest === undefined) throw new Error("expected a request");
        const staticPolicies = Object.fromEntries(document.policies.map(({ id, text }) => [id, text]));
        const answer = reader.run((cedar) =>
          cedar.isAuthorized({ ...cedarRequest, policies: { staticPolicies }, schema: schemaFor(tools) }),
        );
        if (answer.type === "failure") throw new Error(answer.errors[0]?.message);
        const { decision: whole, diagnostics } = answer.response;
        const reasons = decision.policies.map(({ policy: id }) => id);
        const failed = diagnostics.errors.map(({ policyId }) => policyId).sort();
        const outcome = failed.length > 0 ? "deny" : whole;
        expect(decision.outcome === "allow").toBe(outcome === "allow");
        expect(decision.outcome === "deny" && decision.code === "undecidable").toBe(failed.length > 0);
        // A denial names fewer: those that people can lift are not why it was denied.
        const all = failed.length > 0 ? failed : diagnostics.reason.toSorted();
        expect(all.filter((id) => reasons.includes(id) || failed.length > 0 || whole === "allow")).toEqual(reasons);
      }),
      { numRuns: 300 },
    );
  });
});
