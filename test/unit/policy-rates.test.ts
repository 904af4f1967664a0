import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { describe, expect, it } from "vitest";

import { checkPolicySet, loadPolicyDirectory, parseCases, runCases } from "../../src/policy/index.ts";
import type { PolicyTool } from "../../src/policy/index.ts";
import { parseRates } from "../../src/policy/rates.ts";

const refund: PolicyTool = {
  name: "refund",
  effect: "write",
  groups: ["money"],
  parameters: { type: "object", properties: {} },
};

async function pack(files: Record<string, string>): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "rates-"));
  const all = { "a.cedar": '@id("all") permit (principal, action, resource);', ...files };
  await Promise.all(Object.entries(all).map(([name, text]) => writeFile(join(directory, name), text)));
  return directory;
}

const rates = `v: 1
rates:
  tool/refund: { at_most: 10, within: 1h, per: requester }
  group/money: { at_most: 100, within: 1d, per: team, ask: treasury }
  model: { at_most: 20, within: 5m, per: run }
`;

describe("rates.yaml", () => {
  it("is a policy and a fact for each action, which cases test like any others", async () => {
    const { document, sources } = await loadPolicyDirectory(await pack({ "rates.yaml": rates }));
    expect(document.history).toEqual([
      { name: "rate_group_money", measure: "count", actions: ["group/money"], per: "team", withinMs: 86_400_000 },
      { name: "rate_model", measure: "count", actions: ["model"], per: "run", withinMs: 300_000 },
      { name: "rate_tool_refund", measure: "count", actions: ["tool/refund"], per: "requester", withinMs: 3_600_000 },
    ]);
    expect(checkPolicySet(document, [refund], sources)).toEqual([]);
    expect(sources.get("rate/group/money")).toMatchObject({ file: "rates.yaml", line: 4, column: 3 });
    const { cases } = parseCases(
      `v: 1
cases:
  - { name: tenth, tool: refund, facts: { history: { rate_tool_refund: 9, rate_group_money: 99 } }, expect: { outcome: allow, policies: [all] } }
  - { name: eleventh, tool: refund, facts: { history: { rate_tool_refund: 10 } }, expect: { outcome: deny, policies: [rate/tool/refund] } }
  - { name: a hundred and first, tool: refund, facts: { history: { rate_group_money: 100 } }, expect: { outcome: require_approval, policies: [rate/group/money] } }
  - { name: with treasury, tool: refund, approved: [{ policy: rate/group/money, group: treasury, approvals: 1 }], facts: { history: { rate_group_money: 100 } }, expect: { outcome: allow } }
  - { name: thinking too often, model: m, facts: { history: { rate_model: 20 } }, expect: { outcome: deny, policies: [rate/model] } }
`,
      "cases.yaml",
      document.history,
    );
    const { results, uncovered } = runCases(document, [refund], cases);
    expect(results.flatMap(({ name, differences }) => differences.map((text) => `${name}: ${text}`))).toEqual([]);
    expect(uncovered).toEqual([]);
  });

  it("tells who reads a denial what the limit is", () => {
    expect(parseRates(rates).policies[2]?.text).toBe(`@id("rate/tool/refund")
@reason("at most 10 times in 1h for whoever asked for the run")
forbid (principal, action == Action::"tool/refund", resource)
when { context.history.rate_tool_refund >= 10 };`);
  });

  it.each<[string, string, RegExp]>([
    ["an action that is none", "rates: { refund: { at_most: 1, within: 1h, per: run } }", /expected tool\/NAME/],
    ["a text that would be Cedar", `rates: { 'tool/a"': { at_most: 1, within: 1h, per: run } }`, /expected tool\/NAME/],
    ["a fraction", "rates: { tool/a: { at_most: 1.5, within: 1h, per: run } }", /rates\.tool\/a\.at_most/],
    ["no window", "rates: { tool/a: { at_most: 1, per: run } }", /within/],
    ["an endless window", "rates: { tool/a: { at_most: 1, within: 400d, per: run } }", /at most 366d/],
    ["nobody's count", "rates: { tool/a: { at_most: 1, within: 1h, per: world } }", /per/],
    [
      "a group that would be Cedar",
      `rates: { tool/a: { at_most: 1, within: 1h, per: run, ask: 'a")' } }`,
      /expected a group/,
    ],
    [
      "two that count as one",
      "rates: { tool/a-b: { at_most: 1, within: 1h, per: run }, tool/a_b: { at_most: 1, within: 1h, per: run } }",
      /named alike/,
    ],
    ["an unknown field", "rate: {}", /rate/],
  ])("refuses %s", async (_name, text, expected) => {
    await expect(loadPolicyDirectory(await pack({ "rates.yaml": `v: 1\n${text}\n` }))).rejects.toThrow(expected);
  });

  it("refuses what history.yaml counts by the same name, and a policy with the id of a rate", async () => {
    const fact = "v: 1\nfacts: { rate_model: { count: [tool], per: run } }\n";
    const twice = pack({ "rates.yaml": rates, "history.yaml": fact });
    await expect(loadPolicyDirectory(await twice)).rejects.toThrow(/fact rate_model is what a rate/);
    const policy = '@id("rate/model") permit (principal, action, resource);';
    await expect(loadPolicyDirectory(await pack({ "rates.yaml": rates, "b.cedar": policy }))).rejects.toThrow(
      /already used/,
    );
  });
});
