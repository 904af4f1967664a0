import { readFile } from "node:fs/promises";
import { expect, onTestFinished, test } from "vitest";
import type { HistoryFact } from "../../src/core/decision.ts";
import { planFork } from "../../src/audit/index.ts";
import type { Digest, RunId } from "../../src/core/ids.ts";
import type { RunRecord } from "../../src/core/run-record.ts";
import { defineScript, priceOf, scriptSource, startScriptedModel } from "../../src/providers/index.ts";
import { putPrincipal } from "../../src/registry/index.ts";
import { grantAhead } from "../support/standing.ts";
import { forkIn, policiesOf, recordIn, told } from "../support/forks.ts";
import { createWorld, until } from "../support/world.ts";
import type { World } from "../support/world.ts";

const look = (thing: string) => ({ tool: "look", arguments: { thing } });
const pay = (amount_cents: number) => ({ tool: "pay", arguments: { to: "ada", amount_cents } });

async function ran(world: World) {
  const run = await world.start();
  await world.closed(run);
  return recordIn(world, run);
}

const done = (world: World) => readFile(world.effects, "utf8");

/** Everything that a deployment's own database has of runs, money, people's work and the ledger. */
async function everythingIn({ pool }: World): Promise<unknown> {
  const { rows } = await pool.query(
    `select (select count(*) from run) as runs, (select count(*) from step) as steps, (select count(*) from decision) as decisions,
       (select count(*) from history_step) as history, (select count(*) from approval_request) as requests,
       (select count(*) from ledger_entry) as entries, (select count(*) from ledger_outbox) as outbox,
       (select jsonb_agg(budget_use order by id) from budget_use) as budgets, (select count(*) from reviewer_key) as keys,
       (select count(*) from principal) as principals, (select count(*) from release) as releases,
       (select count(*) from policy_activation) as activations`,
  );
  return rows[0];
}

test("without a change a fork is the run again, from wherever it is begun: reads from the record, no effect, nothing left", async () => {
  const world = await createWorld({
    turns: [
      { calls: [look("box"), look("nothing")] },
      { calls: [pay(100), look("box"), { tool: "shelf", arguments: { query: "note", limit: 2 } }, look("box")] },
      { text: "done" },
    ],
    retrieval: [],
  });
  await world.work();
  await world.pool.query(
    `insert into budget_event (team, period, max_micro_usd, approvers, at, by_principal) values ('testers', 'total', 5000000, 'budget', now(), 'operator')`,
  );
  const record = await ran(world);
  const [was, effects] = [await everythingIn(world), await done(world)];
  expect(record.steps.map(({ name }) => name)).toHaveLength(9);
  for (const at of [0, 3]) {
    const fork = await forkIn(world, record, at, { effects: "recorded" });
    expect(fork, `at ${at}`).toMatchObject({
      counts: { same: 9 - at, changed: 0, added: 0, missing: 0 },
      outcome: { same: true, diff: [] },
      fork: { status: "completed", steps: 9, output: { text: "done" } },
      original: { steps: 9, tokens: fork.fork.tokens, costMicroUsd: fork.fork.costMicroUsd },
      with: { changed: [], release: record.run.release },
      notes: [],
    });
    expect(fork.fork.tokens.input).toBeGreaterThan(0);
    expect(fork.reads.some(({ kind }) => kind === "retrieval")).toBe(true);
    // Each was answered by its own step: a failure as a failure, the second of two alike by the second.
    for (const { seq, recorded } of [...fork.reads, ...fork.wouldAct]) expect(recorded).toBe(seq);
    expect(fork.fork.run).not.toBe(record.run.id);
  }
  expect(await done(world)).toBe(effects);
  expect(await everythingIn(world)).toEqual(was);
});

