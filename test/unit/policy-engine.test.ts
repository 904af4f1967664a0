import fc from "fast-check";
import { describe, expect, it } from "vitest";

import type { Response } from "@cedar-policy/cedar-wasm/nodejs";

import { noFacts } from "../../src/core/decision.ts";
import type { Decision } from "../../src/core/decision.ts";
import { compilePolicies, decide, explain, schemaFor } from "../../src/policy/index.ts";
import type { CedarRequest, PolicyRequest, PolicyTool } from "../../src/policy/index.ts";
import { schemaFault } from "../../src/policy/conforms.ts";
import { CedarEngine } from "../../src/policy/engine.ts";
import { actionFrame, evaluator, policySlice } from "../../src/policy/evaluator.ts";
import { readPolicy } from "../../src/policy/policy.ts";
import { guardsOf, noneHolds } from "../../src/policy/guards.ts";
import { prunedTo } from "../../src/policy/reads.ts";
import { schemaOfAction } from "../../src/policy/schema.ts";

const send: PolicyTool = {
  name: "send",
  effect: "egress",
  groups: ["mail"],
  parameters: {
    type: "object",
    properties: {
      to: { type: "string" },
      amount: { type: "integer" },
      rate: { type: "number" },
      urgent: { type: "boolean" },
      tags: { type: "array", items: { type: "string" } },
      place: { type: "object", properties: { city: { type: "string" }, zip: { type: "integer" } }, required: ["city"] },
      anything: {},
    },
    required: ["to"],
  },
};
const agent = { team: "shop", name: "support", release: "0".repeat(64), useCase: "x", riskTier: "limited" } as const;

/** Mostly what a tool is really called with, and now and then anything at all. */
const text = fc.oneof(fc.string({ unit: "grapheme" }), fc.constantFrom("a", "__entity", "\ud800", "decimal"));
const argumentsOfSend = fc.record(
  {
    to: text,
    amount: fc.oneof(fc.integer(), fc.maxSafeInteger(), fc.constant(0.5)),
    rate: fc.oneof(fc.integer(), fc.constantFrom(1.5, 0.0001, -2.25, 1e20, 0.00001)),
    urgent: fc.boolean(),
    tags: fc.array(text, { maxLength: 3 }),
    place: fc.oneof(fc.record({ city: text, zip: fc.integer() }, { requiredKeys: ["city"] }), fc.constant("here")),
    anything: fc.jsonValue(),
  },
  { requiredKeys: ["to"] },
);
const origin = fc.constantFrom("user", "untrusted", "derived");
const step = fc.oneof(
  fc.record({ kind: fc.constant("tool"), tool: fc.constant("send"), arguments: argumentsOfSend }),
  fc.record({ kind: fc.constant("model"), model: text, maxOutputTokens: fc.oneof(fc.nat(), fc.constant(1.5)) }),
);
const request = fc
  .record({
    step,
    steps: fc.oneof(fc.nat(5), fc.constant(-1)),
    origins: fc.dictionary(fc.constantFrom("to", "amount", "other", "__proto__"), origin, { maxKeys: 2 }),
    groups: fc.array(text, { maxLength: 2 }),
    subject: fc.option(fc.record({ id: text, email: text }, { requiredKeys: ["id"] }), { nil: undefined }),
  })
  .map(({ step: asked, steps, origins, groups, subject }) => {
    const run = { id: "run_1", requestedBy: "me", ...(subject === undefined ? {} : { subject }) };
    const facts = { ...noFacts, steps, requester: { roles: [], groups }, flow: { ...noFacts.flow, origins } };
    return { agent, run, step: asked, facts } as unknown as PolicyRequest;
  });

