import { expect, onTestFinished, test } from "vitest";

import { decideRequest, signStatement, statementText } from "../../src/approvals/index.ts";
import type { ApprovalRequest } from "../../src/approvals/index.ts";
import { backtest, explainDecision } from "../../src/audit/index.ts";
import type { RunId } from "../../src/core/ids.ts";
import { appendToOutbox } from "../../src/ledger/index.ts";
import { detectorOptionsOf, policySetOf } from "../../src/policy/index.ts";
import { createModelProvider } from "../../src/providers/index.ts";
import type { ModelProvider } from "../../src/providers/index.ts";
import { approvalDecided } from "../../src/server/ledger-events.ts";
import { decisionsOf, getPayload, inTransaction, stepsOf } from "../../src/store/index.ts";
import { startAgentRun } from "../../src/temporal/index.ts";
import { startPresidio } from "../support/presidio.ts";
import { createWorld } from "../support/world.ts";
import type { World } from "../support/world.ts";
import { evidenceIn } from "../support/world-evidence.ts";
import { auditOf, problemsOf } from "./running-stack.ts";
import type { Evidence } from "./running-stack.ts";

const all = '@id("all") permit (principal, action, resource);';
const redact = `@id("redact") @decision("redact") @data_classes("card") @reason("no card numbers")
forbid (principal, action == Action::"response", resource) when { context.content.dataClasses.contains("card") };`;
const shadow = (action: string): string =>
  `${all} @id("shadow") @decision("shadow") forbid (principal, action == Action::"${action}", resource);`;
const card = "4111 1111 1111 1111";
const look = (thing: string) => ({ tool: "look", arguments: { thing } });

/** A worker whose model is asked through it, and all that it was asked. */
async function workAndListen(world: World) {
  const asked: Parameters<ModelProvider["complete"]>[0][] = [];
  const real = createModelProvider({ baseUrl: world.modelUrl, apiKey: "scripted", timeoutMs: 10_000 });
  await world.work({
    provider: {
      complete(request, options) {
        asked.push(request);
        return real.complete(request, options);
      },
    },
  });
  return asked;
}

async function answer(world: World, run: RunId): Promise<unknown> {
  const { result } = await world.closed(run);
  return result === null ? null : getPayload(world.pool, world.keys, result);
}

async function verified(world: World, run: RunId): Promise<Evidence> {
  await world.closed(run);
  const evidence = await evidenceIn(world, run);
  const reports = await auditOf(evidence);
  expect([...problemsOf(reports.replay), ...problemsOf(reports.evidence)]).toEqual([]);
  return evidence;
}

/** What replay says of a record in which the decision on the first answer, or on the call for it, says something else. */
async function replayOf(evidence: Evidence, isAnswer: boolean, change: object): Promise<string> {
  const { record } = evidence;
  const at = record.decisions.findIndex(({ facts }) => (facts.response !== undefined) === isAnswer);
  const decisions = record.decisions.map((one, index) => (index === at ? { ...one, ...change } : one));
  return problemsOf((await auditOf({ ...evidence, record: { ...record, decisions } })).replay).join("\n");
}

/** As the server does it: with the reviewer's key, and told to the ledger. */
async function approve(world: World, request: ApprovalRequest): Promise<void> {
  const { id, keyId, privateKey, statementFor } = await world.reviewer("rita", ["reviewers"]);
  const statement = statementText(statementFor(request, "approve"));
  const signed = { statement, signature: signStatement(statement, privateKey), keyId };
  await inTransaction(world.pool, async (tx) => {
    const now = new Date();
    const decided = await decideRequest(tx, signed, id, now);
    await appendToOutbox(tx, [approvalDecided(decided, signed, id, now)]);
  });
}

/** What was held for the run's first call, as its row and its intent in the ledger say. */
async function held(world: World, { record }: Evidence) {
  const { rows } = await world.pool.query<{ microUsd: number; tokens: number }>(
    'select held_micro_usd as "microUsd", held_tokens as tokens from step where run = $1 and seq = 0',
    [record.run.id],
  );
  expect(record.ledger.entries.some(({ leaf }) => leaf.includes(`"heldMicroUsd":${rows[0]?.microUsd},`))).toBe(true);
  return rows[0]!;
}

