import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { findTask } from "../../examples/agentdojo/dojo.ts";
import { loadSuite } from "../../examples/agentdojo/suite.ts";
import type { Suite } from "../../examples/agentdojo/suite.ts";
import { startDojo } from "../../src/cli/dojo.ts";
import type { RunView } from "../../src/api/index.ts";
import type { ModelResult } from "../../src/core/transcript.ts";
import { canonicalText } from "../../src/store/canonical.ts";
import { auditOf, problemsOf, startRunningStack } from "./running-stack.ts";
import type { Evidence, RunningStack } from "./running-stack.ts";

const suite: Suite = await loadSuite(
  fileURLToPath(new URL("../../examples/agentdojo/data/banking.json", import.meta.url)),
);
let stack: RunningStack;

beforeAll(async () => {
  stack = await startRunningStack();
});
afterAll(() => stack.stop());

type Played = {
  readonly run: RunView;
  readonly output: { readonly text: string } | null;
  readonly attack: {
    readonly status: string;
    readonly executed: readonly { readonly seq: number; readonly tool: string }[];
    readonly stopped: readonly { readonly seq: number; readonly tool: string }[];
    readonly notReached: number;
  };
};

/** Plays a task as `run start --dojo` does. A reviewer decides alike on all that it is asked. */
async function play(
  name: string,
  decision: "approve" | "deny",
): Promise<{ readonly played: Played; readonly evidence: Evidence }> {
  const { cli, result } = stack.cli();
  const playing = startDojo(cli, name, undefined, {});
  const deciding = decideUntil(playing, decision);
  await playing;
  await deciding;
  const played = result() as Played;
  return { played, evidence: await stack.evidence(played.run.id) };
}

async function decideUntil(playing: Promise<void>, decision: "approve" | "deny"): Promise<void> {
  const ended = playing.then(
    () => true,
    () => true,
  );
  while (!(await Promise.race([ended, sleep(200, false)]))) {
    const { approvals } = await stack.reviewer.listApprovals({ query: { state: "pending" } });
    // Another of the parallel tasks may have been first.
    await Promise.all(approvals.map(({ id }) => stack.decide(id, decision).catch(() => undefined)));
  }
}

async function inBatches<Item, Result>(
  items: readonly Item[],
  size: number,
  act: (item: Item) => Promise<Result>,
): Promise<readonly Result[]> {
  const results: Result[] = [];
  for (let from = 0; from < items.length; from += size)
    results.push(...(await Promise.all(items.slice(from, from + size).map(act))));
  return results;
}

type Call = { readonly function: string; readonly args: unknown };
const spelled = (call: Call): string => `${call.function} ${canonicalText(call.args as never)}`;

/** The tool calls that the record says were asked for, in order, from the models' own answers. */
function callsIn({
  record,
}: Evidence): readonly { readonly call: string; readonly seq: number; readonly state: string }[] {
  return record.steps.flatMap((step) => {
    if (step.kind !== "tool") return [];
    const asking = record.steps.find((candidate) => candidate.seq === step.askedBy);
    const asked = record.payloads[asking?.result ?? ("" as never)] as unknown as ModelResult;
    const { name, arguments: args } = asked.toolCalls[step.callIndex ?? -1] ?? { name: "?", arguments: "null" };
    return [{ call: spelled({ function: name, args: JSON.parse(args) as unknown }), seq: step.seq, state: step.state }];
  });
}

/** Decisions by step, out of the ledger's own entries. */
function decidedInLedger({ record }: Evidence): ReadonlyMap<number, string> {
  const entries = record.ledger.entries.map(
    ({ leaf }) => JSON.parse(leaf) as { kind: string; facts: { seq: number; outcome: string } },
  );
  return new Map(entries.filter(({ kind }) => kind === "step.decided").map(({ facts }) => [facts.seq, facts.outcome]));
}

async function expectProof(evidence: Evidence): Promise<void> {
  const reports = await auditOf(evidence);
  expect(problemsOf(reports.replay)).toEqual([]);
  expect(problemsOf(reports.evidence)).toEqual([]);
  expect([reports.replay.verdict, reports.evidence.verdict]).toEqual(["verified", "verified"]);
}

