import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { noFacts } from "../../src/core/decision.ts";
import {
  checkPolicySet,
  compilePolicies,
  decide,
  formatProblem,
  lintPolicies,
  loadPolicyDirectory,
  policySetOf,
} from "../../src/policy/index.ts";
import type { LintRule, PolicyTool } from "../../src/policy/index.ts";

const parameters = {
  type: "object",
  properties: { amount: { type: "integer" }, to: { type: "string" }, currency: { enum: ["EUR", "USD"] } },
  required: ["amount", "to", "currency"],
} as const;
const tool = (name: string, effect: PolicyTool["effect"], groups: string[] = []): PolicyTool => ({
  name,
  effect,
  groups,
  parameters,
});
const tools = [tool("pay", "write", ["money"]), tool("look", "read"), tool("send", "egress", ["mail"])];

const model = '@id("model") permit (principal, action == Action::"model", resource);';
const noSending =
  '@id("no-sending") forbid (principal, action == Action::"tool/send", resource) when { context.input.amount > 9 };';

/** `rule policy` of every warning, with what every set here needs to be free of others. */
function warningsOf(...texts: string[]): string[] {
  const { document, problems } = policySetOf([{ name: "a.cedar", text: [model, ...texts].join("\n") }]);
  expect(problems).toEqual([]);
  expect(checkPolicySet(document, tools).filter(({ severity }) => severity === "error")).toEqual([]);
  return lintPolicies(document, tools, undefined, { name: "shop", agents: ["shop/support"] })
    .filter(({ rule }) => rule !== "never-permitted")
    .map(({ rule, policy }) => `${rule} ${policy ?? "-"}`);
}

const setOf = (text: string) => policySetOf([{ name: "a.cedar", text }]).document;
const held = '@decision("require_approval") @group("treasury")';
const pay = 'principal, action == Action::"tool/pay", resource';
const big = "when { context.input.amount > 5 }";

describe("lintPolicies finds", () => {
  it.each<[string, LintRule, string[]]>([
    [
      "a permit on a class that no tool is of",
      "unreachable",
      ['@id("x") permit (principal, action in Action::"effect/destructive", resource);'],
    ],
    ["a permit that is never true", "never-applies", [`@id("x") permit (${pay}) when { false };`]],
    [
      "a permit behind && false",
      "never-applies",
      [`@id("x") permit (${pay}) when { context.input.amount > 1 && !(1 == 1) };`],
    ],
    ["a forbid whose unless is true", "forbid-never-fires", [`@id("x") forbid (${pay}) unless { true };`]],
    [
      "a forbid whose unless has || true",
      "forbid-never-fires",
      [`@id("x") forbid (${pay}) unless { context.input.amount < 5 || true };`],
    ],
    [
      "a forbid about a tool that nobody has",
      "forbid-never-fires",
      ['@id("x") forbid (principal, action in Action::"tool", resource) when { context.tool.name == "pya" };'],
    ],
    [
      "a forbid about a group that nobody is in",
      "forbid-never-fires",
      [
        '@id("x") forbid (principal, action in Action::"tool", resource) when { context.tool.groups.contains("mony") };',
      ],
    ],
    [
      "a permit under an unconditional forbid",
      "shadowed",
      [`@id("x") permit (${pay}) ${big};`, '@id("f") forbid (principal, action in Action::"effect/write", resource);'],
    ],
    [
      "a permit under a forbid with fewer conditions",
      "shadowed",
      [`@id("x") permit (${pay}) ${big} unless { context.input.to == "a" };`, `@id("f") forbid (${pay}) ${big};`],
    ],
    [
      "a liftable forbid under a final one",
      "shadowed",
      [`@id("x") ${held} forbid (${pay}) ${big};`, `@id("f") forbid (${pay});`],
    ],
    [
      "a forbid within a forbid",
      "shadowed",
      [`@id("x") forbid (${pay}) ${big};`, `@id("f") forbid (principal, action in Action::"group/money", resource);`],
    ],
    [
      "the same policy twice",
      "duplicate",
      [
        `@id("w") forbid (${pay}) when { context.input.amount > 5 && context.input.to == "a" };`,
        `@id("x") forbid (principal, action in Action::"group/money", resource) when { context.input.to == "a" } ${big};`,
      ],
    ],
    ["a permit of everything", "permits-everything", ['@id("x") permit (principal, action, resource);', noSending]],
    [
      "acting without a forbid",
      "acting-without-a-forbid",
      ['@id("x") permit (principal, action in [Action::"effect/read", Action::"effect/write"], resource);'],
    ],
    [
      "a forbid of more within a forbid of less",
      "shadowed",
      [`@id("x") forbid (${pay}) when { 9 <= context.input.amount };`, `@id("f") forbid (${pay}) ${big};`],
    ],
    [
      "limits that nothing is between",
      "forbid-never-fires",
      [`@id("x") forbid (${pay}) ${big} unless { context.input.amount >= 6 };`],
    ],
    ["an hour that no day has", "never-applies", [`@id("x") permit (${pay}) when { context.now.hour == 24 };`]],
    ...[
      'context.content.bestOrigin == "untrustd"',
      '!["user", "operatr"].contains(context.content.worstOrigin)',
      'context.tool.effect != "wirte"',
      '["user", "operatr"].contains(context.destination.origin)',
      'context.content.dataClasses.containsAny(["card", "creditcard"])',
      'context.requester.roles.contains("amdin")',
      'context has origins && context.origins has to && context.origins.to == "User"',
      'principal.riskTier == "hgih"',
      'context.input.currency == "EURO"',
    ].map((condition): [string, LintRule, string[]] => [
      `a text that is never: ${condition}`,
      "never-that-value",
      [`@id("x") forbid (${pay}) when { ${condition} };`],
    ]),
    ...[
      'principal == Agent::"shop/suport", ',
      'principal in Team::"office", ',
      'principal is Agent in Team::"shpo", ',
    ].map((who): [string, LintRule, string[]] => [
      `somebody of nobody: ${who}`,
      "unknown-principal",
      [`@id("x") forbid (${who} action == Action::"tool/pay", resource);`],
    ]),
    ["like *", "loose-pattern", [`@id("x") permit (${pay}) when { context.input.to like "*" };`]],
    [
      "an open end after a domain",
      "loose-pattern",
      [`@id("x") permit (${pay}) when { context.input.to like "*@x.com*" };`],
    ],
    [
      "an open beginning before a domain",
      "loose-pattern",
      [`@id("x") permit (${pay}) when { context.input.to like "*x.com" };`],
    ],
  ])("%s", (_name, rule, texts) => {
    expect(warningsOf(...texts)).toContain(`${rule} x`);
  });

  it("a permitted tool that sends, about which no forbid is", () => {
    const permit = '@id("p") permit (principal, action == Action::"tool/send", resource);';
    expect(warningsOf(permit)).toEqual(["tool-without-a-forbid -"]);
    expect(warningsOf(permit, noSending)).toEqual([]);
  });
});