test("a model is asked for as many tokens as a policy leaves it, or not at all, and no more is held for it", async () => {
  const capped = `${all} @id("cap") @decision("cap") @argument("maxOutputTokens") @max("50")
    forbid (principal, action == Action::"model", resource) when { context.maxOutputTokens > 50 };`;
  const world = await createWorld({
    policy: all,
    turns: [{ text: "done" }],
    prices: () => ({ inputPerMillion: 0, cachedInputPerMillion: 0, outputPerMillion: 2_000_000 }),
  });
  const asked = await workAndListen(world);
  const free = await held(world, await verified(world, await world.start()));
  expect(free.microUsd).toBe(400);
  await world.activate(capped);
  const run = await world.register();
  // There is room for the capped call, and for no more.
  await world.pool.query("update run set max_tokens = $2 where id = $1", [run, free.tokens - 150]);
  await startAgentRun(world.client, { run, taskQueue: world.taskQueue });
  const evidence = await verified(world, run);
  expect(asked.map(({ maxOutputTokens }) => maxOutputTokens)).toEqual([200, 50]);
  expect(await held(world, evidence)).toEqual({ microUsd: 100, tokens: free.tokens - 150 });
  const [decided] = await decisionsOf(world.pool, run);
  expect(await getPayload(world.pool, world.keys, decided!.effective!)).toEqual({ maxOutputTokens: 50 });
  expect(explainDecision(evidence.record, 0).obligations).toMatchObject([{ kind: "cap", max: 50 }]);
  expect(await replayOf(evidence, false, { effective: null })).toMatch(/effective arguments recorded `none`/);

  await world.activate(shadow("model"));
  const unasked = await world.start();
  expect(await answer(world, unasked)).toEqual({ text: "[recorded by policy: the model was not asked]" });
  expect(asked).toHaveLength(2);
  expect(await world.closed(unasked)).toMatchObject({ spentMicroUsd: 0, heldMicroUsd: 0 });
  expect(await replayOf(await verified(world, unasked), false, { shadow: false })).toMatch(/shadow recorded `false`/);
});

test("a card number goes no further than the model that said it, and one in shadow nowhere", async () => {
  const turns = [{ text: `Card ${card}: I look.`, calls: [look("box")] }, { text: `It is ${card}.` }];
  const world = await createWorld({ policy: `${all}${redact}`, turns });
  const asked = await workAndListen(world);
  const run = await world.start();
  expect(await answer(world, run)).toEqual({ text: "It is [redacted]." });
  expect(JSON.stringify(asked[1]?.messages)).toContain("Card [redacted]: I look.");
  const results = (await stepsOf(world.pool, run)).flatMap(({ result }) => result ?? []);
  const further = await Promise.all(results.map((digest) => getPayload(world.pool, world.keys, digest)));
  expect(JSON.stringify(further)).not.toContain("4111");
  const evidence = await verified(world, run);
  // Without what it said, nobody could decide again.
  const [first] = evidence.record.decisions.filter(({ facts }) => facts.response !== undefined);
  expect(JSON.stringify(evidence.record.payloads[first!.facts.response!.answer])).toContain(card);
  expect(await replayOf(evidence, true, { effective: null })).toMatch(/is not what went further/);
  expect(await replayOf(evidence, true, { effective: first!.facts.response!.answer })).toMatch(/effective arguments/);

  const causes = async (policy: string) => {
    const { document } = policySetOf([{ name: "candidate.cedar", text: policy }]);
    const options = { tx: world.pool, keys: world.keys, signal: new AbortController().signal };
    const request = { team: "testers", candidate: document };
    const report = await backtest(request, { ...options, onProgress: () => undefined });
    expect(report).toMatchObject({ lost: 0 });
    return report.causes;
  };
  expect(await causes(`${all}${redact}`)).toEqual([]);
  expect(await causes(`${all}${redact.replace('"card"', '"card, email"')}`)).toEqual([]);
  expect(await causes(`${all}${redact.replace('"card"', '"email"')}`)).toMatchObject([{ count: 2 }]);
  expect(await causes(all)).toMatchObject([{ kind: "altered", count: 2 }]);

  await world.activate(shadow("response"));
  const unsent = await world.start();
  expect(await answer(world, unsent)).toEqual({ text: "[recorded by policy: the answer goes no further]" });
  expect(await stepsOf(world.pool, unsent)).toHaveLength(1);
  expect(await replayOf(await verified(world, unsent), true, { shadow: false })).toMatch(/is not what went further/);
});