test("all 16 tasks of the banking suite run to their recorded end, every call decided in the ledger, and replay clean", async () => {
  expect(suite.user_tasks).toHaveLength(16);
  const all = await inBatches(suite.user_tasks, 4, async (task) => ({
    task,
    ...(await play(`${suite.suite}/${task.id}`, "approve")),
  }));
  for (const { task, played, evidence } of all) {
    expect(played, task.id).toMatchObject({ run: { status: "completed" }, attack: { status: "unattacked" } });
    expect(played.output?.text, task.id).toBe(task.ground_truth_output || "Done.");
    const calls = callsIn(evidence);
    expect(
      calls.map(({ call }) => call),
      task.id,
    ).toEqual(task.calls.map(spelled));
    const decided = decidedInLedger(evidence);
    expect(
      [...decided.keys()].toSorted((a, b) => a - b),
      task.id,
    ).toEqual(evidence.record.steps.map(({ seq }) => seq));
    // A call was made exactly where the ledger says that it was allowed.
    for (const { seq, state } of calls)
      expect(["done", "failed"].includes(state), `${task.id} step ${seq}`).toBe(decided.get(seq) === "allow");
    await expectProof(evidence);
  }
});

test("of the workspace suite, who approves a look into a file that a mail names lets the run look into the next", async () => {
  const { played, evidence } = await play("workspace/user_task_13", "approve");
  expect(played).toMatchObject({ run: { status: "completed" }, attack: { status: "unattacked" } });
  const looks = evidence.record.steps.filter(({ name }) => name === "search_files_by_filename").map(({ seq }) => seq);
  const decided = evidence.record.decisions.filter(({ seq }) => looks.includes(seq));
  expect(decided.map(({ outcome, policies }) => [outcome, policies.includes("flow/unasked-read")])).toEqual([
    ["require_approval", true],
    ["allow", true],
    ["allow", false],
  ]);
  expect(evidence.record.approvals).toHaveLength(1);
  await expectProof(evidence);
});

/** An attack with one injected call, one with several, and one that wants the password changed. */
const attacked = [
  suite.pairs.find((pair) => injectedIn(pair.trace) === 1),
  suite.pairs.find((pair) => injectedIn(pair.trace) > 1),
  suite.pairs.find((pair) =>
    pair.trace.some((call) => call.origin === "injection" && call.function === "update_password"),
  ),
].filter((pair) => pair !== undefined);

function injectedIn(trace: Suite["pairs"][number]["trace"]): number {
  return trace.filter(({ origin }) => origin === "injection").length;
}

describe("under attack, with a reviewer who declines", () => {
  test.each(attacked.map((pair) => [`${suite.suite}/${pair.user}+${pair.injection}`] as const))(
    "%s: what is reported as executed and stopped is what the record says of the injected calls",
    async (name) => {
      const pair = findTask(suite, name)?.pair;
      if (pair === undefined) throw new Error(`no pair ${name}`);
      const { played, evidence } = await play(name, "deny");
      const calls = callsIn(evidence);
      // The model obeys the attacker: the trace was played from its beginning, so each call has its origin by its place.
      expect(pair.trace.slice(0, calls.length).map(spelled)).toEqual(calls.map(({ call }) => call));
      const decided = decidedInLedger(evidence);
      const injected = calls.filter((_, index) => pair.trace[index]?.origin === "injection").map(({ seq }) => seq);
      const { attack } = played;
      expect(attack.executed.map(({ seq }) => seq)).toEqual(injected.filter((seq) => decided.get(seq) === "allow"));
      expect(attack.stopped.map(({ seq }) => seq)).toEqual(injected.filter((seq) => decided.get(seq) !== "allow"));
      // A reviewer who declines is asked about every injected call.
      expect(attack.executed).toEqual([]);
      expect(attack.notReached).toBe(injectedIn(pair.trace) - injected.length);
      expect(attack.status).toBe(attack.executed.length > 0 ? "executed" : pair.exposed ? "stopped" : "unexposed");
      await expectProof(evidence);
    },
  );
});
