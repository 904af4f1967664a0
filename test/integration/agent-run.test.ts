import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { listRequests } from "../../src/approvals/index.ts";
import { decisionsOf, getPayload, runById, stepsOf } from "../../src/store/index.ts";
import type { Digest, RunId } from "../../src/core/ids.ts";
import { cancelRun, queryRunState } from "../../src/temporal/index.ts";
import { createWorld, until } from "../support/world.ts";
import type { World } from "../support/world.ts";

const say = (text: string) => ({ text });
const call = (tool: string, args: Record<string, unknown>) => ({ tool, arguments: args as Record<string, string> });
const pay = (amount_cents: number) => ({ calls: [{ tool: "pay", arguments: { to: "ada", amount_cents } }] });

async function effects(world: World, word: string): Promise<number> {
  const text = await readFile(world.effects, "utf8").catch(() => "");
  return text.split("\n").filter((line) => line.startsWith(`${word} `)).length;
}

async function result(world: World, run: RunId, seq: number): Promise<unknown> {
  const step = (await stepsOf(world.pool, run, seq))[0];
  return getPayload(world.pool, world.keys, step?.result as Digest);
}

test("parallel calls, failures and nonsense of the model each end in a recorded step, and the model is told", async () => {
  const world = await createWorld({
    turns: [
      {
        calls: [
          call("look", { thing: "box" }),
          call("look", { thing: "nothing" }),
          call("pay", { to: "ada", amount_cents: 100 }),
          call("invented", {}),
          { tool: "look", argumentsText: "{not json" },
          call("look", { thing: 7 }),
        ],
      },
      say("done"),
    ],
  });
  await world.work();
  const run = await world.start();
  const row = await world.closed(run);
  expect(row).toMatchObject({ status: "completed", heldMicroUsd: 0, failure: null });
  expect(await world.states(run)).toEqual([
    "scripted/test:done",
    "look:done",
    "look:failed",
    "pay:done",
    "invented:denied",
    "look:denied",
    "look:denied",
    "scripted/test:done",
  ]);
  expect(await effects(world, "pay")).toBe(1);
  expect(await result(world, run, 4)).toMatchObject({ status: "denied", code: "unknown_tool" });
  expect(await result(world, run, 5)).toMatchObject({ status: "denied", code: "invalid_arguments" });
  const steps = await stepsOf(world.pool, run);
  expect(row.spentMicroUsd).toBe(steps.reduce((sum, step) => sum + step.costMicroUsd, 0));
  expect(row.spentMicroUsd).toBeGreaterThan(0);
  expect(await getPayload(world.pool, world.keys, row.result!)).toEqual({ text: "done" });
});

test("what the policy holds back waits for a signed approval, then happens once", async () => {
  const world = await createWorld({ turns: [pay(6_000), say("done")] });
  await world.work();
  const grace = await world.reviewer("grace");
  const run = await world.start();
  const request = await world.request(run);
  expect(await effects(world, "pay")).toBe(0);
  // A signal says nothing: anybody who reaches Temporal can send one.
  await world.wake(run, request);
  await world.wake(run, request);
  await until(async () => ((await queryRunState(world.client, run)).phase === "waiting" ? true : undefined));
  expect(await effects(world, "pay")).toBe(0);
  await grace.decide(request, "approve");
  await world.wake(run, request);
  expect((await world.closed(run)).status).toBe("completed");
  expect(await effects(world, "pay")).toBe(1);
  expect((await decisionsOf(world.pool, run)).filter((one) => one.seq === 1).map((one) => one.outcome)).toEqual([
    "require_approval",
    "allow",
  ]);
});

test.each([
  ["denied by a reviewer", 6_000, "declined", "a reviewer declined: too much"],
  ["over the policy's limit", 60_000, "forbidden", "payments over 500 are never made"],
])("a payment %s has no effect, and the agent reads why", async (_, amount, code, message) => {
  const world = await createWorld({ turns: [pay(amount), say("sorry")] });
  await world.work();
  const grace = await world.reviewer("grace");
  const run = await world.start();
  if (code === "declined") {
    const request = await world.request(run);
    await grace.decide(request, "deny", "too much");
    await world.wake(run, request);
  }
  expect((await world.closed(run)).status).toBe("completed");
  expect(await effects(world, "pay")).toBe(0);
  expect(await result(world, run, 1)).toEqual({ status: "denied", code, message });
});

