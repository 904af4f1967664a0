import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { noFacts } from "../../src/core/decision.ts";
import {
  causeOf,
  changeOf,
  compilePolicies,
  consideredFor,
  decide,
  diffCases,
  diffPolicySets,
  parseCases,
  policySetOf,
  shadowDecide,
  verdictOf,
} from "../../src/policy/index.ts";
import { distinctTools } from "../../src/cli/policy-sets.ts";
import type { PolicyRequest, PolicyTool, Verdict } from "../../src/policy/index.ts";

const parameters = { type: "object", properties: { amount: { type: "integer" } }, required: ["amount"] } as const;
const tools: PolicyTool[] = [{ name: "pay", effect: "write", groups: [], parameters }];
const setOf = (text: string) => policySetOf([{ name: "a.cedar", text }]).document;
const pay = 'principal, action == Action::"tool/pay", resource';
const permit = `@id("p") permit (${pay});`;
const before = setOf(`${permit}\n@id("f") forbid (${pay}) when { context.input.amount > 50 };`);

const request = (amount: number): PolicyRequest => ({
  agent: { team: "t", name: "a", release: "0".repeat(64), useCase: "u", riskTier: "limited" },
  run: { id: "run_1", requestedBy: "me" },
  step: { kind: "tool", tool: "pay", arguments: { amount } },
  facts: noFacts,
});

it("diffPolicySets tells what was added, removed and changed from what was only written otherwise", () => {
  const after = {
    ...setOf(
      `@id("p")\n  permit(${pay}) ; // the same\n@id("f") forbid (${pay}) when { context.input.amount > 60 };\n@id("n") forbid (${pay});`,
    ),
    history: [{ name: "paid", measure: "count", actions: ["tool/pay"], per: "run" }],
  } as const;
  const diff = diffPolicySets(before, after);
  expect(diff).toMatchObject({
    added: [{ id: "n" }],
    removed: [],
    changed: [{ id: "f" }],
    unchanged: 0,
    history: ["paid"],
  });
  expect(diff.reformatted).toEqual(["p"]);
  expect(diffPolicySets(after, before)).toMatchObject({ added: [], removed: [{ id: "n" }], history: ["paid"] });
  expect(diffPolicySets(before, before)).toMatchObject({ changed: [], reformatted: [], unchanged: 2, history: [] });
});

it("diffCases names the cases that change, with the policy it is put down to", () => {
  const held = '@id("h") @decision("require_approval") @group("g")';
  const after = setOf(`${permit}\n${held} forbid (${pay}) when { context.input.amount > 10 };`);
  const { cases } = parseCases(
    `v: 1\ncases:\n${[5, 20, 70].map((amount) => `  - { name: pay ${amount}, tool: pay, arguments: { amount: ${amount} }, expect: { outcome: allow } }`).join("\n")}`,
  );
  expect(diffCases(before, after, tools, cases)).toMatchObject([
    {
      name: "pay 20",
      kind: "newly_gated",
      cause: "h",
      from: { outcome: "allow" },
      to: { outcome: "require_approval" },
    },
    { name: "pay 70", kind: "newly_gated", cause: "h", from: { outcome: "deny" } },
  ]);
  // What only one of them counts has not happened in a case of the other.
  const counts = { name: "paid", measure: "count", actions: ["tool/pay"], per: "run" } as const;
  const counting = policySetOf(
    [{ name: "a.cedar", text: `${permit}\n@id("f") forbid (${pay}) when { context.history.paid > 2 };` }],
    [counts],
  );
  expect(diffCases(before, counting.document, tools, cases)).toMatchObject([{ name: "pay 70", kind: "newly_allowed" }]);
  // A set that does not fit the tools denies everything, as the gate would.
  const misfit = setOf(`@id("x") permit (${pay}) when { context.input.amonut > 1 };`);
  expect(diffCases(before, misfit, tools, cases).map(({ kind }) => kind)).toEqual(["newly_denied", "newly_denied"]);
});

