import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { describe, expect, it, onTestFinished } from "vitest";

import {
  checkPolicySet,
  compilePolicies,
  formatProblem,
  loadPolicyDirectory,
  parsePolicySet,
  runCases,
} from "../../src/policy/index.ts";
import { parseHistory } from "../../src/policy/history-facts.ts";
import type { PolicyTool } from "../../src/policy/index.ts";

const example = `v: 1
facts:
  refunds_last_hour: { count: [tool/refund], per: requester, within: 1h }
  cents:
    { sum: amount_cents, of: [tool/refund, group/money], per: team, within: 1d }
  all: { count: [model, tool, effect/read], per: run }
`;
const declared = [
  { name: "all", measure: "count", actions: ["effect/read", "model", "tool"], per: "run" },
  {
    name: "cents",
    measure: "sum",
    argument: "amount_cents",
    actions: ["group/money", "tool/refund"],
    per: "team",
    withinMs: 86_400_000,
  },
  { name: "refunds_last_hour", measure: "count", actions: ["tool/refund"], per: "requester", withinMs: 3_600_000 },
] as const;

describe("history.yaml", () => {
  it("declares facts, by name, as a policy set holds them", () => {
    const { facts, problems } = parseHistory(example);
    expect(problems).toEqual([]);
    expect(facts).toEqual(declared);
    expect(parsePolicySet({ v: 1, policies: [], history: facts }).history).toEqual(facts);
  });

  it.each([
    ["{ count: [tool/a], per: run, sum: x }", "facts.f: expected either `count: [ACTION]` or `sum: ARGUMENT`"],
    ["{ per: run }", "facts.f: expected either `count: [ACTION]` or `sum: ARGUMENT`"],
    ["{ sum: x, per: run }", "facts.f: `of: [ACTION]` is missing"],
    ["{ count: [tool/a], of: [tool/a], per: run }", "facts.f.of: belongs to a sum"],
    ["{ sum: x, of: [model], per: run }", "facts.f.of: model calls have no arguments to sum"],
    ["{ count: [], per: run }", "facts.f.count: too small"],
    ["{ count: [tool/a, tool/a], per: run }", "facts.f.count: an action is named twice"],
    ["{ count: [effect/wirte], per: run }", "facts.f.count.0: expected tool/NAME, retrieval/NAME, group/NAME"],
    ["{ count: [tool/], per: run }", "facts.f.count.0: expected tool/NAME"],
    ["{ count: [everything], per: run }", "facts.f.count.0: expected tool/NAME"],
    ["{ count: [tool/a], per: day }", "facts.f.per: invalid option"],
    ["{ count: [tool/a], per: run, within: 1 hour }", "facts.f.within: expected 30s, 15m, 1h or 7d"],
    ["{ count: [tool/a], per: run, within: 400d }", "facts.f.within: expected 30s, 15m, 1h or 7d, at most 366d"],
    ["{ count: [tool/a], per: run, window: 1h }", "facts.f.window: is not a field here"],
  ])("refuses %s at its line", (fact, message) => {
    const { facts, problems } = parseHistory(`v: 1\nfacts:\n  f: ${fact}\n`);
    expect(facts).toEqual([]);
    expect(problems.map(formatProblem)).toEqual([expect.stringContaining(message)]);
    expect(formatProblem(problems[0]!)).toMatch(/^history\.yaml:3:\d+: /);
  });

  it("tells all that is wrong at once", () => {
    const { problems } = parseHistory(
      "v: 2\nfacts:\n  Big: { count: [tool/a], per: run }\n  f: { per: no }\nmore: 1\n",
    );
    expect(problems.map(({ line }) => line)).toEqual(expect.arrayContaining([1, 3, 4, 5]));
    expect(
      parseHistory("v: 1\nfacts: { f: { count: [tool], per: run }, f: { count: [tool], per: run } }").problems,
    ).toHaveLength(1);
  });
});

const permit = '@id("all") permit(principal, action, resource);';
const reads = (fact: string): string => `${permit}
@id("few") forbid(principal, action == Action::"tool/refund", resource) when { context.history.${fact} >= 3 };`;

async function packOf(files: Readonly<Record<string, string>>): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "countersign-history-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  await Promise.all(Object.entries(files).map(([name, text]) => writeFile(join(directory, name), text)));
  return directory;
}

const table = (facts: string, outcome: string): string => `v: 1
tools: [{ name: refund, effect: write }]
cases:
  - { name: one, tool: refund, facts: ${facts}, expect: { outcome: ${outcome} } }
`;
const counts = "v: 1\nfacts: { refunds: { count: [tool/refund], per: team } }";