test("an approval that nobody gives expires, and the run goes on without it", async () => {
  const policy = `@id("all") permit(principal, action, resource);
    @id("ask") @decision("require_approval") @group("treasury") @expires("1m") @reason("ask") forbid(principal, action == Action::"tool/pay", resource);`;
  const world = await createWorld({ policy, turns: [pay(1), say("done")] });
  // The gate's clock is what counts: two minutes ahead, the request has expired when the workflow wakes.
  let ahead = 0;
  await world.work({ now: () => new Date(Date.now() + ahead) });
  const run = await world.start();
  const request = await world.request(run);
  ahead = 120_000;
  await world.wake(run, request);
  expect((await world.closed(run)).status).toBe("completed");
  expect(await result(world, run, 1)).toMatchObject({ code: "approval_expired" });
  expect(await effects(world, "pay")).toBe(0);
});

test("a policy that changed since the approval stops the call", async () => {
  const world = await createWorld({ turns: [pay(6_000), say("done")] });
  await world.work();
  const grace = await world.reviewer("grace");
  const run = await world.start();
  const request = await world.request(run);
  await grace.decide(request, "approve");
  await world.activate(`@id("all") permit(principal, action, resource);
    @id("never") @reason("payments are stopped") forbid(principal, action == Action::"tool/pay", resource);`);
  await world.wake(run, request);
  await world.closed(run);
  expect(await effects(world, "pay")).toBe(0);
  expect(await result(world, run, 1)).toEqual({ status: "denied", code: "forbidden", message: "payments are stopped" });
});

test.each([
  ["steps", { maxSteps: 3 }, "limit_steps"],
  ["wall clock", { maxWallClockMs: 1_000 }, "limit_wall_clock"],
])("an endless loop ends at the limit of %s", async (_, limits, code) => {
  const world = await createWorld({
    limits,
    turns: [{ calls: [call("look", { thing: "box" })], repeat: true, delayMs: 200 }],
  });
  await world.work();
  const run = await world.start();
  expect(await world.closed(run)).toMatchObject({ status: "failed", failure: { code }, heldMicroUsd: 0 });
});

test("a run that has spent its limit waits for more: given, it goes on and waits again; refused, it ends", async () => {
  const world = await createWorld({
    limits: { maxCostMicroUsd: 2_000 },
    turns: [{ calls: [call("look", { thing: "box" })], repeat: true, delayMs: 20 }],
  });
  await world.work();
  const owner = await world.reviewer("owner", ["budget"]);
  const run = await world.start();
  const first = await world.request(run);
  expect(first.requirements).toMatchObject([{ policy: "budget:run", group: "budget", quorum: 1 }]);
  await owner.decide(first, "approve");
  await world.wake(run, first);
  const second = await until(async () => {
    const request = await world.request(run);
    return request.id === first.id ? undefined : request;
  });
  expect(second.seq).toBeGreaterThan(first.seq);
  const row = await runById(world.pool, run);
  expect(row?.maxCostMicroUsd).toBeGreaterThanOrEqual(4_000);
  await owner.decide(second, "deny", "enough");
  await world.wake(run, second);
  expect(await world.closed(run)).toMatchObject({ status: "failed", failure: { code: "limit_cost" }, heldMicroUsd: 0 });
});

test.each([
  ["tokens", { maxTokens: 2_500 }, "tokens"],
  ["calls", { maxCalls: 3 }, "calls"],
] as const)(
  "a run that has used up its %s waits for more, and goes on where it is given",
  async (_what, limits, unit) => {
    const world = await createWorld({
      limits,
      turns: [...Array.from({ length: 4 }, () => ({ calls: [call("look", { thing: "box" })] })), say("done")],
    });
    await world.work();
    const owner = await world.reviewer("owner", ["budget"]);
    const run = await world.start();
    const request = await world.request(run);
    expect(request.requirements).toMatchObject([{ policy: "budget:run", group: "budget", quorum: 1 }]);
    const shown = (await getPayload(world.pool, world.keys, request.rendered)) as string;
    expect(shown).toMatch(new RegExp(`approved, the run's limit grows by \\d+ ${unit}\n?$`));
    for (let next = request; ;) {
      await owner.decide(next, "approve");
      await world.wake(run, next);
      const later = await until(async () => {
        const row = await runById(world.pool, run);
        if (row?.closedAt !== null) return "closed" as const;
        return (await listRequests(world.pool, { run, state: "pending", limit: 1 }))[0];
      });
      if (later === "closed") break;
      next = later;
    }
    const row = await world.closed(run);
    expect(row.status).toBe("completed");
    const steps = await stepsOf(world.pool, run);
    expect(row.spentCalls).toBe(steps.length);
    expect(row.spentTokens).toBe(steps.reduce((sum, step) => sum + step.inputTokens + step.outputTokens, 0));
    expect(row.maxTokens ?? row.maxCalls).toBeGreaterThan(Object.values(limits)[0] ?? 0);
    // Who gives room for a call has not looked at the call.
    const decided = await decisionsOf(world.pool, run);
    expect(decided.map(({ facts }) => [facts.sameNameApproved, facts.approvals > 0]).at(-1)).toEqual([0, true]);
    expect(decided.some(({ facts }) => facts.sameNameApproved !== 0)).toBe(false);
  },
);

