import { readFile } from "node:fs/promises";

import { expect, onTestFinished, test } from "vitest";

import { listRequests } from "../../src/approvals/index.ts";
import { decisionsOf } from "../../src/store/index.ts";
import { attack } from "../support/attack.ts";
import { spawnWorker } from "../support/worker-process.ts";
import { createWorld, until } from "../support/world.ts";

const calls = Array.from({ length: 5 }, (_, index) => ({
  tool: "shout",
  arguments: { text: `${index}`, slow_ms: 300 },
}));
const policy = `@id("all") permit(principal, action, resource);
  @id("ask") @decision("require_approval") @group("treasury") @reason("ask") forbid(principal, action in Action::"tool", resource);`;

test("the same approvals at the gates of two worker processes at once let each call happen once", async () => {
  const world = await createWorld({ policy, turns: [{ calls }, { text: "done" }] });
  const options = await world.processOptions();
  const queues = [options.taskQueue, `${options.taskQueue}-other`] as const;
  for (const taskQueue of queues) {
    const worker = spawnWorker({ ...options, taskQueue });
    onTestFinished(async () => {
      worker.kill("SIGKILL");
      await worker.ended;
    });
  }
  const run = await world.register();
  const tools = calls.map((_, call) => ({ run, seq: call + 1, model: 0, call }));
  await attack(world, run, [
    { activity: "openRun", input: { run } },
    { activity: "model", input: { run, seq: 0 } },
    ...tools.map((input) => ({ activity: "tool", input })),
  ]);
  const grace = await world.reviewer("grace");
  const requests = await listRequests(world.pool, { run, limit: 10 });
  expect(requests).toHaveLength(calls.length);
  for (const request of requests) await grace.decide(request, "approve");

  // Both gates are held where they look at the first approval, and let go together.
  const holder = await world.pool.connect();
  onTestFinished(() => holder.release());
  await holder.query("begin");
  await holder.query("select from approval_request where run = $1 for update", [run]);
  const both = tools.flatMap((input) =>
    queues.map((taskQueue) => ({
      activity: "tool",
      input: { ...input, grant: requests.find(({ seq }) => seq === input.seq)?.id },
      taskQueue,
    })),
  );
  const ended = attack(world, run, both, true);
  await until(async () => {
    const { rows } = await world.pool.query<{ count: number }>(
      "select count(*)::int as count from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
    );
    return rows[0]?.count === 2 ? true : undefined;
  }, 60_000);
  await holder.query("commit");
  await ended;

  const lines = (await readFile(world.effects, "utf8")).trim().split("\n");
  expect(lines.toSorted()).toEqual(calls.map(({ arguments: { text } }) => `shout ${text}`));
  const allowed = (await decisionsOf(world.pool, run)).filter(({ seq, outcome }) => seq > 0 && outcome === "allow");
  expect(allowed.map(({ seq }) => seq)).toEqual(tools.map(({ seq }) => seq));
  // The gate that came second finds a call under way that is not its own, and cannot tell what becomes of it.
  const states = (await listRequests(world.pool, { run, limit: 10 })).map(({ state }) => state);
  expect(states.filter((state) => state !== "consumed" && state !== "outcome_unknown")).toEqual([]);
  expect(states).toHaveLength(calls.length);
  const { rows } = await world.pool.query<{ count: number }>(
    "select count(*)::int as count from ledger_outbox where event like '%approval.consumed%'",
  );
  expect(rows).toEqual([{ count: calls.length }]);
});
