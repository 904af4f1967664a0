import { readFileSync } from "node:fs";
import { appendFile, cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";

import { handbook, salaries } from "../../examples/handbook/sources.ts";
import { registerAgentBody } from "../../src/api/agents.schema.ts";
import { readAgentFile } from "../../src/cli/agent-file.ts";
import type { RunId } from "../../src/core/ids.ts";
import { callablesOf } from "../../src/core/retrieval.ts";
import { transcript } from "../../src/core/transcript.ts";
import type { FinishedStep } from "../../src/core/transcript.ts";
import { checkPolicySet, dataClassesIn, lintPolicies, loadPolicyDirectory, runCases } from "../../src/policy/index.ts";
import { parseScript, play } from "../../src/providers/index.ts";
import { retrieved } from "../../src/tools/index.ts";
import type { Tool } from "../../src/tools/index.ts";

/** The example of an agent that answers from documents. */
const project = fileURLToPath(new URL("../../", import.meta.url));
const agent = join(project, "examples/handbook");
const script = parseScript(readFileSync(join(agent, "script.yaml"), "utf8"), "script.yaml");

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "countersign-handbook-"));
  await cp(join(agent, "pages"), folder, { recursive: true });
  vi.stubEnv("HANDBOOK", folder);
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

const context = {
  run: "run_1" as RunId,
  subject: undefined,
  tags: {},
  idempotencyKey: "run_1.1",
  signal: new AbortController().signal,
};

async function ask(source: Tool, query: string, limit: number) {
  const facts = source.definition.source;
  if (facts === undefined) throw new Error("not a source");
  return retrieved(facts, limit, await source.execute({ query, limit }, context), dataClassesIn);
}

describe("the sources", () => {
  test.each([
    ["how many weeks of parental leave are there", "leave.md#parental-leave"],
    ["hotel a night", "expenses.md#trains-and-hotels"],
    ["doctor's note when ill", "leave.md#illness"],
  ])("%s: the passage that answers comes first", async (query, id) => {
    const { documents } = await ask(handbook, query, 3);
    expect(documents[0]).toMatchObject({ id, origin: "trusted", confidentiality: "internal" });
    expect(documents.length).toBeLessThanOrEqual(3);
    const scores = documents.map(({ score }) => score ?? 0);
    expect(scores).toEqual(scores.toSorted((a, b) => b - a));
  });

  test("a note that anybody may write is nobody's word, and the board's band stays where it is", async () => {
    const { documents } = await ask(handbook, "garage parking card", 1);
    expect(documents).toEqual([expect.objectContaining({ id: "notes.md#parking", origin: "untrusted" })]);
    const bands = await ask(salaries, "salary band of the board", 3);
    expect(bands.withheld).toBe(1);
    expect(JSON.stringify(bands)).not.toContain("140,000");
  });

  test("a page that changed is found as it is now", async () => {
    await appendFile(join(folder, "handbook/leave.md"), "\n## Sabbatical\n\nAfter seven years, three months.\n");
    expect((await ask(handbook, "sabbatical", 1)).documents[0]?.text).toBe("After seven years, three months.");
    expect(await ask(handbook, "zeppelin", 3)).toEqual({ documents: [], withheld: 0 });
  });
});

/** Converses as the agent loop does, until the model answers. */
async function converse(input: string): Promise<string> {
  const steps: FinishedStep[] = [];
  for (let turn = 0; turn < 3; turn += 1) {
    const answer = play(script, transcript("Be of use.", input, steps));
    if (answer.kind === "stuck") throw new Error(answer.message);
    const [call] = answer.calls;
    if (call === undefined) return answer.content;
    steps.push({
      kind: "model",
      result: { content: answer.content, toolCalls: answer.calls, finishReason: "tool_calls" },
    });
    const { query, limit } = JSON.parse(call.arguments) as { query: string; limit: number };
    const source = call.name === "salaries" ? salaries : handbook;
    const value = (await ask(source, query, limit)) as never;
    steps.push({ kind: "tool", callId: call.id, result: { status: "ok", value } });
  }
  throw new Error("the conversation did not end");
}

test.each([
  ["How many weeks of parental leave are there?", /^Parents take up to 16 weeks .*\(leave\.md#parental-leave\)$/s],
  ["What does salary band E3 pay?", /^Band E3 is from 61,000 .*\(bands\.md#engineering\)$/s],
  ["Zeppelin?", /^The handbook does not say\.$/],
])("the script asks, and answers with what was found: %s", async (input, answer) => {
  expect(await converse(input)).toMatch(answer);
});

test("its policies fit its tools and sources, and every one decides a case", async () => {
  const release = await readAgentFile(join(agent, "agent.yaml"), [project]);
  expect(callablesOf(release).map(({ name, effect, source }) => `${name} ${effect} ${source?.topK ?? ""}`)).toEqual([
    "send_mail egress ",
    "handbook read 5",
    "salaries read 3",
  ]);
  expect(release.retrieval?.[0]?.implementation).toMatchObject({
    kind: "function",
    module: "examples/handbook/sources.ts",
  });
  // What the server is sent is what it takes.
  expect(registerAgentBody.parse({ document: release })).toEqual({ document: release });
  const { document, sources, tools, cases } = await loadPolicyDirectory(join(agent, "policies"));
  expect(checkPolicySet(document, callablesOf(release), sources)).toEqual([]);
  expect(lintPolicies(document, tools, sources)).toEqual([]);
  const { results, uncovered } = runCases(document, tools, cases);
  expect(results.filter((result) => !result.passed)).toEqual([]);
  expect(uncovered).toEqual([]);
});