const document = {
  v: 1,
  policies: [
    "permit (principal, action, resource) when { context.run.steps >= 0 };",
    'forbid (principal in Team::"shop", action in Action::"group/mail", resource) when { context.origins has to && context.origins.to == "untrusted" };',
    'forbid (principal, action in Action::"effect/egress", resource) when { context.input has amount && context.input.amount > 100 };',
    'forbid (principal, action in Action::"tool", resource) when { context.input has rate && context.input.rate.greaterThan(decimal("1.4999")) };',
    'forbid (principal, action in [Action::"tool/send", Action::"model"], resource) when { resource has subject && resource.subject has email && resource.subject.email like "a*" };',
    'forbid (principal, action == Action::"tool/send", resource) when { context.input has place.city && context.input.place.city == "a" };',
    'forbid (principal, action in Action::"tool", resource) when { context.input has tags && context.input.tags.contains("a") };',
    'forbid (principal, action, resource) when { context.requester.groups.contains("a") } unless { principal.name == "other" };',
  ].map((policy, index) => ({ id: `p${index}`, text: `@id("p${index}") ${policy}` })),
} as const;

describe("without a schema, Cedar", () => {
  it("decides every request as it does with the schema and request validation", () => {
    const compiled = compilePolicies(document, [send]);
    const staticPolicies = Object.fromEntries(document.policies.map(({ id, text: policy }) => [id, policy]));
    const outcomes = new Set<string>();
    fc.assert(
      fc.property(request, (one) => {
        const { decision, request: asked } = explain(compiled, one);
        outcomes.add(decision.outcome === "deny" ? decision.code : decision.outcome);
        const answer = asked === undefined ? "refused" : askedOfCedar(asked, staticPolicies);
        expect(briefly(decision)).toEqual(
          answer === "refused"
            ? { outcome: "deny", code: "undecidable", policies: [] }
            : { ...outcomeOf(answer), policies: answer.diagnostics.reason.toSorted() },
        );
        expect(answer === "refused" ? [] : answer.diagnostics.errors).toEqual([]);
      }),
      { numRuns: 400 },
    );
    expect([...outcomes].sort()).toEqual(["allow", "forbidden", "not_permitted", "undecidable"]);
  });

  it("is never asked what it would refuse with the schema, whatever is wrong with a request", () => {
    const compiled = compilePolicies(document, [send]);
    const good = explain(compiled, {
      agent,
      run: { id: "run_1", requestedBy: "me", subject: { id: "s", email: "e" } },
      step: {
        kind: "tool",
        tool: "send",
        arguments: { to: "a", amount: 1, rate: 1.5, urgent: true, tags: ["x"], place: { city: "c", zip: 1 } },
      },
      facts: { ...noFacts, flow: { ...noFacts.flow, origins: { to: "user" } } },
    }).request;
    if (good === undefined) throw new Error("expected a request");
    const schema = schemaOfAction(send, []);
    const refused = new Set<boolean>();
    fc.assert(
      fc.property(fc.nat(), fc.constantFrom("remove", "add", "replace"), fc.jsonValue(), (place, how, value) => {
        const bad = corrupted(good, place, how, value);
        const answer = askedOfCedar(bad, {});
        const fault = schemaFault(schema, "tool/send", bad);
        refused.add(fault !== undefined);
        expect(answer === "refused" && fault === undefined).toBe(false);
      }),
      { numRuns: 500 },
    );
    expect(refused).toEqual(new Set([true, false]));
    expect(schemaFault(schema, "tool/send", good)).toBeUndefined();
  });

  it("sees the groups of an action in its entity, and is not asked at all where it does not", () => {
    const policy = readPolicy('@id("p") forbid (principal, action, resource) when { action in Action::"group/mail" };');
    if ("problems" in policy) throw new Error("expected a policy");
    const slice = policySlice([policy.policy]);
    const frame = actionFrame("tool/send", ["effect/egress", "group/mail", "tool"], schemaOfAction(send, []));
    expect(() => evaluator.hold(slice, frame)).not.toThrow();
    const orphan = { ...frame, name: "orphan" as never, entity: { ...frame.entity, parents: [] } };
    expect(() => evaluator.hold(slice, orphan)).toThrow(/does not see the groups of the action tool\/send/);
    const foreign = { ...frame, name: "foreign" as never, groups: ["tool"] };
    const permits = {
      ...frame,
      name: "elsewhere" as never,
      entity: { ...frame.entity, uid: { type: "Action", id: "x" } },
    };
    expect(() => evaluator.hold(slice, permits)).toThrow(/does not see the groups/);
    // A group that nobody told of is not looked for: the frame and its entity are made from one list.
    expect(() => evaluator.hold(slice, foreign)).not.toThrow();
  });
});

