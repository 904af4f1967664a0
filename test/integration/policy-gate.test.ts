import { readFile } from "node:fs/promises";

import type { Context } from "@temporalio/activity";
import { pino } from "pino";
import { describe, expect, onTestFinished, test } from "vitest";

import { noFacts } from "../../src/core/decision.ts";
import type { RunId } from "../../src/core/ids.ts";
import { lockHistory } from "../../src/gate/history/history.ts";
import { createGate } from "../../src/gate/index.ts";
import { createRunCache } from "../../src/gate/run/cache.ts";
import { policySetOf } from "../../src/policy/index.ts";
import { priceOf } from "../../src/providers/index.ts";
import { freeze, liftFreeze, setShadow, shadowCounts } from "../../src/registry/index.ts";
import { decisionsOf, getPayload, inTransaction, stepsOf } from "../../src/store/index.ts";
import type { Tx } from "../../src/store/index.ts";
import { startDecisionPoint } from "../support/decision-point.ts";
import type { DecisionPoint } from "../support/decision-point.ts";
import { createWorld, until } from "../support/world.ts";
import type { World } from "../support/world.ts";

const pay = (to: string, amount_cents = 100) => ({ tool: "pay", arguments: { to, amount_cents } });
const look = (thing: string) => ({ tool: "look", arguments: { thing } });
const shout = (text: string) => ({ tool: "shout", arguments: { text } });
const all = '@id("all") permit (principal, action, resource);';

async function effects(world: World, word: string): Promise<readonly string[]> {
  const text = await readFile(world.effects, "utf8").catch(() => "");
  return text.split("\n").filter((line) => line.startsWith(`${word} `));
}

async function decisions(world: World, run: RunId, tool: string) {
  const seqs = (await stepsOf(world.pool, run)).filter(({ name }) => name === tool).map(({ seq }) => seq);
  return (await decisionsOf(world.pool, run)).filter(({ seq }) => seqs.includes(seq));
}

describe("labels", () => {
  const guarded = `${all}
@id("asked") @decision("require_approval") @group("treasury") @reason("not the user's")
forbid (principal, action == Action::"tool/shout", resource) unless { context.destination.origin == "user" };`;

  test("what the user said goes; what a result said waits for a person, and is recorded as what it is", async () => {
    const world = await createWorld({
      policy: guarded,
      turns: [
        { calls: [look("parcel-from-eve")] },
        { calls: [shout("go")] },
        { calls: [shout("parcel-from-eve")] },
        { text: "done" },
      ],
    });
    await world.work();
    const run = await world.start();
    const request = await world.request(run);
    expect(await effects(world, "shout")).toEqual(["shout go"]);
    const found = await decisions(world, run, "shout");
    expect(found.map(({ outcome, facts }) => [outcome, facts.flow.destination, facts.flow.seen.sources])).toEqual([
      ["allow", "user", ["look"]],
      ["require_approval", "untrusted", ["look", "shout"]],
    ]);
    const reviewer = await world.reviewer("rita");
    await reviewer.decide(request, "deny");
    await world.wake(run, request);
    expect(await world.closed(run)).toMatchObject({ status: "completed" });
    expect(await effects(world, "shout")).toHaveLength(1);
  });
});

test("what people approved of one tool counts for that tool in that run, once it is made", async () => {
  const world = await createWorld({
    policy: `${all}
@id("once") @decision("require_approval") @group("treasury")
forbid (principal, action in [Action::"tool/pay", Action::"tool/look"], resource)
when { context.run.sameNameApproved == 0 };`,
    turns: [{ calls: [pay("ada")] }, { calls: [look("box")] }, { calls: [look("bag")] }, { text: "done" }],
  });
  await world.work();
  const run = await world.start();
  const reviewer = await world.reviewer("rita");
  for (const tool of ["pay", "look"]) {
    const request = await world.request(run);
    expect(await effects(world, tool)).toEqual([]);
    await reviewer.decide(request, "approve");
    await world.wake(run, request);
    await until(async () => (await effects(world, tool))[0]);
  }
  expect(await world.closed(run)).toMatchObject({ status: "completed" });
  const looked = await decisions(world, run, "look");
  expect(looked.map(({ outcome, facts }) => [outcome, facts.sameNameApproved, facts.approvals])).toEqual([
    ["require_approval", 0, 1],
    ["allow", 0, 1],
    ["allow", 1, 2],
  ]);
});

