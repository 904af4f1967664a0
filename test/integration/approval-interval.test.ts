import { readFile } from "node:fs/promises";

import { expect, test } from "vitest";

import type { RunDetail } from "../../src/api/index.ts";
import { requestById } from "../../src/approvals/index.ts";
import type { Digest, RunId } from "../../src/core/ids.ts";
import { freeze, liftFreeze, setBudget } from "../../src/registry/index.ts";
import { decisionsOf, getPayload, inTransaction, stepsOf } from "../../src/store/index.ts";
import { caller, serve } from "../support/served.ts";
import { createWorld, until } from "../support/world.ts";
import type { World } from "../support/world.ts";

/**
 * Between an approval and its use the world goes on. A revoked key is in approval-attacks.test.ts, a changed policy in agent-run.test.ts.
 */
const pay = (amount_cents: number, to = "ada") => ({ tool: "pay", arguments: { to, amount_cents } });

async function payments(world: World): Promise<number> {
  const text = await readFile(world.effects, "utf8").catch(() => "");
  return (text.match(/^pay /gm) ?? []).length;
}

async function outcomes(world: World, run: RunId, seq: number): Promise<readonly string[]> {
  const decisions = (await decisionsOf(world.pool, run)).filter((one) => one.seq === seq);
  return decisions.map(({ outcome, code }) => [outcome, code].filter((part) => part !== null).join(" "));
}

test("a freeze after the approval holds the call and says so; lifted, the same approval lets it happen once", async () => {
  const world = await createWorld({ turns: [{ calls: [pay(6_000)] }, { text: "done" }] });
  await world.work();
  const { http } = await serve(world);
  const grace = await caller(world, http, "grace", ["treasury"]);
  const run = await world.start();
  const request = await world.request(run);
  const show = async () => (await grace.send("GET", `/v1/runs/${run}`)) as RunDetail;
  const by = { by: "operator", now: new Date() };
  // Neither is the run's: another agent of the team, and a tool that it does not have.
  await freeze(world.pool, { team: "testers", agent: "other", reason: "x", ...by });
  await freeze(world.pool, { tool: "wire", reason: "x", ...by });
  expect((await show()).freezes).toEqual([]);
  await freeze(world.pool, { tool: "pay", reason: "incident 7", ...by });
  // A freeze holds calls, not people: the decision is taken.
  expect(await grace.decide(request.id)).toMatchObject({ approval: { state: "approved" } });
  await until(async () => {
    const { raw } = await world.client.workflow.getHandle(run).describe();
    const waits = (raw.pendingActivities ?? []).filter(({ activityType }) => activityType?.name === "awaitThaw");
    return waits.length > 0 ? true : undefined;
  });
  expect(await show()).toMatchObject({
    run: { status: "running" },
    state: { phase: "waiting" },
    freezes: [{ team: null, agent: null, tool: "pay", reason: "incident 7", by: "operator" }],
    approvals: [{ id: request.id, state: "approved" }],
  });
  expect(await outcomes(world, run, 1)).toEqual(["require_approval"]);
  expect(await payments(world)).toBe(0);
  await liftFreeze(world.pool, { tool: "pay", reason: "over", ...by });
  expect((await world.closed(run)).status).toBe("completed");
  expect(await show()).toMatchObject({ freezes: [], approvals: [{ id: request.id, state: "consumed" }] });
  expect(await outcomes(world, run, 1)).toEqual(["require_approval", "allow"]);
  expect(await payments(world)).toBe(1);
});

test("an approval that runs out while the call is frozen lets nothing happen when it is lifted", async () => {
  const world = await createWorld({ turns: [{ calls: [pay(6_000)] }, { text: "done" }] });
  let ahead = 0;
  await world.work({ now: () => new Date(Date.now() + ahead) });
  const grace = await world.reviewer("grace");
  const run = await world.start();
  const request = await world.request(run);
  const target = { tool: "pay", reason: "incident 7", by: "operator", now: new Date() };
  await freeze(world.pool, target);
  await grace.decide(request, "approve");
  ahead = 3_600_000;
  await liftFreeze(world.pool, target);
  await world.wake(run, request);
  expect((await world.closed(run)).status).toBe("completed");
  expect(await outcomes(world, run, 1)).toEqual(["require_approval", "deny approval_expired"]);
  expect(await payments(world)).toBe(0);
});

test("a budget that is spent after the approval stops the call and is named; what was approved is not used", async () => {
  const world = await createWorld({ turns: [{ calls: [pay(6_000)] }, { text: "done" }] });
  await world.work();
  const { http } = await serve(world);
  const grace = await caller(world, http, "grace", ["treasury"]);
  const [spender, run] = [await world.start(), await world.start()];
  const [first, second] = [await world.request(spender), await world.request(run)];
  // Two model calls so far, and room for one payment and the answer after it.
  const budget = { team: "testers", agent: undefined, period: "total", approvers: "budget", by: "operator" } as const;
  const limits = { microUsd: null, tokens: null, calls: 4 };
  await inTransaction(world.pool, (tx) => setBudget(tx, { ...budget, limits, now: new Date() }));
  await grace.decide(first.id);
  expect((await world.closed(spender)).status).toBe("completed");
  expect(await payments(world)).toBe(1);
  await grace.decide(second.id);
  const told = await until(async () => {
    const [step] = await stepsOf(world.pool, run, 1);
    return step?.state === "denied" ? getPayload(world.pool, world.keys, step.result as Digest) : undefined;
  });
  expect(told).toMatchObject({
    status: "denied",
    code: "invalid_grant",
    message: expect.stringMatching(
      /^since the approval, the team's budget is used up: .*of 4 calls, 4 calls are spent/,
    ),
  });
  expect(await payments(world)).toBe(1);
  expect(await requestById(world.pool, second.id)).toMatchObject({ state: "approved", consumedAt: null });
  // The run itself goes on as any that has no room: its next model call asks for more.
  const more = await world.request(run);
  expect(more).toMatchObject({ seq: 2, requirements: [{ policy: "budget:team/total", group: "budget" }] });
  const shown = (await grace.send("GET", `/v1/runs/${run}`)) as RunDetail;
  expect(shown.decisions.filter(({ seq }) => seq === 1)).toMatchObject([
    { outcome: "require_approval" },
    { outcome: "deny", code: "invalid_grant", approval: second.id },
  ]);
  expect(shown.steps.find(({ seq }) => seq === 1)?.result).toEqual(told);
});