it("tools, models and answers that nothing permits are named together, unless nothing is permitted", () => {
  const said = (text: string): readonly string[] =>
    lintPolicies(setOf(text), tools).flatMap(({ rule, message }) => (rule === "never-permitted" ? [message] : []));
  const asked = `@id("r") forbid (principal, action == Action::"response", resource) when { context.response.calls > 9 };`;
  expect(said(`@id("p") permit (${pay});`)).toEqual([
    "no policy permits model, tool/look, tool/send: they are always denied",
  ]);
  expect(said(`@id("p") permit (principal, action in [Action::"tool", Action::"model"], resource); ${asked}`)).toEqual([
    "no policy permits response: it is always denied",
  ]);
  expect(said(`@id("f") forbid (${pay});`)).toEqual([]);
});

describe("lintPolicies lets pass", () => {
  it.each<[string, string[]]>([
    ["a permit partly under a forbid", [`@id("p") permit (${pay});`, `@id("f") forbid (${pay}) ${big};`]],
    [
      "a forbid of another principal",
      [
        `@id("p") permit (${pay});`,
        '@id("f") forbid (principal in Team::"shop", action == Action::"tool/pay", resource);',
      ],
    ],
    [
      "a forbid of less over one of more, and of another attribute",
      [
        `@id("p") permit (${pay});`,
        `@id("f") forbid (${pay}) when { context.input.amount > 9 };`,
        `@id("g") ${held} forbid (${pay}) ${big};`,
        `@id("h") ${held} forbid (${pay}) when { context.run.steps > 9 };`,
      ],
    ],
    ["a text that an attribute can be", [`@id("f") forbid (${pay}) when { context.input.currency == "EUR" };`]],
    ["a liftable forbid over a permit", [`@id("p") permit (${pay});`, `@id("f") ${held} forbid (${pay});`]],
    [
      "one condition asked of two groups",
      [
        `@id("p") permit (${pay});`,
        `@id("f") ${held} forbid (${pay}) ${big};`,
        `@id("g") @decision("require_approval") @group("legal") forbid (${pay}) ${big};`,
      ],
    ],
    [
      "a forbid on a class for tools to come",
      ['@id("f") forbid (principal, action in Action::"effect/destructive", resource);'],
    ],
    [
      "a pattern that ends at the domain",
      [`@id("p") permit (${pay}) when { context.input.to like "*@x.com" || context.input.to like "https://x.com/*" };`],
    ],
    [
      "acting classes with a forbid",
      [
        '@id("p") permit (principal, action in Action::"effect/write", resource);',
        `@id("f") ${held} forbid (${pay}) ${big};`,
      ],
    ],
  ])("%s", (_name, texts) => {
    expect(warningsOf(...texts)).toEqual([]);
  });

  it.each(["base", "support"])("the shipped pack %s", async (name) => {
    const pack = await loadPolicyDirectory(join(import.meta.dirname, "../../policies", name));
    expect(lintPolicies(pack.document, pack.tools, pack.sources).map(formatProblem)).toEqual([]);
  });
});