describe("what a policy reads", () => {
  const full: CedarRequest = {
    principal: { type: "Agent", id: "shop/support" },
    action: { type: "Action", id: "tool/send" },
    resource: { type: "Run", id: "run_1" },
    context: { input: { to: "a", rate: { __extn: { fn: "decimal", arg: "1.5" } } }, run: { steps: 1, approvals: 2 } },
    entities: [
      { uid: { type: "Team", id: "shop" }, attrs: {}, parents: [] },
      {
        uid: { type: "Agent", id: "shop/support" },
        attrs: { name: "support", team: "shop" },
        parents: [{ type: "Team", id: "shop" }],
      },
      { uid: { type: "Run", id: "run_1" }, attrs: { id: "run_1", requestedBy: "me" }, parents: [] },
    ],
  };
  const everything = full.context;

  it.each<[string, object, string[], string[]]>([
    ["true", {}, [], []],
    ["context.run.steps > 0", { run: { steps: 1 } }, [], []],
    ["context has run.steps && context.input has to", { run: { steps: 1 }, input: { to: "a" } }, [], []],
    [
      'context["input"].rate.lessThan(decimal("1.0"))',
      { input: { rate: { __extn: { fn: "decimal", arg: "1.5" } } } },
      [],
      [],
    ],
    ["context has nothing", {}, [], []],
    ["context.run == {steps: 1, approvals: 2}", { run: { steps: 1, approvals: 2 } }, [], []],
    ["[context].contains(context)", everything, [], []],
    ["(if true then context else context).run.steps > 0", everything, ["name", "team"], ["id", "requestedBy"]],
    ["{a: context.run}.a.steps > 0", { run: { steps: 1, approvals: 2 } }, ["name", "team"], ["id", "requestedBy"]],
    ['principal.name == "x"', {}, ["name"], []],
    ['principal in Team::"shop" && principal != resource && principal is Agent', {}, [], []],
    ['Agent::"shop/support".name == "x"', {}, ["name", "team"], ["id", "requestedBy"]],
    ["{p: principal} has q", {}, ["name", "team"], ["id", "requestedBy"]],
    ["[principal, resource].contains(principal)", {}, ["name", "team"], ["id", "requestedBy"]],
    ['resource.requestedBy like "m*" || -context.run.steps < 0', { run: { steps: 1 } }, [], ["requestedBy"]],
  ])("%s", (condition, context, ofPrincipal, ofResource) => {
    const read = readPolicy(`@id("p") permit (principal, action, resource) when { ${condition} };`);
    if ("problems" in read) throw new Error(read.problems[0]?.message);
    const pruned = prunedTo(read.policy.reads, full);
    const attributesOf = (type: string): string[] => {
      const found = pruned.entities.find(({ uid }) => "type" in uid && uid.type === type);
      return Object.keys(found?.attrs ?? {}).sort();
    };
    expect(pruned.context).toEqual(context);
    expect(attributesOf("Agent")).toEqual(ofPrincipal);
    expect(attributesOf("Run")).toEqual(ofResource);
  });

  it.each([
    ["true", false],
    ["principal is Agent && principal != resource", false],
    ['context.input.to like "*in*" && {"in": 1}["in"] == 1', false],
    ['[decimal("1.0")].contains(context.input.rate) && (if context has "in" then true else false)', false],
    ['principal in Team::"shop"', true],
    ['action in [Action::"group/mail"]', true],
    ['principal is Agent in Team::"shop"', true],
    ['context.run.steps > 1 || (if principal in [Team::"shop"] then false else true)', true],
  ])("what is in what, only where it asks: %s", (condition, asks) => {
    const read = readPolicy(`@id("p") permit (principal, action, resource) when { ${condition} };`);
    if ("problems" in read) throw new Error(read.problems[0]?.message);
    const { reads } = policySlice([read.policy]);
    expect(reads.hierarchy).toBe(asks);
    const parents = prunedTo(reads, full).entities.flatMap((entity) => entity.parents);
    expect(parents).toEqual(asks ? [{ type: "Team", id: "shop" }] : []);
  });
});

