import { expect, onTestFinished, test } from "vitest";

import { noFacts } from "../../src/core/decision.ts";
import type { HistoryFact } from "../../src/core/decision.ts";
import type { Digest, RunId } from "../../src/core/ids.ts";
import type { Json } from "../../src/core/json.ts";
import type { Question } from "../../src/gate/judge.ts";
import { createShadow } from "../../src/gate/shadow.ts";
import { compilePolicies, policySetOf } from "../../src/policy/index.ts";
import { releaseOfDocument, setShadow, shadowCounts } from "../../src/registry/index.ts";
import { inTransaction } from "../../src/store/index.ts";
import { freshDatabase } from "../support/database.ts";

const earlier: HistoryFact = { name: "earlier", measure: "count", actions: ["model"], per: "run" };
const now = new Date("2026-11-02T12:00:00.000Z");

function setWith(fact: HistoryFact) {
  const text = '@id("a/model") permit(principal, action, resource) when { context.history.earlier < 3 };';
  return policySetOf([{ name: "a.cedar", text }], [fact]).document;
}

/** Lets `candidate` decide beside a model call that was allowed under `setWith(earlier)`; returns what was counted. */
async function countedFor(candidate: HistoryFact) {
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
  const run = { id: "run_1" as RunId, team: "shop", agent: "till", requestedBy: "o", release, input: { prompt: "go" } };
  const policies = compilePolicies(setWith(earlier), []);
  const question = { run, step: { kind: "model", name: "m", seq: 0 }, policies } as unknown as Question;
  const decision = { outcome: "allow", policies: [] } as const;
  const facts = { ...noFacts, history: { earlier: 1 } };
  const judged = { decision, policyDecision: decision, facts, policySet: policies.policySet, exhausted: [] };
  const shadow = createShadow(pool, () => now);
  for (let step = 0; step < 3; step += 1) shadow.beside(question, { ...judged, request: "" as Digest });
  // As a worker does when it stops: nothing is lost, and nothing has to be waited for.
  await shadow.settled();
  return (await shadowCounts(pool, id!)).map(({ kind, name, count }) => ({ kind, name, count }));
}

test("what a candidate decided is counted when the worker stops", async () => {
  expect(await countedFor(earlier)).toEqual([{ kind: "unchanged", name: "m", count: 3 }]);
});

test("a fact of the same name that counts something else is not taken for it", async () => {
  expect(await countedFor({ ...earlier, withinMs: 60_000 })).toEqual([{ kind: "error", name: "m", count: 3 }]);
});