test("a call with an effect is told that it was not made, and the agent is let go on", async () => {
  const world = await createWorld({ turns: [{ calls: [pay(100)] }, { text: "paid {{result.pay.paid}}" }] });
  await world.work();
  const record = await ran(world);
  const effects = await done(world);
  const fork = await forkIn(world, record, 1);
  expect(fork.wouldAct).toEqual([
    { seq: 1, kind: "tool", name: "pay", effect: "write", arguments: { to: "ada", amount_cents: 100 }, recorded: null },
  ]);
  expect(fork.steps[0]).toMatchObject({
    status: "same",
    original: { result: { value: { paid: 100 } } },
    fork: { result: { status: "ok", value: { executed: false, would: { tool: "pay" } } } },
  });
  // What the script reads of the payment is not there: the model's failure is the fork's.
  expect(fork.fork).toMatchObject({ status: "failed", failure: { code: "model_unavailable" } });
  expect(fork.outcome).toMatchObject({ same: false });
  expect(fork.lines).toContain("step 1 tool pay: not made");
  expect(await done(world)).toBe(effects);
});

test("with another prompt the agent does otherwise: what is new, gone and changed is said, and what was never read stays unread", async () => {
  const world = await createWorld({
    branches: [
      {
        name: "careful",
        when: "^go$",
        system: "careful",
        turns: [{ calls: [look("box")] }, { calls: [look("lock"), pay(50)] }, { text: "carefully" }],
      },
    ],
    turns: [{ calls: [look("box")] }, { calls: [pay(100), look("door")] }, { text: "done" }],
  });
  await world.work();
  const record = await ran(world);
  const effects = await done(world);
  const fork = await forkIn(world, record, 2, { prompt: "Be careful." });
  expect(told(fork)).toEqual([
    "~ scripted/test (result)",
    "- pay",
    "~ look (arguments, result)",
    "+ pay",
    "~ scripted/test (result)",
  ]);
  expect(fork).toMatchObject({
    with: { changed: ["prompt"] },
    reads: [{ name: "look", arguments: { thing: "lock" }, recorded: null }],
    wouldAct: [{ name: "pay", arguments: { amount_cents: 50 } }],
    outcome: {
      same: false,
      diff: [
        { mark: " ", line: "completed" },
        { mark: "-", line: "done" },
        { mark: "+", line: "carefully" },
      ],
    },
    notes: ["1 reads had no answer in the record, and were not made"],
  });
  expect(await done(world)).toBe(effects);
});

test("with another model the agent asks that one: it is the release's, priced as itself, and what it does differently is said", async () => {
  const world = await createWorld({ turns: [{ calls: [look("box")] }, { calls: [pay(100)] }, { text: "done" }] });
  await world.work();
  const record = await ran(world);
  const effects = await done(world);
  const other = defineScript({
    v: 1,
    model: "scripted/other",
    branches: [{ name: "all", when: "^go$", turns: [{ text: "" }, { calls: [pay(7)] }, { text: "paid less" }] }],
  });
  const server = await startScriptedModel({ scripts: [scriptSource([other])] });
  onTestFinished(() => server.close());
  const model = { model: "scripted/other", modelUrl: server.url };
  const fork = await forkIn(world, record, 2, { ...model, priceOf: () => priceOf("scripted/test") });
  expect(fork).toMatchObject({
    with: { model: "scripted/other", changed: ["model"] },
    wouldAct: [{ name: "pay", arguments: { amount_cents: 7 } }],
    original: { output: { text: "done" } },
    fork: { status: "completed", output: { text: "paid less" } },
  });
  expect(fork.with.release).not.toBe(record.run.release);
  expect(fork.steps.map(({ kind, status }) => [kind, status])).toEqual([
    ["model", "changed"],
    ["tool", "changed"],
    ["model", "changed"],
  ]);
  expect(await done(world)).toBe(effects);
  // A model without a price is asked nothing.
  const unpriced = await forkIn(world, record, 2, { ...model, priceOf: () => undefined });
  expect(unpriced).toMatchObject({
    fork: { status: "failed", failure: { message: expect.stringContaining("price") } },
  });
  await expect(forkIn(world, record, 2, { model: "" })).rejects.toThrow("a model's name has 1 to");
});