describe("a screen of many forbids", () => {
  const lift = (id: string, text: string): { id: string; text: string } => ({ id, text: `@id("${id}") ${text}` });
  const forbids = Array.from({ length: 1_500 }, (_, n) =>
    lift(
      `f${n}`,
      `forbid (principal, action == Action::"tool/send", resource) when { context.run.steps == ${n + 10} };`,
    ),
  );
  const permit = lift("permit", "permit (principal, action, resource);");
  const compiled = compilePolicies({ v: 1, policies: [...forbids, permit] }, [send]);
  const at = (steps: number): PolicyRequest => ({
    agent,
    run: { id: "run_1", requestedBy: "me" },
    step: { kind: "tool", tool: "send", arguments: { to: "a" } },
    facts: { ...noFacts, steps },
  });

  const square = "context.run.spentMicroUsd * context.run.spentMicroUsd";
  const anyClauses = [
    "",
    "when { context.run.steps > 3 }",
    "when { context.run.steps > 2 && context.run.approvals > 0 }",
    `when { context.run.steps > 4 && ${square} < 0 }`,
    "when { context.run.steps <= 1 && context.run.approvals < 1 }",
    "when { context.run.steps <= 3 && context.run.approvals > 0 && context.run.steps > 2 }",
    `when { ${square} > 3 && context.run.steps > 4 }`,
    `when { ${square} > 9007199254740991 }`,
    // These differ in the number they begin with alone; what follows fires, or fails, past it.
    ...[0, 2, 4].map((bound) => `when { context.run.steps > ${bound} && ${square} > 3 }`),
    ...[1, 3].map((bound) => `when { context.run.steps < ${bound} } unless { context.run.approvals < 1 }`),
    'when { context.environment.name == "development" && context.run.steps == 2 }',
    'when { context.environment.name == "development" && context.run.approvals > 0 }',
    "when { context.run.steps > 1 } unless { context.run.spentMicroUsd > 1 }",
    "unless { context.run.steps < 3 || context.run.approvals > 0 }",
    'when { context.run.steps > 2 } when { context.environment.name == "development" } unless { principal.name == "other" }',
    `when { ${square} < 0 }`,
    'when { action in Action::"group/mail" && context.run.steps == 4 }',
  ];
  // Each begins with what can be told without Cedar, where it is false.
  const guarded = [
    "when { context.run.steps > 3 }",
    "when { context.run.steps >= 2 && context.run.approvals > 0 }",
    "when { context.run.steps < 1 }",
    `when { context.run.steps <= 1 } unless { ${square} > 9007199254740991 }`,
    `when { context.run.steps == 4 && ${square} < 0 }`,
    `when { context.run.approvals == 1 } when { ${square} > 3 }`,
    'when { context.environment.name == "development" && context.run.steps == 2 }',
    'when { context.environment.name == "production" && context.run.approvals > 0 }',
    'when { context.requester.roles.contains("auditor") && context.run.steps > 1 }',
    `when { context.requester.roles.contains("admin") && ${square} < 0 }`,
    "when { context.seen.untrusted == true && context.run.steps > 2 }",
    'when { context["run"]["spentMicroUsd"] > 1 && context.run.steps == 3 }',
  ];

  it.each<[string, readonly string[], (boolean | undefined)[]]>([
    ["whatever its policies ask", anyClauses, [undefined]],
    ["where guards tell most", guarded, [true, false]],
  ])("never speaks for a policy that fires or fails, %s", (_, clauses, guardsTell) => {
    const scopes = ["resource", "resource", 'resource == Run::"run_1"', 'resource == Run::"run_2"'];
    const forbids = fc.uniqueArray(fc.tuple(fc.constantFrom(...scopes), fc.constantFrom(...clauses)), {
      minLength: 5,
      maxLength: 20,
      selector: String,
    });
    const facts = fc.record({
      steps: fc.nat(5),
      spentMicroUsd: fc.constantFrom(0, 2, 2 ** 53 - 1),
      approvals: fc.nat(1),
      requester: fc.record({ roles: fc.subarray(["member", "auditor", "admin"]), groups: fc.constant([]) }),
    });
    const [screened, told, outcomes] = [new Set<boolean>(), new Set<boolean | undefined>(), new Set<string>()];
    fc.assert(
      fc.property(forbids, fc.constantFrom(...anyClauses.slice(0, 4)), facts, (chosen, when, given) => {
        const policies = chosen.map(([on, clause], n) => lift(`f${n}`, `forbid (principal, action, ${on}) ${clause};`));
        const all = [...policies, lift("permit", `permit (principal, action, resource) ${when};`)];
        const set = compilePolicies({ v: 1, policies: all }, [send]);
        const one = { ...at(0), facts: { ...noFacts, ...given } };
        const { screen, guards } = set.slices.get("tool/send")?.of(agent) ?? {};
        screened.add(screen !== undefined);
        const { decision, request: asked } = explain(set, one);
        if (asked === undefined) throw new Error("expected a request");
        told.add(guards && noneHolds(guards, asked));
        const whole = askedOfCedar(asked, Object.fromEntries(all.map(({ id, text: policy }) => [id, policy])));
        if (whole === "refused") throw new Error("expected an answer");
        const failed = whole.diagnostics.errors.map(({ policyId }) => policyId);
        outcomes.add(decision.outcome === "deny" ? decision.code : decision.outcome);
        expect(decision.outcome).toBe(failed.length > 0 ? "deny" : whole.decision);
        expect(decision.policies.map(({ policy }) => policy)).toEqual(
          (failed.length > 0 ? failed : whole.diagnostics.reason).toSorted(),
        );
      }),
      { numRuns: 400 },
    );
    expect(screened).toEqual(new Set([true, false]));
    expect([...told]).toEqual(expect.arrayContaining(guardsTell));
    expect([...outcomes].sort()).toEqual(["allow", "forbidden", "not_permitted", "undecidable"]);
  });

  it.each<[string, unknown, boolean]>([
    ["context.a > 3", 3, true],
    ["context.a > 3", 4, false],
    ["context.a >= 3", 3, false],
    ["context.a < 3", 3, true],
    ["context.a <= 3", 3, false],
    ["context.a > 3", undefined, false],
    ["context.a > 3", "2", false],
    ["context.a > 3", 2.5, false],
    ["context.a > 3", { __extn: { fn: "decimal", arg: "1.0" } }, false],
    ['context.a == "x"', "y", true],
    ['context.a == "x"', "x", false],
    ['context.a == "x"', 1, false],
    ['context.a == "x"', null, false],
    ["context.a == true", false, true],
    ["context.a == true", "false", false],
    ['context.a.contains("x")', ["y", "z"], true],
    ['context.a.contains("x")', [], true],
    ['context.a.contains("x")', ["y", "x"], false],
    ['context.a.contains("x")', ["y", 1], false],
    ['context.a.contains("x")', "y", false],
    ['context.a.b == "x"', { b: "y" }, true],
    ['context.a.b == "x"', ["y"], false],
    ['context.a["constructor"] == "x"', {}, false],
    ["(context.a > 3 && context.b > 1) || context.b > 2", 1, false],
    ["3 < context.a", 1, false],
    ["context.a > context.b", 1, false],
    ["!(context.a > 3)", 5, false],
  ])("tells without Cedar what is certain alone: %s of %j", (condition, value, certain) => {
    const read = readPolicy(`@id("p") forbid (principal, action, resource) when { ${condition} };`);
    if ("problems" in read) throw new Error(read.problems[0]?.message);
    const guards = guardsOf([read.policy]);
    const context = (value === undefined ? {} : { a: value }) as CedarRequest["context"];
    expect(guards !== undefined && noneHolds(guards, { context })).toBe(certain);
  });

  it.each([">", ">=", "<", "<="])("asks once what many begin with (%s), and names all that fire", (operator) => {
    const bounds = [1, 2, 3, 4, 5, 6, 7, 8];
    const limits = bounds.map((bound) =>
      lift(`f${bound}`, `forbid (principal, action, resource) when { context.run.steps ${operator} ${bound} };`),
    );
    const set = compilePolicies({ v: 1, policies: [...limits, permit] }, [send]);
    const holds = (steps: number, bound: number): boolean =>
      ({ ">": steps > bound, ">=": steps >= bound, "<": steps < bound, "<=": steps <= bound })[operator] === true;
    for (let steps = 0; steps < 10; steps += 1) {
      const fired = bounds.filter((bound) => holds(steps, bound)).map((bound) => `f${bound}`);
      const named = decide(set, at(steps)).policies.map(({ policy }) => policy);
      expect(named).toEqual(fired.length === 0 ? ["permit"] : fired);
    }
  });

  it("is no deeper than Cedar bears, and names the very policy that fires", () => {
    expect(Object.keys(compiled.slices.get("tool/send")?.of(agent).screen?.slice.policies ?? {})).toHaveLength(40);
    expect(decide(compiled, at(3))).toMatchObject({ outcome: "allow", policies: [{ policy: "permit" }] });
    expect(decide(compiled, at(1_509))).toMatchObject({ code: "forbidden", policies: [{ policy: "f1499" }] });
  });
});

