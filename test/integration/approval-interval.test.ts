import { readFile } from "node:fs/promises";

import { expect, test } from "vitest";

import type { RunDetail } from "../../src/api/index.ts";
import { requestById } from "../../src/approvals/index.ts";
import { replayRun, verifyRun } from "../../src/audit/index.ts";
import type { Digest, RunId } from "../../src/core/ids.ts";
import type { RunRecord } from "../../src/core/run-record.ts";
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
  const [step] = await stepsOf(world.pool, run, 1);
  expect(await getPayload(world.pool, world.keys, step?.result as Digest)).toMatchObject({
    message: "it was approved, but not used before the approval expired",
  });
});

test.each([
  ["a policy was asked for", false],
  ["a policy and the budget were asked for", true],
])("a budget that is spent after the approval that %s: the run waits and asks again", async (_what, isShortBefore) => {
  const world = await createWorld({ turns: [{ calls: [pay(6_000)] }, { text: "done" }] });
  await world.work();
  const { http, verifierKey } = await serve(world);
  const grace = await caller(world, http, "grace", ["treasury", "budget"]);
  const budget = { team: "testers", agent: undefined, period: "total", approvers: "budget", by: "operator" } as const;
  const limitCalls = async (calls: number): Promise<void> => {
    const limits = { microUsd: null, tokens: null, calls };
    await inTransaction(world.pool, (tx) => setBudget(tx, { ...budget, limits, now: new Date() }));
  };
  // Its model call, and no room for the payment.
  if (isShortBefore) await limitCalls(1);
  const run = await world.start();
  const first = await world.request(run);
  expect(first.requirements.map(({ policy }) => policy)).toEqual(
    isShortBefore ? ["pay-needs-a-person", "budget:team/total"] : ["pay-needs-a-person"],
  );
  // As if others had taken what there was, and more.
  if (isShortBefore)
    await world.pool.query("update budget_use set spent_calls = spent_calls + 3 where team = 'testers'");
  else await limitCalls(1);
  await grace.decide(first.id);
  const second = await until(async () => {
    const found = await world.request(run);
    return found.id === first.id ? undefined : found;
  });
  expect(second).toMatchObject({ seq: 1, action: first.action });
  expect(second.requirements.map(({ policy }) => policy)).toEqual(["pay-needs-a-person", "budget:team/total"]);
  expect(await requestById(world.pool, first.id)).toMatchObject({ state: "cancelled", consumedAt: null });
  expect(await payments(world)).toBe(0);
  await grace.decide(second.id);
  // The call is made once, and the run's next model call has no room in turn.
  const more = await until(async () => {
    const found = await world.request(run);
    return found.seq === 2 ? found : undefined;
  });
  expect(await payments(world)).toBe(1);
  expect(await outcomes(world, run, 1)).toEqual(["require_approval", "require_approval", "allow"]);
  await grace.decide(more.id);
  expect((await world.closed(run)).status).toBe("completed");
  const record = (await grace.send("GET", `/v1/runs/${run}/record`)) as RunRecord;
  const { code } = (await grace.send("GET", `/v1/bundles/${record.run.workflowBundle ?? ""}`)) as { code: string };
  const checks = [...(await replayRun(record, code)).checks, ...verifyRun(record, verifierKey).checks];
  expect(checks.flatMap(({ name, problems }) => (name === "seals" ? [] : problems))).toEqual([]);
});
