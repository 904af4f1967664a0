import { readFile } from "node:fs/promises";
import { MockActivityEnvironment } from "@temporalio/testing";
import { pino } from "pino";
import { expect, test } from "vitest";
import { modelActivity } from "../../activities/index.ts";
import { createGate, createRunCache } from "../../src/gate/index.ts";
import { decisionsOf } from "../../src/store/index.ts";
import { attack } from "../support/attack.ts";
import { createWorld } from "../support/world.ts";

const unknownApproval = "apr_01ARZ3NDEKTSV4RRFFQ69G5FAV";

test("a foreign workflow cannot act for a run, open or close it, or send anything but step references", async () => {
  const world = await createWorld({ turns: [{ text: "hi" }] });
  await world.work();
  const run = await world.register();
  const ends = await attack(world, "somebody-else", [
    { activity: "model", input: { run, seq: 0 } },
    { activity: "tool", input: { run, seq: 0, model: 0, call: 0 } },
    { activity: "openRun", input: { run } },
    { activity: "closeRun", input: { run, status: "completed" } },
    { activity: "model", input: { run, seq: 0, messages: [{ role: "user", content: "pay" }] } },
    { activity: "tool", input: { name: "pay", arguments: { to: "eve", amount_cents: 1 } } },
    { activity: "retrieval", input: { run, seq: 0 } },
    { activity: "retrieval", input: { run, seq: 0, model: 0, call: 0 } },
    { activity: "notify", input: { run, seq: 0 } },
    { activity: "shell", input: "rm -rf /" },
  ]);
  expect(ends).toEqual([
    "foreign_run",
    "foreign_run",
    "foreign_run",
    "foreign_run",
    "invalid_step",
    "invalid_step",
    "invalid_step",
    "foreign_run",
    // Nothing else is registered on the worker; were it, the gate would refuse it: see below.
    "NotFoundError",
    "NotFoundError",
  ]);
  expect(await decisionsOf(world.pool, run)).toEqual([]);
});

test("a workflow that takes a run's name still gets no call that the model did not ask for, and no approval by claiming one", async () => {
  const world = await createWorld({
    turns: [{ calls: [{ tool: "pay", arguments: { to: "eve", amount_cents: 6_000 } }] }, { text: "done" }],
  });
  await world.work();
  const run = await world.register();
  const ends = await attack(world, run, [
    { activity: "model", input: { run, seq: 0 } },
    { activity: "openRun", input: { run } },
    { activity: "model", input: { run, seq: 0 } },
    { activity: "tool", input: { run, seq: 1, model: 0, call: 1 } },
    { activity: "tool", input: { run, seq: 1, model: 7, call: 0 } },
    { activity: "tool", input: { run, seq: 1, model: 0, call: 0, grant: unknownApproval } },
    { activity: "tool", input: { run, seq: 2, model: 0, call: 0 } },
    { activity: "tool", input: { run, seq: 2, model: 0, call: 0, grant: unknownApproval } },
  ]);
  expect(ends).toEqual([
    "run_not_open",
    expect.objectContaining({ maxWallClockMs: expect.any(Number) as number }),
    { status: "calls", lanes: ["ordinary"] },
    "invalid_step",
    "invalid_step",
    { status: "done" },
    expect.objectContaining({ status: "waiting" }),
    { status: "done" },
  ]);
  const decisions = await decisionsOf(world.pool, run);
  expect(decisions.map(({ seq, outcome, code }) => `${seq} ${outcome} ${code ?? ""}`.trim())).toEqual([
    "0 allow",
    "1 deny invalid_grant",
    "2 require_approval",
    "2 deny invalid_grant",
  ]);
  await expect(readFile(world.effects, "utf8")).rejects.toThrow("ENOENT");
});

test("a workflow that passes a retrieval off as a tool call, or a tool call as a retrieval, gets neither", async () => {
  const calls = [
    { tool: "shelf", arguments: { query: "accounts", limit: 1 } },
    { tool: "pay", arguments: { to: "eve", amount_cents: 1 } },
    { tool: "invented", arguments: {} },
  ];
  const world = await createWorld({ retrieval: [], turns: [{ calls }, { text: "done" }] });
  await world.work();
  const run = await world.register();
  const ask = (activity: string, call: number) => ({ activity, input: { run, seq: 1, model: 0, call } });
  const ends = await attack(world, run, [
    { activity: "openRun", input: { run } },
    { activity: "model", input: { run, seq: 0 } },
    ask("tool", 0),
    ask("retrieval", 1),
    ask("retrieval", 2),
    ask("retrieval", 0),
    // The same call once more, under another number.
    { activity: "retrieval", input: { run, seq: 2, model: 0, call: 0 } },
  ]);
  expect(ends).toEqual([
    expect.anything(),
    { status: "calls", lanes: ["local", "ordinary", "local"], retrievals: [0] },
    "invalid_step",
    "invalid_step",
    "invalid_step",
    { status: "done" },
    "invalid_step",
  ]);
  expect(await readFile(world.effects, "utf8")).toBe("seek accounts\n");
});

test("an activity that is not governed is refused, and one that is called around the gate refuses itself", async () => {
  const world = await createWorld({ turns: [{ text: "hi" }] });
  const { pool, keys } = world;
  const gate = createGate({
    pool,
    keys,
    cache: createRunCache(pool, keys),
    environment: { name: "test", region: "local" },
    priceOf: () => undefined,
    fastLane: true,
    now: () => new Date(),
    logger: pino({ level: "silent" }),
  });
  let ran = false;
  const raw = new MockActivityEnvironment({ activityType: "raw" }, { interceptors: [gate] });
  await expect(raw.run(async () => void (ran = true))).rejects.toMatchObject({
    type: "ungoverned_activity",
    nonRetryable: true,
  });
  expect(ran).toBe(false);
  const model = modelActivity({ complete: () => Promise.reject(new Error("asked")) }, () => undefined);
  await expect(model({ kind: "model" } as never)).rejects.toThrow("called around the gate");
});

test("a run that was closed before it was taken up is not opened again, and its record does not grow", async () => {
  const world = await createWorld({ turns: [{ text: "hi" }] });
  await world.work();
  const run = await world.register();
  await world.pool.query("update run set status = 'cancelled', closed_at = now() where id = $1", [run]);
  expect(
    await attack(world, run, [
      { activity: "openRun", input: { run } },
      { activity: "model", input: { run, seq: 0 } },
    ]),
  ).toEqual(["run_not_open", "run_not_open"]);
  const { rows } = await world.pool.query("select event from ledger_outbox where run = $1", [run]);
  expect(rows).toEqual([]);
});
