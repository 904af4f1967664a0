import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { expect, it } from "vitest";

import { checkPolicySet, parseCases, policySetOf, runCases, schemaFor } from "../../src/policy/index.ts";
import { parseHistory } from "../../src/policy/history-facts.ts";

const text = await readFile(join(import.meta.dirname, "../../policies/README.md"), "utf8");
const blocks = [...text.matchAll(/^```(yaml|cedar)\n(.*?)^```$/gms)].map(([, kind, body = ""]) => ({ kind, body }));
const bodies = (kind: string, start: RegExp): string[] =>
  blocks.filter((block) => block.kind === kind && start.test(block.body)).map(({ body }) => body);

/** Every attribute below `record`, as policies write it. */
function pathsOf(record: unknown, path: string): string[] {
  const { type, attributes = {} } = record as { type: string; attributes?: Record<string, unknown> };
  if (type !== "Record") return [path];
  return Object.entries(attributes).flatMap(([name, inner]) => pathsOf(inner, `${path}.${name}`));
}

it("the README has every attribute of the schema, and no other", () => {
  const refund = { type: "object", properties: { ARGUMENT: { type: "string" } } };
  const tool = { name: "refund", effect: "write", groups: [], parameters: refund } as const;
  const fact = { name: "NAME", measure: "count", actions: ["tool"], per: "run" } as const;
  const labels = { origin: "trusted", confidentiality: "internal" } as const;
  const source = { ...tool, name: "handbook", source: { results: labels, topK: 5 } };
  const schema = schemaFor([tool, source], [fact], true)[""]!;
  const { entityTypes, actions } = schema as never as {
    entityTypes: Record<"Agent" | "Run", { shape: unknown }>;
    actions: Record<string, { appliesTo?: { context: unknown } }>;
  };
  const expected = new Set([
    ...pathsOf(entityTypes.Agent.shape, "principal"),
    ...pathsOf(entityTypes.Run.shape, "resource"),
    ...["model", "response", "tool/refund", "retrieval/handbook"].flatMap((action) =>
      pathsOf(actions[action]?.appliesTo?.context, "context"),
    ),
  ]);
  const found = new Set<string>();
  for (const [, cell = ""] of text.matchAll(/^\| (`(?:principal|resource|context)\.[^|]*) \|/gm)) {
    const names = [...cell.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name);
    const parent = names[0]?.slice(0, names[0].lastIndexOf("."));
    for (const name of names) found.add(name.startsWith(".") ? `${parent}${name}` : name);
  }
  expect([...found].sort()).toEqual([...expected].sort());
});

it("the README's examples hold", () => {
  const [history = ""] = bodies("yaml", /^v: 1\nfacts:/);
  const [whole = ""] = bodies("yaml", /^v: 1\ntools:/);
  const [more = ""] = bodies("yaml", /^ {2}- name: a fourth/);
  const { facts, problems } = parseHistory(history);
  expect(problems).toEqual([]);
  const permit = '@id("refund/limit") permit (principal, action, resource);';
  const { document } = policySetOf([{ name: "a.cedar", text: [permit, ...bodies("cedar", /@id/)].join("\n") }], facts);
  const { tools, cases } = parseCases(whole + more, "README.md", facts);
  expect(cases).toHaveLength(3);
  const send = { name: "send", effect: "egress", groups: [], parameters: { type: "object" } } as const;
  expect(checkPolicySet(document, [...tools, send]).map(({ message }) => message)).toEqual([
    "history fact reads: no policy reads it",
  ]);
  const rated = runCases(document, tools, cases).results.find(({ name }) => name.includes("fourth refund"));
  expect(rated).toMatchObject({ passed: true });
});