describe("changeOf", () => {
  const verdict: Verdict = {
    outcome: "allow",
    code: null,
    policies: ["a"],
    effective: null,
    shadow: false,
    witnesses: 0,
  };
  const denied: Verdict = { ...verdict, outcome: "deny", code: "not_permitted", policies: [] };

  it.each<[string, Verdict, Verdict, string, string]>([
    ["other policies, same outcome", verdict, { ...verdict, policies: ["b"] }, "unchanged", "b"],
    ["nothing permits it", verdict, denied, "newly_denied", "not_permitted"],
    ["no longer forbidden", { ...denied, policies: ["z", "f"] }, verdict, "newly_allowed", "f"],
    ["recorded and not made", verdict, { ...verdict, shadow: true }, "altered", "a"],
    ["another bound", { ...verdict, effective: "a" as never }, { ...verdict, effective: "b" as never }, "altered", "a"],
    ["denied with another code", denied, { ...denied, code: "forbidden" }, "unchanged", "forbidden"],
  ])("%s", (_name, from, to, kind, cause) => {
    expect(changeOf(from, to)).toBe(kind);
    expect(causeOf(from, to)).toBe(cause);
  });
});

it("consideredFor tells what each policy looks at, and what of it the call lacks", () => {
  const mail = `@id("m") forbid (${pay}) unless { resource has subject && resource.subject has email && resource.subject.email == "a" };`;
  const who = `@id("w") forbid (${pay}) when { context.run.steps > 4 || context.tool.groups.contains("x") || principal.team == "t" };`;
  const compiled = compilePolicies(setOf(`${permit}\n${mail}\n${who}`), tools);
  const looks = (asked: PolicyRequest) =>
    Object.fromEntries(consideredFor(compiled, asked)?.map(({ policy, looksAt }) => [policy, looksAt]) ?? []);
  expect(looks(request(5))).toEqual({
    m: [{ path: "resource.subject" }],
    p: [],
    w: [
      { path: "principal.team", value: "t" },
      { path: "context.run.steps", value: 0 },
      { path: "context.tool.groups", value: [] },
    ],
  });
  const someone = { ...request(5), run: { id: "run_1", requestedBy: "me", subject: { id: "s" } } };
  expect(looks(someone)["m"]).toEqual([{ path: "resource.subject.email" }]);
});

it("shadowDecide says of every call what comparing the two decisions would", () => {
  const after = setOf(
    `${permit}\n@id("f") forbid (${pay}) when { context.input.amount > 20 && context.input.amount < 90 };`,
  );
  const [now, later] = [compilePolicies(before, tools), compilePolicies(after, tools)];
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 100 }), (amount) => {
      const [actual, other] = [now, later].map((set) => verdictOf(decide(set, request(amount))));
      const { kind } = shadowDecide(later, request(amount), actual!);
      expect(kind).toBe(changeOf(actual!, other!));
      expect(kind).toBe(amount > 20 && amount <= 50 ? "newly_denied" : amount >= 90 ? "newly_allowed" : "unchanged");
      expect(shadowDecide(undefined, request(amount), actual!).kind).toBe(
        actual!.outcome === "deny" ? "unchanged" : "newly_denied",
      );
    }),
    { numRuns: 60 },
  );
});

it("consideredFor tells which policies match, also those that a forbid outvotes", () => {
  const compiled = compilePolicies(
    setOf(
      `${permit}\n@id("f") forbid (${pay}) when { context.input.amount > 50 };\n@id("g") forbid (${pay}) when { context.input.amount > 80 };\n@id("m") permit (principal, action == Action::"model", resource);`,
    ),
    tools,
  );
  const matched = (amount: number) =>
    consideredFor(compiled, request(amount))?.map(({ policy, matched: does }) => `${policy} ${does}`);
  expect(matched(60)).toEqual(["f true", "g false", "p true"]);
  expect(matched(10)).toEqual(["f false", "g false", "p true"]);
});

it("a source and a tool of one name are two, where packs are put together", () => {
  const source = { name: "pay", source: {} } as unknown as PolicyTool;
  expect(distinctTools([...tools, source, ...tools])).toHaveLength(tools.length + 1);
});