test("a call that had to be cosigned first is not made, and the comparison says that a fork has no witnesses", async () => {
  const world = await createWorld({ turns: [{ calls: [pay(100)] }, { text: "done" }] });
  await world.work();
  const record = await ran(world);
  const policies = policiesOf(`@id("all") permit(principal, action, resource);
    @id("cosigned") @decision("cosigned") @witnesses("1") @within("15m") @reason("r")
    forbid(principal, action == Action::"tool/pay", resource);`);
  const fork = await forkIn(world, record, 1, { policies });
  expect(fork.wouldAct).toEqual([]);
  expect(fork.steps[0]?.fork).toMatchObject({ state: "failed", result: { status: "denied", code: "not_cosigned" } });
  expect(fork.notes).toEqual([expect.stringMatching(/^1 calls had to be cosigned .* no witnesses/)]);
});

test("other policies decide on what comes after, and the agent reads their denial", async () => {
  const world = await createWorld({
    branches: [
      {
        name: "all",
        when: "^go$",
        turns: [{ calls: [pay(100)] }, { text: "paid" }],
        exits: [{ result: "pay", status: "denied", turns: [{ text: "not allowed" }] }],
      },
    ],
    turns: [{ text: "" }],
  });
  await world.work();
  const record = await ran(world);
  const policies = policiesOf(`@id("all") permit(principal, action, resource);
    @id("no-pay") @reason("no payments") forbid(principal, action == Action::"tool/pay", resource);`);
  const fork = await forkIn(world, record, 1, { policies });
  expect(fork).toMatchObject({
    with: { changed: ["policy"] },
    wouldAct: [],
    steps: [
      {
        name: "pay",
        status: "changed",
        differs: ["decision", "result"],
        original: { decisions: [{ outcome: "allow", policies: ["all"] }] },
        fork: { state: "denied", decisions: [{ outcome: "deny", code: "forbidden", policies: ["no-pay"] }] },
      },
      { kind: "model", differs: ["result"] },
    ],
    fork: { output: { text: "not allowed" } },
  });
});

test("people are not asked: they are said to have approved, denied, or to have said what they said then", async () => {
  const world = await createWorld({
    branches: [
      {
        name: "all",
        when: "^go$",
        turns: [{ calls: [pay(6_000)] }, { calls: [pay(7_000)] }, { text: "paid" }],
        exits: [{ result: "pay", status: "denied", turns: [{ text: "sorry" }] }],
      },
    ],
    turns: [{ text: "" }],
  });
  await world.work();
  const grace = await world.reviewer("grace");
  const run: RunId = await world.start();
  for (const decision of ["approve", "deny"] as const) {
    const request = await world.request(run);
    await grace.decide(request, decision);
    await world.wake(run, request);
    await until(async () => ((await world.states(run)).at(-1)?.endsWith(":waiting") === true ? undefined : true));
  }
  await world.closed(run);
  const record = await recordIn(world, run);
  const was = await everythingIn(world);
  for (const [approvals, answers] of [
    ["deny", ["deny"]],
    ["recorded", ["approve", "deny"]],
  ] as const) {
    const fork = await forkIn(world, record, 0, { approvals });
    expect(fork.fork.output, approvals).toEqual({ text: "sorry" });
    expect(fork.wouldWait.map(({ answer }) => answer)).toEqual(answers);
    expect(fork.wouldWait[0]?.groups).toEqual(["treasury:1"]);
  }
  // Two people of each of two groups, one with a passkey: as many signatures as the policy asks for, and the real gate verifies them.
  const policies = policiesOf(`@id("all") permit(principal, action, resource);
    @id("two") @decision("require_approval") @group("treasury") @quorum("2") @distinct("true") forbid(principal, action == Action::"tool/pay", resource);
    @id("key") @decision("require_approval") @group("legal") @signed("passkey") forbid(principal, action == Action::"tool/pay", resource);`);
  const strict = await forkIn(world, record, 1, { policies });
  expect(strict.wouldWait[0]?.groups.toSorted()).toEqual(["legal:1:passkey", "treasury:2"]);
  expect(strict.fork.output).toEqual({ text: "paid" });
  // Nobody said anything about calls that were not asked for then.
  const other = await forkIn({ ...world }, { ...record, approvals: [] }, 0, { approvals: "recorded" });
  expect(other.wouldWait).toMatchObject([{ answer: "deny", because: "nobody decided on such a call in the record" }]);
  expect(await everythingIn(world)).toEqual(was);
});

