import { expect, test } from "vitest";
import { contextOf } from "../../src/server/approval-context.ts";
import { createWorld } from "../support/world.ts";

const call = (tool: string, args: Record<string, unknown>) => ({ tool, arguments: args as Record<string, string> });

test("a reviewer is told where values came from, what led to it, what asks for it, and what was said before", async () => {
  const world = await createWorld({
    turns: [
      { calls: [call("look", { thing: "mallory" })] },
      { text: "I pay \u202eyrollam", calls: [call("pay", { to: "mallory", amount_cents: 6000 })] },
      { text: "done" },
    ],
  });
  await world.work();
  const rita = await world.reviewer("rita");
  const first = await world.request(await world.start());
  await rita.decide(first, "deny", "no");
  const run = await world.start({ subject: { id: "c-7", email: "ann@example.com" } });
  const request = await world.request(run);
  const context = await contextOf(world.pool, world.keys, request);
  expect(context.sources).toEqual([
    { path: "to", value: "mallory", origin: "untrusted", places: ["untrusted result of step 1 (look)"] },
    { path: "amount_cents", value: "6000", origin: "derived", places: [] },
  ]);
  expect(context.flags).toContain("where it goes stands only in text that somebody else can write");
  expect(context.conversation.map(({ by, step, untrusted }) => [by, step, untrusted])).toEqual([
    ["operator", null, false],
    ["operator", null, false],
    ["user", null, false],
    ["model", 0, true],
    ["tool", 1, true],
    ["model", 2, true],
  ]);
  expect(context.conversation.at(-1)?.text).toBe(
    'I pay \\u{202e}yrollam\n→ pay {"to":"mallory","amount_cents":6000}'.replaceAll('"', '"'),
  );
  expect(context.policies).toEqual([{ policy: "pay-needs-a-person", reason: "payments over 50 need a person" }]);
  expect(context.similar).toMatchObject({
    states: { denied: 1 },
    reviewers: [{ reviewer: "rita", approved: 0, denied: 1 }],
    last: [{ id: first.id, state: "denied", reviewers: ["rita"] }],
  });
  expect(context.cost).toMatchObject({ steps: 4, maxSteps: 40, maxMicroUsd: 1_000_000 });
  // The first request is told nothing of what came after it.
  expect((await contextOf(world.pool, world.keys, first)).similar.last).toEqual([]);
});

test("of a call that a reviewer has changed, the values are those that are asked about, and what they changed is said to be theirs", async () => {
  const world = await createWorld({
    turns: [{ calls: [call("pay", { to: "ada", amount_cents: 6000 })] }, { text: "done" }],
  });
  await world.work();
  const run = await world.start();
  const first = await world.request(run);
  const args = { to: "ada", amount_cents: 6000 };
  const rita = await world.reviewer("rita");
  await rita.edit(first, world.actionOf(first, args), { to: "bob", amount_cents: 6000 }, "to bob");
  await world.wake(run, first);
  const second = await world.request(run);
  expect(second.editors).toEqual(["rita"]);
  const { sources, flags } = await contextOf(world.pool, world.keys, second);
  expect(sources).toEqual([
    { path: "amount_cents", value: "6000", origin: "derived", places: [] },
    { path: "to", value: "bob", origin: "derived", places: ["a change by rita"] },
  ]);
  expect(flags.join()).toContain("or a reviewer who changed the call");
  expect((await contextOf(world.pool, world.keys, first)).sources[0]).toMatchObject({ value: "ada", places: [] });
});
