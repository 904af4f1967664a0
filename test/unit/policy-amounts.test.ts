import { describe, expect, test } from "vitest";

import { checkPolicySet, formatProblem, policySetOf } from "../../src/policy/index.ts";
import type { PolicyTool } from "../../src/policy/index.ts";
import { assertPoliciesFit } from "../../src/server/policy-checks.ts";

const tool = (name: string, properties: object): PolicyTool => ({
  name,
  parameters: { type: "object", properties, additionalProperties: false } as PolicyTool["parameters"],
  effect: "write",
  groups: [],
});
const integer = { type: "integer" };
const tools = [
  tool("pay", { amount_cents: integer, to: { type: "string" }, note: { type: ["integer", "null"] } }),
  tool("refund", { amount_cents: integer, share: { type: "number" } }),
  tool("wire", { amount_cents: { type: "string" } }),
  tool("mail", { to: { type: "string" } }),
];

/** What `policy check` says of a policy that asks people about these tools, and names an amount. */
function told(amount: string, of: readonly string[]): readonly string[] {
  const actions = of.map((name) => `Action::"tool/${name}"`).join(", ");
  const text = `@id("all") permit (principal, action, resource);

@id("ask")
@decision("require_approval") @group("treasury")
@amount("${amount}")
forbid (principal, action in [${actions}], resource);`;
  const { document, sources } = policySetOf([{ name: "a.cedar", text }]);
  return checkPolicySet(document, tools, sources).map((problem) => `${problem.severity} ${formatProblem(problem)}`);
}

describe("the argument that @amount names", () => {
  test.each<[string, readonly string[]]>([
    ["amount_cents", ["pay"]],
    ["amount_cents", ["pay", "refund"]],
    ["share", ["refund"]],
    ["note", ["pay"]],
  ])("is a number: %s of %j", (amount, of) => {
    expect(told(amount, of)).toEqual([]);
  });

  test.each<[string, readonly string[], string]>([
    ["amount", ["pay"], "`pay` has no argument `amount`; name a number that it has: `amount_cents`, `note`"],
    ["to", ["pay"], "`to` of `pay` is no number; name a number that it has: `amount_cents`, `note`"],
    ["amount_cents", ["mail"], "`mail` has no argument `amount_cents`; it has no number: leave @amount out"],
    ["amount_cents", ["wire", "pay"], "`amount_cents` of `wire` is no number; name a number that it has"],
    ["__proto__", ["pay"], "`pay` has no argument `__proto__`"],
  ])("is refused with its line: %s of %j", (amount, of, problem) => {
    const [first, ...others] = told(amount, of);
    expect(first).toContain(`error a.cedar:5:1: policy ask: @amount: ${problem}`);
    expect(others).toEqual([]);
  });

  test("may be missing from some of the calls that a policy covers, which is told", () => {
    expect(told("amount_cents", ["pay", "mail"])).toEqual([
      "warning a.cedar:5:1: policy ask: @amount: `mail` has no argument `amount_cents`: delegations with a limit never cover its calls",
    ]);
  });

  test("is looked at before policies are put in force", async () => {
    const policies = (amount: string) => [
      { id: "all", text: '@id("all") permit (principal, action, resource);' },
      {
        id: "ask",
        text: `@id("ask") @decision("require_approval") @group("g") @amount("${amount}") forbid (principal, action == Action::"tool/pay", resource);`,
      },
    ];
    const release = { agent: "till", tools } as never;
    const activate = (amount: string) =>
      assertPoliciesFit({ v: 1, policies: policies(amount) }, [release], "policies_invalid");
    expect(await activate("amount_cents")).toEqual([]);
    await expect(activate("amount")).rejects.toThrow(/policy ask: @amount: `pay` has no argument `amount`/);
  });
});
