import { expect, onTestFinished, test } from "vitest";

import { noFacts } from "../../src/core/decision.ts";
import type { HistoryFact } from "../../src/core/decision.ts";
import type { Digest, RunId } from "../../src/core/ids.ts";
import type { Json } from "../../src/core/json.ts";
import type { ResolvedStep } from "../../src/gate/step/resolve.ts";
import { createHistoryCounter } from "../../src/gate/history/history.ts";
import { createShadow } from "../../src/gate/decision/shadow.ts";
import { policySetOf, verdictOf } from "../../src/policy/index.ts";
import { releaseOfDocument, setShadow, shadowCounts } from "../../src/registry/index.ts";
import { inTransaction, payloadKeysOf } from "../../src/store/index.ts";
import { freshDatabase } from "../support/database.ts";
import { createWorld } from "../support/world.ts";

const earlier: HistoryFact = { name: "earlier", measure: "count", actions: ["model"], per: "run" };
const now = new Date("2026-11-02T12:00:00.000Z");

function setWith(fact: HistoryFact) {
  const text = '@id("a/model") permit(principal, action, resource) when { context.history.earlier < 3 };';
  return policySetOf([{ name: "a.cedar", text }], [fact]).document;
}

/** Lets `candidate` decide beside a model call that was allowed under `setWith(earlier)`; returns what was counted. */
async function countedFor(candidate: HistoryFact, value = 1) {
  const database = await freshDatabase({ max: 3 });
  onTestFinished(() => database.close());
  const { pool } = database;
  const document = setWith(candidate) as unknown as Json;
  const { id } = await inTransaction(pool, (tx) => setShadow(tx, "shop", document, "operator", now));
  const release = releaseOfDocument({
    v: 1,
    team: "shop",
    agent: "till",
    useCase: "testing",
    riskTier: "minimal",
    model: { name: "m", maxOutputTokens: 10 },
    prompt: "",
    tools: [],
    limits: { maxSteps: 10, maxCostMicroUsd: 1_000, maxWallClockMs: 60_000 },
  });
  const whose = { id: "run_1" as RunId, team: "shop", agent: "till", requestedBy: "o" };
  const run = { ...whose, release, input: { prompt: "go" }, inputDigest: "" as Digest };
  const facts = { ...noFacts, history: { earlier: value } };
  const step = { kind: "model", name: "m", seq: 0 } as unknown as ResolvedStep;
  const actual = verdictOf({ outcome: "allow", policies: [] });
  const decided = { run, step, isAnswer: false, facts: () => facts, counted: [earlier], actual };
  const shadow = createShadow(pool, () => now, createHistoryCounter(payloadKeysOf(Buffer.alloc(32, 7))));
  for (let time = 0; time < 3; time += 1) shadow.beside(decided);
  // As a worker does when it stops: nothing is lost, and nothing has to be waited for.
  await shadow.settled();
  return (await shadowCounts(pool, id!)).map(({ kind, name, count }) => ({ kind, name, count }));
}

test("what a candidate decided is counted when the worker stops", async () => {
  expect(await countedFor(earlier)).toEqual([{ kind: "unchanged", name: "m", count: 3 }]);
});

test("a fact of the same name that counts something else is not taken for it", async () => {
  // For the run that decides, there are five; in the database, there is none.
  expect(await countedFor(earlier, 5)).toEqual([{ kind: "newly_denied", name: "m", count: 3 }]);
  expect(await countedFor({ ...earlier, withinMs: 60_000 }, 5)).toEqual([{ kind: "unchanged", name: "m", count: 3 }]);
});

test("what cannot be counted for a candidate is an error of its own", async () => {
  expect(await countedFor({ ...earlier, per: "subject" })).toEqual([{ kind: "error", name: "m", count: 3 }]);
});

/** What a candidate made of the answers of a run, while `policy` was in force: the first of two has a secret. */
async function answersUnder(policy: string, candidate: string) {
  const calls = [{ tool: "look", arguments: { thing: "box" } }];
  const turns = [{ text: `Use ghp_${"a1B2".repeat(10)} to log in.`, calls }, { text: "done" }];
  const world = await createWorld({ turns, policy });
  const { document } = policySetOf([{ name: "a.cedar", text: candidate }]);
  const { id } = await inTransaction(world.pool, (tx) =>
    setShadow(tx, "testers", document as unknown as Json, "operator", new Date()),
  );
  const worker = await world.work();
  await world.closed(await world.start());
  await worker.stop();
  return (await shadowCounts(world.pool, id!)).flatMap(({ kind, policy: cause, name, count }) =>
    name === "response" ? [{ kind, cause, count }] : [],
  );
}

const calls = '@id("calls") permit(principal, action in [Action::"model", Action::"tool"], resource);';
const everything = '@id("all") permit(principal, action, resource);';
const secrets =
  '@id("secret") forbid(principal, action == Action::"response", resource) when { context.content.dataClasses.contains("secret") };';
const long =
  '@id("long") forbid(principal, action == Action::"response", resource) when { context.response.characters > 99999 };';
const unchanged = expect.objectContaining({ kind: "unchanged", count: 1 });

test.each([
  ["say nothing of answers", calls],
  ["let them through", everything + long],
])("a candidate that withholds answers is compared with policies that %s", async (_how, policy) => {
  const counts = await answersUnder(policy, everything + secrets);
  expect(counts).toHaveLength(2);
  expect(counts).toEqual(expect.arrayContaining([{ kind: "newly_denied", cause: "secret", count: 1 }, unchanged]));
});

test("a candidate that says nothing of answers would let through what is withheld now", async () => {
  const counts = await answersUnder(everything + secrets, calls);
  expect(counts).toEqual(expect.arrayContaining([{ kind: "newly_allowed", cause: "secret", count: 1 }, unchanged]));
});

test("a candidate that redacts answers would have altered those in which it finds something", async () => {
  const redacts = secrets.replace("forbid", '@decision("redact") @data_classes("secret") forbid');
  const counts = await answersUnder(calls, everything + redacts);
  expect(counts).toEqual(expect.arrayContaining([{ kind: "altered", cause: "all", count: 1 }, unchanged]));
});

test("where neither set speaks of answers, none is counted", async () => {
  expect(await answersUnder(calls, everything)).toEqual([]);
});