test("what people said of a model's answer is said of the same answer again, and of no other", async () => {
  const world = await createWorld({
    policy: `@id("all") permit(principal, action, resource);
      @id("final") @decision("require_approval") @group("treasury") forbid(principal, action == Action::"response", resource)
      when { context.response.final };`,
    branches: [{ name: "other", when: "^go$", system: "other", turns: [{ text: "otherwise" }] }],
    turns: [{ text: "done" }],
  });
  await world.work();
  const grace = await world.reviewer("grace");
  const run = await world.start();
  const request = await world.request(run);
  await grace.decide(request, "approve");
  await world.wake(run, request);
  await world.closed(run);
  const record = await recordIn(world, run);
  const same = await forkIn(world, record, 0, { approvals: "recorded" });
  expect(same).toMatchObject({ counts: { same: 1, changed: 0 }, wouldWait: [{ name: "response", answer: "approve" }] });
  const other = await forkIn(world, record, 0, { approvals: "recorded", prompt: "Be other." });
  expect(other.wouldWait[0]).toMatchObject({ answer: "deny" });
  expect(other.fork.output).toBeNull();
});

test("a call that a standing grant let through would wait, and was approved in advance", async () => {
  const world = await createWorld({ turns: [{ calls: [pay(6_000)] }, { text: "done" }] });
  await world.work();
  await grantAhead(world, {}, await world.reviewer("grace"), await world.reviewer("heidi"));
  const record = await ran(world);
  const fork = await forkIn(world, record, 1, { approvals: "recorded" });
  expect(fork).toMatchObject({
    steps: [{ name: "pay", differs: ["decision"] }, { status: "same" }],
    wouldWait: [{ answer: "approve", because: "step 1 of the record: a standing grant" }],
    notes: ["standing grants let calls of the recorded run through; a fork has none, and would wait there"],
  });
});

test("a fork costs no more than it may, and asks nobody for more", async () => {
  const world = await createWorld({ turns: [{ calls: [look("box")] }, { text: "done" }] });
  await world.work();
  const record = await ran(world);
  const fork = await forkIn(world, record, 2, { maxCostMicroUsd: 1, approvals: "approve" });
  expect(fork.fork).toMatchObject({ status: "failed", failure: { code: "limit_cost" }, costMicroUsd: 0 });
  expect(fork.wouldWait).toMatchObject([{ groups: ["budget:1"], answer: "deny" }]);
});

test("what policies see of the time, the place and who asked is as it was then", async () => {
  const world = await createWorld({
    policy: `@id("then") permit(principal, action, resource) when {
      context.now.weekday == 3 && context.now.hour == 12 && context.environment.name == "staging" &&
      context.requester.groups.contains("crew") && context.requester.roles.contains("operator") };`,
    turns: [{ calls: [look("box")] }, { text: "done" }],
  });
  const [wednesday, started] = [Date.parse("2026-01-07T12:00:00Z"), Date.now()];
  await putPrincipal(world.pool, { id: "operator", displayName: "o", roles: ["operator"], groups: ["crew"] });
  await world.work({
    now: () => new Date(wednesday + Date.now() - started),
    environment: { name: "staging", region: "local" },
  });
  const fork = await forkIn(world, await ran(world), 1);
  expect(fork).toMatchObject({ counts: { same: 2, changed: 0, added: 0, missing: 0 }, fork: { status: "completed" } });
});

test("what policies count over other runs is counted as it stood then", async () => {
  const looks: HistoryFact = { name: "looks", measure: "count", actions: ["tool/look"], per: "team" };
  const text = `@id("all") permit(principal, action, resource);
    @id("enough") forbid(principal, action == Action::"tool/look", resource) when { context.history.looks >= 3 };`;
  const world = await createWorld({ turns: [{ calls: [look("box")] }, { calls: [look("lid")] }, { text: "done" }] });
  await world.activate(text, [looks]);
  await world.work();
  await ran(world);
  const record = await ran(world);
  expect(await world.states(record.run.id)).toContain("look:denied");
  await ran(world);
  const same = await forkIn(world, record, 2);
  expect(same.counts, told(same).join("; ")).toMatchObject({ changed: 0, added: 0, missing: 0 });
  expect(same.notes).toEqual(["history facts over more than this run count the others as they stood then: looks"]);
  const policies = policiesOf(text.replaceAll("looks", "views"), [{ ...looks, name: "views" }]);
  const fork = await forkIn(world, record, 0, { policies });
  expect(fork.notes).toContain("history facts of which the record does not tell count this run alone: views");
  expect(told(fork)).toContain("~ look (decision, result)");
});

