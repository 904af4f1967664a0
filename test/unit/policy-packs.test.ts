import { readdirSync } from "node:fs";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { describe, expect, it } from "vitest";

import { checkPolicySet, loadPolicyDirectory, parseCases, PolicyError, runCases } from "../../src/policy/index.ts";

const root = join(import.meta.dirname, "../../policies");
const packs = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory());

describe.each(packs.map(({ name }) => name))("the pack %s", async (name) => {
  const { document, sources, tools, cases } = await loadPolicyDirectory(join(root, name));
  const { results, uncovered } = runCases(document, tools, cases);

  it("is valid, without a warning", () => {
    expect(checkPolicySet(document, tools, sources)).toEqual([]);
  });

  it.each(results.map((result) => [result.name, result] as const))("%s", (_case, { differences }) => {
    expect(differences).toEqual([]);
  });

  it("has a case for every policy", () => {
    expect(cases.length).toBeGreaterThan(0);
    expect(uncovered).toEqual([]);
  });
});

describe("runCases", () => {
  it("tells what differs, and which policies no case reaches", async () => {
    const { document, tools } = await loadPolicyDirectory(join(root, "support"));
    const table = parseCases(
      "v: 1\ncases:\n  - { name: wrong, tool: refund, arguments: { order_id: A, amount_cents: 50001, reason: x }, expect: { outcome: allow, policies: [refund/permit] } }",
    );
    const { results, uncovered } = runCases(document, tools, table.cases);
    expect(results[0]?.differences).toEqual([
      "expected outcome allow, got deny",
      "expected policies refund/permit, got refund/limit",
    ]);
    expect(uncovered).toContain("refund/permit");
  });
});

describe("what is read from outside", () => {
  it.each<[string, string]>([
    ["no YAML", "a: ["],
    ["no table", "1"],
    ["an alias bomb", `a: &a [x]\n${"b".repeat(3)}: [${"*a,".repeat(500)}]`],
    ["an unknown key", "v: 1\ncase: []"],
    ["a case of neither model nor tool", "v: 1\ncases: [{ name: x, expect: { outcome: allow } }]"],
    ["an unknown code", "v: 1\ncases: [{ name: x, tool: t, expect: { outcome: deny, code: nope } }]"],
  ])("cases: %s", (_name, text) => {
    expect(() => parseCases(text)).toThrow(PolicyError);
  });

  it("a directory that is missing, empty, binary, or does not parse", async () => {
    const directory = await mkdtemp(join(tmpdir(), "policies-"));
    await expect(loadPolicyDirectory(join(directory, "none"))).rejects.toMatchObject({ code: "directory_unreadable" });
    await expect(loadPolicyDirectory(directory)).rejects.toMatchObject({ code: "directory_unreadable" });
    await writeFile(join(directory, "a.cedar"), Buffer.from([0xff, 0xfe]));
    await expect(loadPolicyDirectory(directory)).rejects.toMatchObject({ code: "directory_unreadable" });
    await writeFile(join(directory, "a.cedar"), '// é\n@id("x")\npermit (principal, action);');
    await expect(loadPolicyDirectory(directory)).rejects.toThrow(/^a\.cedar:3:\d+: /);
  });
});