describe("a pack with facts", () => {
  it("is decided by them: a fact that a case does not give is nought", async () => {
    for (const [facts, outcome] of [
      ["{}", "allow"],
      ["{ history: { refunds: 2 } }", "allow"],
      ["{ history: { refunds: 3 } }", "deny"],
    ] as const) {
      const files = { "a.cedar": reads("refunds"), "history.yaml": counts, "cases.yaml": table(facts, outcome) };
      const { document, tools, cases, sources } = await loadPolicyDirectory(await packOf(files));
      expect(checkPolicySet(document, tools, sources)).toEqual([]);
      expect(runCases(document, tools, cases).results).toMatchObject([{ passed: true }]);
    }
  });

  it("has the facts in its document, and none where it declares none", async () => {
    const without = await loadPolicyDirectory(await packOf({ "a.cedar": permit }));
    expect(without.document).not.toHaveProperty("history");
    const { document } = await loadPolicyDirectory(await packOf({ "a.cedar": permit, "history.yaml": example }));
    expect(document.history).toEqual(declared);
  });

  it("is refused where a case gives a fact that is not declared, or history.yaml is wrong", async () => {
    const cases = {
      "a.cedar": permit,
      "history.yaml": counts,
      "cases.yaml": table("{ history: { refund: 1 } }", "allow"),
    };
    await expect(loadPolicyDirectory(await packOf(cases))).rejects.toMatchObject({
      code: "cases_invalid",
      message: expect.stringMatching(
        /^cases\.yaml:\d+:\d+: cases\.0\.facts\.history\.refund: .*no fact `refund`/,
      ) as string,
    });
    const wrong = { "a.cedar": permit, "history.yaml": "v: 1\nfacts:\n  f: { count: [tool], per: nobody }" };
    await expect(loadPolicyDirectory(await packOf(wrong))).rejects.toThrow(/^history\.yaml:3:28: facts\.f\.per: /);
  });
});

const money = (type: string, changed: Partial<PolicyTool> = {}): PolicyTool => ({
  name: "refund",
  effect: "write",
  groups: ["money"],
  parameters: { type: "object", properties: { cents: { type } } },
  ...changed,
});
const look: PolicyTool = { name: "look", effect: "read", groups: [], parameters: { type: "object" } };

describe("checkPolicySet", () => {
  it.each([
    ["{ count: [tool/refund], per: run }", [money("integer")], []],
    ["{ count: [effect/destructive], per: run }", [money("integer")], []],
    [
      "{ count: [tool/refnud, group/many], per: run }",
      [money("integer")],
      [
        "no tool or source is group/many; did you mean group/money?",
        "no tool or source is tool/refnud; did you mean tool/refund?",
      ],
    ],
    ["{ sum: cents, of: [tool], per: run }", [money("integer"), look], []],
    [
      "{ sum: cents, of: [tool], per: run }",
      [money("number"), look],
      ["argument cents of tool refund is not an integer"],
    ],
    [
      "{ sum: cents, of: [group/money], per: run }",
      [money("string")],
      ["argument cents of tool refund is not an integer"],
    ],
    ["{ sum: cnets, of: [tool/refund], per: run }", [money("integer")], ["no tool it counts has an argument cnets"]],
  ])("finds what is wrong with %s", async (fact, tools, messages) => {
    const files = { "a.cedar": reads("f"), "history.yaml": `v: 1\nfacts:\n  f: ${fact}` };
    const { document, sources } = await loadPolicyDirectory(await packOf(files));
    const problems = checkPolicySet(document, tools, sources).map(formatProblem);
    expect(problems).toEqual(messages.map((message) => `history.yaml:3:3: history fact f: ${message}`));
  });

  it("warns of a fact that nobody reads, and refuses one that nobody declares", async () => {
    const files = { "a.cedar": reads("f"), "history.yaml": "v: 1\nfacts: { f: { count: [tool], per: run } }" };
    const { document } = await loadPolicyDirectory(await packOf(files));
    const { history = [] } = document;
    const unread = { ...document, history: [...history, { ...history[0]!, name: "g" }] };
    expect(checkPolicySet(unread, [money("integer")])).toEqual([
      { severity: "warning", message: "history fact g: no policy reads it" },
    ]);
    const undeclared = { v: 1 as const, policies: document.policies };
    expect(checkPolicySet(undeclared, [money("integer")])).toMatchObject([{ severity: "error", policy: "few" }]);
    expect(() => compilePolicies(undeclared, [money("integer")])).toThrow(/few/);
  });
});

describe("compilePolicies", () => {
  it("has each action's facts: those that a policy about it may read", async () => {
    const text = `${reads("refunds")}
      @id("whole") forbid(principal, action == Action::"model", resource) when { context.history == context.history && false };`;
    const history = "v: 1\nfacts: { refunds: { count: [tool/refund], per: team }, other: { count: [tool], per: run } }";
    const { document } = await loadPolicyDirectory(await packOf({ "a.cedar": text, "history.yaml": history }));
    const { slices } = compilePolicies(document, [money("integer"), look]);
    const named = [...slices].map(([action, slice]) => [action, slice.history.map(({ name }) => name)]);
    expect(Object.fromEntries(named)).toEqual({
      model: ["other", "refunds"],
      "tool/refund": ["refunds"],
      "tool/look": [],
    });
  });
});