const engine = new CedarEngine();

function briefly(decision: Decision): object {
  const { outcome, policies } = decision;
  const code = outcome === "deny" ? decision.code : undefined;
  return { outcome, policies: policies.map(({ policy }) => policy), ...(code === undefined ? {} : { code }) };
}

/** What a set without annotations must come to where no policy fails. */
function outcomeOf({ decision, diagnostics }: Response): object {
  if (decision === "allow") return { outcome: "allow" };
  return { outcome: "deny", code: diagnostics.reason.length === 0 ? "not_permitted" : "forbidden" };
}

/** Cedar alone, with the schema of the tool. It refuses some requests by throwing: text with half a character, say. */
function askedOfCedar(asked: CedarRequest, staticPolicies: Record<string, string>) {
  const call = { ...asked, policies: { staticPolicies }, schema: schemaFor([send]), validateRequest: true };
  try {
    const answer = engine.run((cedar) => cedar.isAuthorized(call));
    return answer.type === "success" ? answer.response : "refused";
  } catch {
    return "refused";
  }
}

/** The request with one of its values removed, joined by another, or replaced. */
function corrupted(good: CedarRequest, place: number, how: string, value: unknown): CedarRequest {
  const bad = structuredClone(good);
  const spots: [Record<string, unknown>, string][] = [];
  const walk = (record: Record<string, unknown>): void => {
    for (const [name, inner] of Object.entries(record)) {
      spots.push([record, name]);
      if (typeof inner === "object" && inner !== null) walk(inner as Record<string, unknown>);
    }
  };
  walk(bad.context);
  for (const { attrs } of bad.entities) walk(attrs);
  const [record, name] = spots[place % spots.length] ?? [bad.context, "input"];
  if (how === "remove" && Array.isArray(record)) record.splice(Number(name), 1);
  else if (how === "remove") delete record[name];
  else if (how === "add") record[Array.isArray(record) ? String(record.length) : "more"] = value;
  else record[name] = value;
  return bad;
}