const asking = `${all} @id("ask") @decision("require_approval") @group("reviewers")
  forbid (principal, action == Action::"response", resource) when { context.response.final };`;

test("people are shown the redacted answer, which goes further unless policies redact otherwise by then", async () => {
  const turns = [{ text: `It is ${card} of ada@shop.example.` }, { text: "-" }];
  const world = await createWorld({ policy: `${asking}${redact}`, turns });
  await world.work();
  const run = await world.start();
  const request = await world.request(run);
  const shown = await getPayload(world.pool, world.keys, request.rendered);
  expect(shown).toContain("It is [redacted] of ada@shop.example.");
  expect(shown).not.toContain("4111");
  await approve(world, request);
  await world.wake(run, request);
  expect(await answer(world, run)).toEqual({ text: "It is [redacted] of ada@shop.example." });
  await verified(world, run);

  const later = await world.start();
  const asked = await world.request(later);
  await approve(world, asked);
  await world.activate(`${all}${redact.replace('"card"', '"card, email"')}`);
  await world.wake(later, asked);
  await verified(world, later);
  const decided = (await decisionsOf(world.pool, later)).filter(({ seq }) => seq === 0);
  expect(decided.at(-1)).toMatchObject({ outcome: "deny", code: "invalid_grant", effective: null });
  const [withheld] = await stepsOf(world.pool, later);
  expect(await getPayload(world.pool, world.keys, withheld!.result!)).toMatchObject({
    problem: expect.stringContaining("the policy has changed what would be done"),
  });
});

test("what another detector finds is redacted where it says, and decided by again from the record", async () => {
  const presidio = await startPresidio([{ text: "Ada Lovelace", entity: "PERSON" }]);
  onTestFinished(() => presidio.close());
  const names = redact.replaceAll('"card"', '"person"');
  const world = await createWorld({ policy: `${all}${names}`, turns: [{ text: "By Ada Lovelace." }] });
  await world.work({ detector: detectorOptionsOf({ COUNTERSIGN_PRESIDIO_URL: presidio.url }) });
  const run = await world.start();
  expect(await answer(world, run)).toEqual({ text: "By [redacted]." });
  const evidence = await verified(world, run);
  const { facts } = evidence.record.decisions.find((one) => one.facts.response !== undefined)!;
  expect(facts.detectedAt).toEqual([{ name: "person", start: 3, end: 15 }]);
  const elsewhere = { ...facts, detectedAt: [{ name: "person", start: 3, end: 6 }] };
  expect(await replayOf(evidence, true, { facts: elsewhere })).toMatch(/effective arguments recorded/);
});

test("a redacted answer that does not fit the output schema any more is one that does not fit", async () => {
  const world = await createWorld({
    policy: `${all}${redact}`,
    output: { type: "object", properties: { number: { type: "integer" } }, required: ["number"] },
    turns: [{ text: '{"number":4111111111111111}' }, { text: '{"number":1}' }],
  });
  const asked = await workAndListen(world);
  const run = await world.start();
  expect(await answer(world, run)).toMatchObject({ value: { number: 1 } });
  expect(JSON.stringify(asked[1]?.messages)).not.toContain("4111");
  expect(asked[1]?.messages.at(-1)?.content).toContain("does not fit the output schema: /number must be integer");
  await verified(world, run);
});
