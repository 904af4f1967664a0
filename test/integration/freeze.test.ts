import { readFile } from "node:fs/promises";

import { expect, test } from "vitest";

import type { RunId } from "../../src/core/ids.ts";
import { freeze, liftFreeze } from "../../src/registry/index.ts";
import type { FreezeTarget } from "../../src/registry/index.ts";
import { cancelRun, queryRunState } from "../../src/temporal/index.ts";
import { createWorld, until } from "../support/world.ts";
import type { World } from "../support/world.ts";

const by = { by: "operator", reason: "incident 7" };
const set = (world: World, target: FreezeTarget) => freeze(world.pool, { ...target, ...by, now: new Date() });
const lift = (world: World, target: FreezeTarget) => liftFreeze(world.pool, { ...target, ...by, now: new Date() });
const calls = [
  // Through a local activity, and through an ordinary one.
  { tool: "look", arguments: { thing: "box" } },
  { tool: "pay", arguments: { to: "ada", amount_cents: 1 } },
];

/** Waits until Temporal has tried `count` waits of the run at least `attempts` times, and returns the length of its history. */
async function frozenFor(world: World, run: RunId, count: number, attempts: number): Promise<number> {
  return until(async () => {
    const { raw, historyLength } = await world.client.workflow.getHandle(run).describe();
    const waits = (raw.pendingActivities ?? []).filter(({ activityType }) => activityType?.name === "awaitThaw");
    const tried = waits.filter(({ attempt }) => (attempt ?? 0) >= attempts);
    return tried.length === count ? historyLength : undefined;
  });
}

test("a freeze neither uses up the run's time nor makes its history longer, in either lane, and the run goes on after it", async () => {
  const world = await createWorld({ turns: [{ calls }, { text: "done" }], limits: { maxWallClockMs: 9_000 } });
  await world.work();
  await set(world, { tool: "look" });
  await set(world, { tool: "pay" });
  const run = await world.start();
  const length = await frozenFor(world, run, 2, 2);
  // To the third attempt, the freeze alone lasts longer than the run may work.
  expect(await frozenFor(world, run, 2, 3)).toBe(length);
  expect(await world.states(run)).toEqual(["scripted/test:done"]);
  const { activeMs, phase } = await queryRunState(world.client, run);
  expect(activeMs).toBeLessThan(9_000);
  expect(phase).toBe("waiting");
  // One step is frozen still, and the other is not held up by it.
  await lift(world, { tool: "pay" });
  await until(async () => ((await world.states(run)).includes("pay:done") ? true : undefined));
  expect(await world.states(run)).not.toContain("look:done");
  await lift(world, { tool: "look" });
  expect(await world.closed(run)).toMatchObject({ status: "completed", failure: null });
  const effects = await readFile(world.effects, "utf8");
  expect(effects.match(/^(look|pay) /gm)).toEqual(["pay ", "look "]);
});

test("a frozen run is cancelled while it waits, before its model is asked and between its tools", async () => {
  const world = await createWorld({ turns: [{ calls }, { text: "done" }] });
  await world.work();
  await set(world, { tool: "look" });
  await set(world, { tool: "pay" });
  const amidst = await world.start();
  await frozenFor(world, amidst, 2, 2);
  await set(world, { team: "testers" });
  const before = await world.start();
  await frozenFor(world, before, 1, 2);
  for (const run of [amidst, before]) {
    await cancelRun(world.client, run);
    expect(await world.closed(run)).toMatchObject({ status: "cancelled", heldMicroUsd: 0 });
  }
  expect(await world.states(before)).toEqual([]);
  expect(await readFile(world.effects, "utf8").catch(() => "")).toBe("");
});