it("warnings are at the file and line of the condition, with a hint", async () => {
  const directory = await mkdtemp(join(tmpdir(), "policies-"));
  await writeFile(
    join(directory, "a.cedar"),
    `// about paying\n${model}\n\n@id("x")\n@reason("not when { }")\nforbid (${pay})\nwhen { context.input.to != "when {" } // unless {\nunless { true };\n`,
  );
  const { document, sources } = await loadPolicyDirectory(directory);
  const [warning] = lintPolicies(document, tools, sources);
  expect(warning).toMatchObject({ file: "a.cedar", line: 8, policy: "x", hint: expect.stringMatching(/./) as string });
});

/** Conditions over one integer argument, so that every request can be tried. */
const condition = fc.oneof(
  fc.constantFrom("true", "false"),
  fc
    .tuple(
      fc.constantFrom(">", ">=", "<", "<=", "==", "!="),
      fc.integer({ min: 0, max: 3 }),
      fc.boolean(),
      fc.boolean(),
    )
    .map(([operator, limit, isTurned, isNegated]) => {
      const sides = ["context.input.amount", String(limit)];
      const compared = (isTurned ? sides.reverse() : sides).join(` ${operator} `);
      return isNegated ? `!(${compared})` : compared;
    }),
);
const policyText = fc
  .record({
    effect: fc.constantFrom("permit", "forbid", "held"),
    action: fc.constantFrom('== Action::"tool/pay"', 'in Action::"group/money"', 'in Action::"tool"'),
    whens: fc.array(fc.tuple(fc.constantFrom("when", "unless"), fc.constantFrom("&&", "||"), condition, condition), {
      maxLength: 2,
    }),
  })
  .map(({ effect, action, whens }) => {
    const clauses = whens.map(([kind, operator, left, right]) => `${kind} { ${left} ${operator} ${right} }`).join(" ");
    const annotations = effect === "held" ? held : "";
    return `${annotations} ${effect === "held" ? "forbid" : effect} (principal, action ${action}, resource) ${clauses};`;
  });

it("a policy that is said to decide nothing can be removed without changing a decision", () => {
  const idle: readonly LintRule[] = ["shadowed", "duplicate", "never-applies", "forbid-never-fires", "unreachable"];
  let removed = 0;
  fc.assert(
    fc.property(fc.array(policyText, { minLength: 2, maxLength: 5 }), (texts) => {
      const policies = texts.map((text, index) => ({ id: `p${index}`, text: `@id("p${index}") ${text}` }));
      const document = { v: 1, policies } as const;
      for (const { rule, policy } of lintPolicies(document, tools)) {
        if (policy === undefined || !idle.includes(rule)) continue;
        removed += 1;
        const without = { v: 1, policies: policies.filter(({ id }) => id !== policy) } as const;
        const decisions = [document, without].map((set) => {
          const compiled = compilePolicies(set, tools);
          return [0, 1, 2, 3, 4].map((amount) => {
            const step = { kind: "tool", tool: "pay", arguments: { amount, to: "a", currency: "EUR" } } as const;
            const agent = { team: "t", name: "a", release: "r", useCase: "u", riskTier: "limited" } as const;
            return decide(compiled, { agent, run: { id: "r", requestedBy: "me" }, step, facts: noFacts }).outcome;
          });
        });
        expect(decisions[1]).toEqual(decisions[0]);
      }
    }),
    { numRuns: 150 },
  );
  expect(removed).toBeGreaterThan(20);
});