test("what cannot be forked, or not so, is refused before anything is started", async () => {
  const world = await createWorld({ turns: [{ calls: [look("box"), look("lid")] }, { text: "done" }] });
  await world.work();
  const record = await ran(world);
  const asked = { at: 2, maxCostMicroUsd: 1 };
  expect(() => planFork(record, { ...asked, at: 1 })).not.toThrow();
  const { [record.steps[1]?.result as Digest]: _, ...erased } = record.payloads;
  const changed = { ...record.payloads, [record.steps[1]?.result as Digest]: { status: "ok", value: "forged" } };
  const misfit = policiesOf(
    `@id("red") permit(principal, action == Action::"tool/look", resource) when { context.input.colour == "red" };`,
  );
  const refusals: readonly (readonly [string, RunRecord, Partial<Parameters<typeof planFork>[1]>, string])[] = [
    ["an open run", { ...record, run: { ...record.run, status: "running", closedAt: null } }, {}, "is running"],
    ["a step that is not there", record, { at: 4 }, "there is no step 4"],
    ["the second of two calls", record, {}, "one of several calls"],
    [
      "contents that are gone",
      { ...record, payloads: erased },
      { at: 3 },
      "the result of step 1 is missing, was erased",
    ],
    ["contents that are others", { ...record, payloads: changed }, { at: 3 }, "the result of step 1"],
    ["another input", { ...record, input: { prompt: "stop" } }, { at: 0 }, "its input"],
    ["a release that is another", { ...record, release: { ...record.release, prompt: "x" } }, { at: 0 }, "its release"],
    [
      "a step left out",
      { ...record, steps: record.steps.filter(({ seq }) => seq !== 1) },
      { at: 3 },
      "step 1 is missing",
    ],
    ["policies that are gone", { ...record, policySets: {} }, { at: 0 }, "policy set"],
    ["policies that do not fit", record, { at: 0, policies: misfit }, "does not fit the release's tools"],
    ["no prompt", record, { at: 0, prompt: " \n" }, "a prompt has 1 to"],
    ["too long a prompt", record, { at: 0, prompt: "x".repeat(200_001) }, "this one 200001"],
    ["a prompt that cannot be kept", record, { at: 0, prompt: "a\0b" }, "a prompt has 1 to"],
    ["a model without a name", record, { at: 0, model: "" }, "a model's name"],
  ];
  for (const [what, of, request, message] of refusals) {
    const plan = () => planFork(of, { ...asked, ...request });
    expect(plan, what).toThrow(message);
    expect(plan, what).toThrow(expect.objectContaining({ code: "fork_refused" }) as Error);
  }
});

test("a fork that is interrupted ends, and leaves no run behind", async () => {
  const world = await createWorld({
    branches: [{ name: "slow", when: "^go$", system: "slow", turns: [{ text: "slow", delayMs: 9_000 }] }],
    turns: [{ text: "done" }],
  });
  await world.work();
  const record = await ran(world);
  const stop = new AbortController();
  const fork = forkIn(world, record, 0, { prompt: "Be slow.", signal: stop.signal });
  const open = async () => {
    const ids: string[] = [];
    for await (const { workflowId, taskQueue } of world.client.workflow.list({ query: "ExecutionStatus = 'Running'" }))
      if (taskQueue.startsWith("fork-")) ids.push(workflowId);
    return ids;
  };
  await until(async () => ((await open()).length > 0 ? true : undefined));
  stop.abort();
  await expect(fork).rejects.toThrow("nothing of it is left");
  await until(async () => ((await open()).length === 0 ? true : undefined));
});
