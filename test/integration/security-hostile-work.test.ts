import { readFile } from "node:fs/promises";

import { expect, test } from "vitest";

import type { ModelResult } from "../../src/core/transcript.ts";
import { cancelRun } from "../../src/temporal/index.ts";
import { decisionsOf, stepsOf } from "../../src/store/index.ts";
import { attack } from "../support/attack.ts";
import { createWorld } from "../support/world.ts";
import type { World } from "../support/world.ts";

const usage = { input: 10, cachedInput: 0, output: 10, reasoning: 0 };
const look = { id: "c1", name: "look", arguments: '{"thing":"box"}' };
const calls = (...toolCalls: ModelResult["toolCalls"][number][]): ModelResult => ({
  content: "",
  toolCalls,
  finishReason: "tool_calls",
});
const say = (content: string): ModelResult => ({ content, toolCalls: [], finishReason: "stop" });

/** A worker whose model server answers anything that the protocol can carry. */
async function withAnswers(world: World, answers: readonly (ModelResult & { usage?: typeof usage })[]) {
  let asked = 0;
  await world.work({
    provider: {
      complete: async () => {
        const answer = answers[Math.min(asked, answers.length - 1)]!;
        asked += 1;
        return { usage, ...answer };
      },
    },
  });
  return () => asked;
}

async function lines(world: World, word: string): Promise<readonly string[]> {
  const text = await readFile(world.effects, "utf8").catch(() => "");
  return text.split("\n").filter((line) => line.startsWith(`${word} `));
}

test.each([
  ["a tool name with NUL", calls({ ...look, name: "lo\0ok" }), "completed", 2],
  ["a tool name cut in the middle of a character", calls({ ...look, name: `${"x".repeat(63)}😀` }), "completed", 2],
  ["arguments with half a character", calls({ ...look, arguments: '{"thing":"\ud83d"}' }), "failed", 1],
  ["text with half a character", say("\ud83d"), "failed", 1],
  ["a call id with NUL", calls({ ...look, id: "a\0b" }), "failed", 1],
  ["more tokens than an integer holds", { ...say("hi"), usage: { ...usage, input: 2 ** 40 } }, "failed", 1],
  ["text that is larger when it is kept", say("\u0001".repeat(2_000_000)), "failed", 1],
] as const)(
  "a model that answers with %s ends the step at once: it is not asked, and paid, again",
  async (_, first, status, times) => {
    const world = await createWorld({ turns: [{ text: "not played" }] });
    const asked = await withAnswers(world, [first, say("done")]);
    const run = await world.start();
    expect((await world.closed(run, 20_000)).status).toBe(status);
    expect(asked()).toBe(times);
  },
);

test.each([
  ["local", look],
  ["ordinary", { id: "c1", name: "pay", arguments: '{"to":"ada","amount_cents":100}' }],
])(
  "a step that the database refuses for good ends its run, and the run is closed: in the %s lane",
  async (_lane, call) => {
    const world = await createWorld({ turns: [{ text: "not played" }] });
    await world.pool.query(`create function refuse() returns trigger language plpgsql as $$
      begin raise exception 'refused' using errcode = '23514'; end $$;
    create trigger refuse before insert on decision for each row when (new.seq = 1) execute function refuse()`);
    await withAnswers(world, [calls(call), say("done")]);
    const run = await world.start();
    expect(await world.closed(run, 20_000)).toMatchObject({
      status: "failed",
      failure: { code: "internal" },
      heldMicroUsd: 0,
    });
  },
);

test("parallel calls cannot get past a policy that counts them", async () => {
  const world = await createWorld({
    turns: [
      { calls: Array.from({ length: 8 }, (__, i) => ({ tool: "pay", arguments: { to: `p${i}`, amount_cents: 100 } })) },
      { text: "done" },
    ],
    policy: `@id("all") permit(principal, action, resource);
      @id("twice") forbid(principal, action == Action::"tool/pay", resource) when { context.run.sameName >= 2 };`,
  });
  await Promise.all([world.work(), world.work()]);
  const runs = await Promise.all(Array.from({ length: 3 }, () => world.start()));
  for (const run of runs) {
    expect((await world.closed(run)).status).toBe("completed");
    const outcomes = (await decisionsOf(world.pool, run)).filter((one) => one.policies.includes("twice"));
    expect(outcomes).toHaveLength(6);
  }
  expect(await lines(world, "pay")).toHaveLength(6);
});

test("policies that do not fit the release of a run deny, and the run ends", async () => {
  const world = await createWorld({
    turns: [{ text: "hi" }],
    policy: `@id("all") permit(principal, action, resource);
      @id("misfit") forbid(principal, action == Action::"tool/pay", resource) when { context.input.amount_cents like "5*" };`,
  });
  await world.work();
  const run = await world.start();
  expect(await world.closed(run)).toMatchObject({ status: "failed", failure: { code: "model_denied" } });
  expect((await decisionsOf(world.pool, run)).map((one) => one.code)).toEqual(["undecidable"]);
});

test("a call that the model asked for once is made once, in however many steps a workflow asks for it", async () => {
  const world = await createWorld({
    turns: [{ calls: [{ tool: "pay", arguments: { to: "eve", amount_cents: 100 } }] }, { text: "done" }],
  });
  await world.work();
  const run = await world.register();
  const ends = (await attack(world, run, [
    { activity: "openRun", input: { run } },
    { activity: "model", input: { run, seq: 0 } },
    { activity: "tool", input: { run, seq: 1, model: 0, call: 0 } },
    { activity: "tool", input: { run, seq: 2, model: 0, call: 0 } },
    { activity: "tool", input: { run, seq: 9, model: 0, call: 0 } },
    { activity: "tool", input: { run, seq: 1, model: 0, call: 0 } },
    { activity: "model", input: { run, seq: 5 } },
    { activity: "closeRun", input: { run, status: "sideways" } },
    { activity: "closeRun", input: { run, status: "failed", failure: { code: "internal", message: "a\0b\ud83d" } } },
  ])) as unknown[];
  expect(ends.slice(2)).toEqual([
    { status: "done" },
    "invalid_step",
    "invalid_step",
    { status: "done" },
    "transcript_incomplete",
    "invalid_step",
    {},
  ]);
  expect(await lines(world, "pay")).toHaveLength(1);
  expect(await stepsOf(world.pool, run)).toHaveLength(2);
});

test("a run whose contents are gone can still be cancelled", async () => {
  const world = await createWorld({
    turns: [{ calls: [{ tool: "pay", arguments: { to: "ada", amount_cents: 6_000 } }] }, { text: "done" }],
  });
  const first = await world.work();
  const run = await world.start();
  await world.request(run);
  await first.stop();
  await world.pool.query("update payload set ciphertext = '\\x00'::bytea || ciphertext");
  await world.work();
  await cancelRun(world.client, run);
  expect(await world.closed(run)).toMatchObject({ status: "cancelled" });
});