test.each([
  ["no price", { prices: () => undefined }, [say("hi")], "model_denied", 0],
  [
    "429 for ever",
    {},
    [{ text: "hi", fault: { kind: "status", status: 429, headers: { "retry-after-ms": "1" } } }],
    "model_unavailable",
    0,
  ],
  ["400", {}, [{ text: "hi", fault: { kind: "status", status: 400 } }], "model_unavailable", 0],
] as const)("a model with %s fails the run with a code, and holds no money", async (_, options, turns, code, cost) => {
  const world = await createWorld({ ...options, turns: turns as never });
  await world.work();
  const run = await world.start();
  expect(await world.closed(run, 60_000)).toMatchObject({
    status: "failed",
    failure: { code },
    spentMicroUsd: cost,
    heldMicroUsd: 0,
  });
});

test("a model that recovers after 500 and 429 is asked again, and the run completes", async () => {
  const world = await createWorld({
    turns: [{ text: "hi", fault: { kind: "status", status: 500, first: 2 } } as never],
  });
  await world.work();
  const run = await world.start();
  expect((await world.closed(run)).status).toBe("completed");
  const { rows } = await world.pool.query<{ attempts: number }>("select attempts from effect where run = $1", [run]);
  expect(rows).toEqual([{ attempts: 3 }]);
});

const output = {
  type: "object",
  properties: { ok: { type: "boolean" } },
  required: ["ok"],
  additionalProperties: false,
};

test("an answer that does not fit the output schema gets one repair turn", async () => {
  const world = await createWorld({ output, turns: [say("not json"), { json: { ok: true } }] });
  await world.work();
  const run = await world.start();
  const row = await world.closed(run);
  expect(row.status).toBe("completed");
  expect(await getPayload(world.pool, world.keys, row.result!)).toEqual({ value: { ok: true } });
});

test("a second answer that does not fit fails the run", async () => {
  const world = await createWorld({
    output,
    turns: [say("not json"), { json: { ok: "yes" } }, { json: { ok: true } }],
  });
  await world.work();
  const run = await world.start();
  expect(await world.closed(run)).toMatchObject({
    status: "failed",
    failure: { code: "invalid_output" },
    result: null,
  });
});

test("a tool that breaks half-way and can promise nothing is never tried again", async () => {
  const world = await createWorld({ turns: [{ calls: [call("shout", { text: "hey", break: true })] }, say("done")] });
  await world.work();
  const run = await world.start();
  expect(await world.unknown(run)).toMatchObject({ seq: 1, name: "shout", state: "open" });
  await cancelRun(world.client, run);
  expect(await world.closed(run)).toMatchObject({ status: "cancelled" });
  expect(await effects(world, "shout")).toBe(1);
  expect(await world.states(run)).toContain("shout:unknown");
  expect(await world.unknown(run)).toMatchObject({ state: "cancelled" });
});

test("a cancelled run ends its steps, cancels its requests and is closed", async () => {
  const world = await createWorld({ turns: [pay(6_000), say("done")] });
  await world.work();
  const run = await world.start();
  const request = await world.request(run);
  await cancelRun(world.client, run);
  expect(await world.closed(run)).toMatchObject({ status: "cancelled" });
  const { rows } = await world.pool.query<{ state: string }>("select state from approval_request where id = $1", [
    request.id,
  ]);
  expect(rows).toEqual([{ state: "cancelled" }]);
  expect(await effects(world, "pay")).toBe(0);
});