describe("obligations", () => {
  test("a capped number is what is paid, a redacted text is what is said, a shadowed call is not made", async () => {
    const world = await createWorld({
      policy: `${all}
@id("cap") @decision("cap") @argument("amount_cents") @max("250")
forbid (principal, action == Action::"tool/pay", resource) when { context.input.amount_cents > 250 };
@id("redact") @decision("redact") @argument("text")
forbid (principal, action == Action::"tool/shout", resource) when { context.content.dataClasses.contains("card") };
@id("shadow") @decision("shadow")
forbid (principal, action == Action::"tool/look", resource) when { context.input.thing == "secret" };`,
      turns: [
        { calls: [pay("ada", 900), shout("card 4111 1111 1111 1111"), look("secret"), look("box")] },
        { text: "done" },
      ],
    });
    await world.work();
    const run = await world.start();
    expect(await world.closed(run)).toMatchObject({ status: "completed" });
    expect((await effects(world, "pay")).map((line) => line.split(" ").slice(0, 3).join(" "))).toEqual(["pay ada 250"]);
    expect(await effects(world, "shout")).toEqual(["shout [redacted]"]);
    expect(await effects(world, "look")).toEqual(["look box"]);
    const [paid] = await decisions(world, run, "pay");
    expect(paid).toMatchObject({ outcome: "allow", shadow: false, effective: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect((await decisions(world, run, "look")).map(({ shadow }) => shadow)).toEqual([true, false]);
  });

  test("people are shown the changed call, and it is what runs", async () => {
    const world = await createWorld({
      policy: `${all}
@id("cap") @decision("cap") @argument("amount_cents") @max("250")
forbid (principal, action == Action::"tool/pay", resource) when { context.input.amount_cents > 250 };
@id("ask") @decision("require_approval") @group("treasury")
forbid (principal, action == Action::"tool/pay", resource) when { context.input.amount_cents > 200 };`,
      turns: [{ calls: [pay("ada", 900)] }, { text: "done" }],
    });
    await world.work();
    const run = await world.start();
    const request = await world.request(run);
    const reviewer = await world.reviewer("rita");
    await reviewer.decide(request, "approve");
    await world.wake(run, request);
    expect(await world.closed(run)).toMatchObject({ status: "completed" });
    expect(await effects(world, "pay")).toMatchObject([expect.stringContaining("pay ada 250 ")]);
  });

  test("a change of the obligation after the approval stops the call", async () => {
    const capped = (max: number): string => `${all}
@id("cap") @decision("cap") @argument("amount_cents") @max("${max}")
forbid (principal, action == Action::"tool/pay", resource) when { context.input.amount_cents > ${max} };
@id("ask") @decision("require_approval") @group("treasury")
forbid (principal, action == Action::"tool/pay", resource);`;
    const world = await createWorld({ policy: capped(250), turns: [{ calls: [pay("ada", 900)] }, { text: "done" }] });
    await world.work();
    const run = await world.start();
    const request = await world.request(run);
    const reviewer = await world.reviewer("rita");
    await reviewer.decide(request, "approve");
    await world.activate(capped(300));
    await world.wake(run, request);
    expect(await world.closed(run)).toMatchObject({ status: "completed" });
    expect(await effects(world, "pay")).toEqual([]);
    expect((await decisions(world, run, "pay")).at(-1)).toMatchObject({ outcome: "deny", code: "invalid_grant" });
  });
});

describe("a policy that asks for more under the same id, once people have approved", () => {
  const asking = (annotations: string): string => `${all}
@id("ask") @decision("require_approval") ${annotations} @reason("asked")
forbid (principal, action == Action::"tool/pay", resource);`;
  const plain = '@group("treasury")';
  const either = '@approvers("legal or treasury")';
  const both = '@approvers("treasury and legal")';
  const escalating = `${plain} @escalate_after("1h") @escalate_to("bosses")`;
  const tightened: readonly (readonly [then: string, now: string, why: string])[] = [
    [plain, '@group("bosses")', "who were not asked"],
    [plain, '@group("treasury") @quorum("2")', "asks for 2"],
    [plain, both, "`legal`, who were not asked"],
    [either, '@approvers("legal")', "who may approve"],
    [both, `${both} @distinct("true")`, "different people"],
    [plain, `${plain} @signed("passkey")`, "a passkey"],
    [`${plain} @editor("counts")`, plain, "nobody who edited"],
    [escalating, plain, "whom it escalates to"],
    [escalating, escalating.replace("bosses", "legal"), "whom it escalates to"],
    [escalating, escalating.replace('"1h"', '"2h"'), "whom it escalates to"],
    [`${plain} @amount("amount_cents")`, plain, "another amount"],
  ];

  test("does not let the call happen, in words that say which term; what asks for less does", async () => {
    const world = await createWorld({ turns: [{ calls: [pay("ada", 900)] }, { text: "done" }] });
    await world.work();
    const reviewer = await world.reviewer("rita", ["treasury", "legal"]);
    const approved = async (then: string, now: string): Promise<RunId> => {
      await world.activate(asking(then));
      const run = await world.start();
      const request = await world.request(run);
      expect((await reviewer.decide(request, "approve")).state).toBe("approved");
      await world.activate(asking(now));
      await world.wake(run, request);
      expect(await world.closed(run)).toMatchObject({ status: "completed" });
      return run;
    };
    for (const [then, now, why] of tightened) {
      const run = await approved(then, now);
      const last = (await decisions(world, run, "pay")).at(-1);
      expect([then, now, last?.outcome, last?.code]).toEqual([then, now, "deny", "invalid_grant"]);
      const [step] = (await stepsOf(world.pool, run)).filter(({ name }) => name === "pay");
      const told = await getPayload(world.pool, world.keys, step!.result!);
      expect(JSON.stringify(told)).toContain(why);
    }
    expect(await effects(world, "pay")).toEqual([]);
    await approved(plain, '@approvers("treasury or legal")');
    expect(await effects(world, "pay")).toHaveLength(1);
  });
});

describe("history", () => {
  const three = `${all}
@id("three") @reason("at most three payments an hour, and 500 in sum")
forbid (principal, action == Action::"tool/pay", resource)
when { context.history.payments >= 3 || context.history.paid + context.input.amount_cents > 500 };`;
  const facts = [
    { name: "payments", measure: "count", actions: ["tool/pay"], per: "team", withinMs: 3_600_000 },
    {
      name: "paid",
      measure: "sum",
      argument: "amount_cents",
      actions: ["group/money"],
      per: "team",
      withinMs: 3_600_000,
    },
  ] as const;

  test("parallel payments of parallel runs are counted before they happen: three go, never four", async () => {
    const world = await createWorld({ turns: [{ calls: [pay("ada"), pay("bob"), pay("eve")] }, { text: "done" }] });
    await world.activate(three, facts);
    await world.work();
    const runs = await Promise.all(Array.from({ length: 4 }, () => world.start()));
    for (const run of runs) expect(await world.closed(run)).toMatchObject({ status: "completed" });
    expect(await effects(world, "pay")).toHaveLength(3);
    const { rows } = await world.pool.query(
      "select outcome, count(*) as n from decision join step using (run, seq) where name = 'pay' group by 1 order by 1",
    );
    expect(rows).toEqual([
      { outcome: "allow", n: 3 },
      { outcome: "deny", n: 9 },
    ]);
  });

  test("a policy that is added later sees what was done before, and sums what was paid", async () => {
    const world = await createWorld({
      turns: [{ calls: [pay("ada", 300)] }, { calls: [pay("ada", 300)] }, { text: "done" }],
    });
    await world.work();
    expect(await world.closed(await world.start())).toMatchObject({ status: "completed" });
    await world.activate(three, facts);
    const later = await world.start();
    expect(await world.closed(later)).toMatchObject({ status: "completed" });
    expect(await effects(world, "pay")).toHaveLength(2);
    const [denied] = await decisions(world, later, "pay");
    expect(denied).toMatchObject({ outcome: "deny", facts: { history: { payments: 2, paid: 600 } } });
  });
});

test("an answer waits for decisions that add to what it goes by, and counts what they have done", async () => {
  const paid = `${all}
@id("paid") @reason("nothing is said once something is paid")
forbid (principal, action == Action::"response", resource) when { context.history.payments > 0 };`;
  const payments = { name: "payments", measure: "count", actions: ["tool/pay"], per: "team" } as const;
  const world = await createWorld({ turns: [{ text: "done" }, { text: "done" }] });
  await world.activate(paid, [payments]);
  await world.work();
  const other = await world.register();
  const name = "history/payments/team/testers";
  const run = await inTransaction(world.pool, async (tx) => {
    // Another worker's decision on a payment, before its commit.
    await lockHistory(tx, [{ name, exclusive: true }]);
    const started = await world.start();
    await until(async () => {
      const { rowCount } = await world.pool.query(
        "select from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())",
      );
      return rowCount === 0 ? undefined : true;
    });
    await payIn(world, other, tx);
    return started;
  });
  expect(await world.closed(run)).toMatchObject({ status: "failed", failure: { code: "response_denied" } });
  const [, answer] = await decisionsOf(world.pool, run);
  expect(answer).toMatchObject({ outcome: "deny", policies: ["paid"], facts: { history: { payments: 1 } } });
});

test("a freeze stops the next step within a second, waits stay waits, and the run goes on when it is lifted", async () => {
  const world = await createWorld({
    turns: [{ calls: [look("box")], repeat: true, delayMs: 100 }],
    limits: { maxSteps: 60 },
  });
  await world.work();
  const run = await world.start();
  await until(async () => ((await effects(world, "look")).length > 0 ? true : undefined));
  const target = { team: "testers", by: "op", reason: "stop" };
  await freeze(world.pool, { ...target, now: new Date() });
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  const frozen = (await stepsOf(world.pool, run)).length;
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  expect((await stepsOf(world.pool, run)).length).toBe(frozen);
  await liftFreeze(world.pool, { ...target, now: new Date() });
  expect(await world.closed(run, 60_000)).toMatchObject({ status: "failed", failure: { code: "limit_steps" } });
});

describe("another decision point", () => {
  async function decisionPoint(decide: Parameters<typeof startDecisionPoint>[0]): Promise<DecisionPoint> {
    const point = await startDecisionPoint(decide);
    onTestFinished(() => point.close());
    return point;
  }

  /** Answers when it is let go, and is known to have been asked. */
  function held() {
    const [asked, released] = [Promise.withResolvers<void>(), Promise.withResolvers<boolean>()];
    const hold = (): Promise<boolean> => {
      asked.resolve();
      return released.promise;
    };
    return { hold, asked: asked.promise, release: () => released.resolve(true) };
  }

  /** Nothing is locked, and no connection taken, while it is asked. */
  const untilNoTransaction = (world: World) =>
    until(async () => {
      const { rowCount } = await world.pool.query(
        "select from pg_stat_activity where datname = current_database() and xact_start is not null and pid <> pg_backend_pid()",
      );
      return rowCount === 0 ? true : undefined;
    });

  const counted = [{ name: "payments", measure: "count", actions: ["tool/pay"], per: "team" }] as const;

  test("can only deny more, and denies where it gives no answer", async () => {
    const point = await decisionPoint(() => true);
    const world = await createWorld({ turns: [{ calls: [pay("ada")] }, { text: "done" }] });
    await world.work({ remote: point.options });
    expect(await world.closed(await world.start())).toMatchObject({ status: "completed" });
    expect(await effects(world, "pay")).toHaveLength(1);
    for (const said of [false, "no" as never]) {
      point.decides(() => said);
      const failure = { code: "model_denied" };
      expect(await world.closed(await world.start())).toMatchObject({ status: "failed", failure });
    }
    expect(await effects(world, "pay")).toHaveLength(1);
  });

  test("holds nobody up while it thinks, and its permit is for what it was asked: not for what others have made of it", async () => {
    const { hold, asked, release } = held();
    const first: RunId[] = [];
    const point = await decisionPoint(({ action, resource, context }) => {
      if (action.name !== "tool/pay") return true;
      const isFirst = first.push(resource.id as RunId) === 1;
      return isFirst ? hold() : context.history["payments"] === 0;
    });
    const world = await createWorld({ turns: [{ calls: [pay("ada")] }, { text: "done" }] });
    const few = `${all} @id("few") forbid (principal, action == Action::"tool/pay", resource) when { context.history.payments > 99 };`;
    await world.activate(few, counted);
    await world.work({ remote: point.options });
    const slow = await world.start();
    await asked;
    await untilNoTransaction(world);
    expect(await world.closed(await world.start())).toMatchObject({ status: "completed" });
    expect(await effects(world, "pay")).toHaveLength(1);
    release();
    expect(await world.closed(slow)).toMatchObject({ status: "completed" });
    expect(await effects(world, "pay")).toHaveLength(1);
    const [denied, ...others] = await decisions(world, slow, "pay");
    expect(others).toEqual([]);
    expect(denied).toMatchObject({ outcome: "deny", code: "forbidden", policies: ["gate:remote"] });
    const about = point.asked.filter(({ action, resource }) => action.name === "tool/pay" && resource.id === slow);
    expect(about.map(({ context }) => context.history)).toEqual([{ payments: 0 }, { payments: 1 }]);
    expect(denied?.facts).toEqual(about[1]?.context);
  });

  test("is asked again about an answer that others' payments have overtaken", async () => {
    const { hold, asked, release } = held();
    const point = await decisionPoint(({ action, context }) => {
      if (action.name !== "response") return true;
      return context.history["payments"] === 0 ? hold() : false;
    });
    const world = await createWorld({ turns: [{ text: "done" }] });
    await world.activate(
      `${all} @id("few") forbid (principal, action == Action::"response", resource) when { context.history.payments > 99 };`,
      counted,
    );
    await world.work({ remote: point.options });
    const other = await world.register();
    const run = await world.start();
    await asked;
    await untilNoTransaction(world);
    await payIn(world, other);
    release();
    expect(await world.closed(run)).toMatchObject({ status: "failed", failure: { code: "response_denied" } });
    const [, answer] = await decisionsOf(world.pool, run);
    expect(answer).toMatchObject({ outcome: "deny", policies: ["gate:remote"], facts: { history: { payments: 1 } } });
  });

  test("is asked again about an answer that people have approved, and its denial leaves their approval unused", async () => {
    const point = await decisionPoint(() => true);
    const world = await createWorld({ turns: [{ text: "done" }] });
    await world.activate(`${all}
@id("read") @decision("require_approval") @group("treasury") @reason("a person reads it")
forbid (principal, action == Action::"response", resource);`);
    await world.work({ remote: point.options });
    const reviewer = await world.reviewer("rita");
    const approved = async (permits: boolean): Promise<RunId> => {
      point.decides(() => true);
      const run = await world.start();
      const request = await world.request(run);
      await reviewer.decide(request, "approve");
      const resumed = Promise.withResolvers<boolean>();
      point.decides(({ action }) => (action.name === "response" ? resumed.promise : true));
      const before = point.asked.length;
      await world.wake(run, request);
      await until(async () => (point.asked.length > before ? true : undefined));
      await untilNoTransaction(world);
      resumed.resolve(permits);
      return run;
    };
    expect(await world.closed(await approved(true))).toMatchObject({ status: "completed" });
    const denied = await approved(false);
    expect(await world.closed(denied)).toMatchObject({ status: "failed", failure: { code: "response_denied" } });
    const ofFirst = (await decisionsOf(world.pool, denied)).filter(({ seq }) => seq === 0);
    expect(ofFirst.map(({ outcome, policies }) => [outcome, ...policies])).toEqual([
      ["allow", "all"],
      ["require_approval", "read"],
      ["deny", "gate:remote"],
    ]);
    const { rows } = await world.pool.query("select consumed_at from approval_request where run = $1", [denied]);
    expect(rows).toEqual([{ consumed_at: null }]);
  });

  test("permits an approved call, and what happens meanwhile holds all the same: a freeze, an approval that runs out", async () => {
    const { hold, asked, release } = held();
    const point = await decisionPoint(hold);
    const world = await createWorld({ turns: [{ calls: [pay("ada", 6_000)] }, { text: "done" }] });
    await world.work();
    const run = await world.start();
    const request = await world.request(run);
    await (await world.reviewer("rita")).decide(request, "approve");
    let calls = 0;
    /** The step as a worker takes it up again, so long before the approval runs out. */
    const takenUp = async (msBefore: number): Promise<unknown> => {
      const at = () => new Date(request.expiresAt.getTime() - msBefore);
      const gated = createGate({
        ...{ pool: world.pool, keys: world.keys, cache: createRunCache(world.pool, world.keys), remote: point.options },
        ...{ environment: noFacts.environment, fastLane: false, priceOf, now: at, clock: at },
        logger: pino({ level: "silent" }),
      });
      const workflowExecution = { workflowId: run, runId: run };
      const info = { activityType: "tool", activityId: "a", attempt: 1, isLocal: true, workflowExecution };
      const context = { info, cancellationSignal: new AbortController().signal, heartbeat: () => undefined };
      const input = { run, seq: request.seq, model: 0, call: 0 };
      const act = async () => ({ status: "result", kind: "tool", result: { status: "ok", value: (calls += 1) } });
      return gated(context as unknown as Context).inbound?.execute?.({ args: [input], headers: {} }, act);
    };
    const frozen = takenUp(60_000);
    await asked;
    await untilNoTransaction(world);
    const target = { team: "testers", by: "op", reason: "stop" };
    await freeze(world.pool, { ...target, now: new Date() });
    release();
    expect(await frozen).toEqual({ status: "frozen" });
    await liftFreeze(world.pool, { ...target, now: new Date() });
    point.decides(async () => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      return true;
    });
    await expect(takenUp(1)).rejects.toMatchObject({ type: "already_recorded" });
    expect(calls).toBe(0);
    expect(await takenUp(60_000)).toEqual({ status: "done" });
    expect(calls).toBe(1);
  });
});

/** A payment of a run, past the gate. */
async function payIn(world: World, run: RunId, tx: Tx = world.pool): Promise<void> {
  await tx.query(
    `with placed as (
       insert into step (run, seq, kind, name, action, arguments, asked_by, call_index, call_id, state, decided_at)
       values ($1, 1, 'tool', 'pay', $2, $2, 0, 0, 'c0', 'intended', now()) returning run, seq)
     insert into effect (run, seq, idempotency_key, state, intended_at) select run, seq, run || '.1', 'intended', now() from placed`,
    [run, "0".repeat(64)],
  );
}

test("a candidate decides beside the policies in force, is counted, and changes nothing", async () => {
  const world = await createWorld({ policy: all, turns: [{ calls: [pay("ada"), look("box")] }, { text: "done" }] });
  const { document } = policySetOf([
    { name: "c.cedar", text: `${all}\n@id("never") forbid (principal, action == Action::"tool/pay", resource);` },
  ]);
  const { id } = await setShadow(world.pool, "testers", document as never, "op", new Date());
  await world.work();
  expect(await world.closed(await world.start())).toMatchObject({ status: "completed" });
  expect(await effects(world, "pay")).toHaveLength(1);
  const counts = await until(async () => {
    const found = await shadowCounts(world.pool, id ?? 0);
    return found.reduce((sum, { count }) => sum + count, 0) === 4 ? found : undefined;
  });
  const shown = counts.map(({ kind, policy, name, count }) => `${kind} ${policy} ${name} ${count}`);
  expect(shown.toSorted((a, b) => (a < b ? -1 : 1))).toMatchObject([
    "newly_denied never pay 1",
    expect.stringMatching(/^unchanged \S* look 1$/),
    expect.stringMatching(/^unchanged \S* scripted\/test 2$/),
  ]);
});
