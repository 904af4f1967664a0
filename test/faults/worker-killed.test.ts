import { readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import type { TestContext } from "vitest";
import { wakeRun } from "../../src/temporal/index.ts";
import { spawnWorker } from "../support/worker-process.ts";
import { createWorld, until } from "../support/world.ts";
import type { World } from "../support/world.ts";

/** Four processes start at once. */
const startedWithinMs = 120_000;

type Turns = Parameters<typeof createWorld>[0]["turns"];

async function lines(world: World, word: string): Promise<readonly string[]> {
  const text = await readFile(world.effects, "utf8").catch(() => "");
  return text.split("\n").filter((line) => line.startsWith(`${word} `));
}

async function begun(world: World, word: string): Promise<true> {
  return until(async () => ((await lines(world, word)).length > 0 ? true : undefined), startedWithinMs);
}

/** A world in which workers that die are missed soon, and what starts one as a process. */
async function killable({ onTestFinished }: TestContext, turns: Turns, retrieval?: readonly []) {
  const world = await createWorld({
    turns,
    hasty: true,
    onTestFinished,
    ...(retrieval === undefined ? {} : { retrieval }),
  });
  const worker = async () => {
    const started = spawnWorker(await world.processOptions());
    onTestFinished(async () => {
      started.kill("SIGKILL");
      await started.ended;
    });
    return started;
  };
  return { world, worker };
}

// Each spends most of its time waiting until a worker is missed.
describe.concurrent("workers that go away in the middle of a call", () => {
  test("a worker killed in the middle of a payment loses nothing, and the payment happens once", async (context) => {
    const { world, worker } = await killable(context, [
      { calls: [{ tool: "look", arguments: { thing: "box" } }] },
      { calls: [{ tool: "pay", arguments: { to: "ada", amount_cents: 100, slow_ms: 4_000 } }] },
      { text: "done" },
    ]);
    const first = await worker();
    const run = await world.start();
    await begun(world, "begin");
    first.kill("SIGKILL");
    await first.ended;
    await worker();
    const row = await world.closed(run, 120_000);
    expect(row).toMatchObject({ status: "completed", heldMicroUsd: 0 });
    expect(await lines(world, "begin")).toHaveLength(2);
    expect(await lines(world, "pay")).toHaveLength(1);
    const { rows } = await world.pool.query("select n, outcome from decision where run = $1 and seq = 3", [run]);
    expect(rows).toEqual([{ n: 0, outcome: "allow" }]);
  });

  test("a worker killed in the middle of a retrieval: the source is asked again, and the run goes on with its documents", async (context) => {
    const turns = [
      { calls: [{ tool: "archive", arguments: { query: "slowly: accounts", limit: 1 } }] },
      { text: "done" },
    ];
    const { world, worker } = await killable(context, turns, []);
    const first = await worker();
    const run = await world.start();
    await begun(world, "seek");
    first.kill("SIGKILL");
    await first.ended;
    await worker();
    expect(await world.closed(run, 120_000)).toMatchObject({ status: "completed", steps: 3 });
    expect(await lines(world, "seek")).toHaveLength(2);
    const { rows } = await world.pool.query(
      "select kind, step.state, attempts from step join effect using (run, seq) where run = $1 and seq = 1",
      [run],
    );
    expect(rows).toEqual([{ kind: "retrieval", state: "done", attempts: 2 }]);
  });

  test("a worker killed in a call that can promise nothing: it is not repeated, and the run goes on when somebody has looked", async (context) => {
    const { world, worker } = await killable(context, [
      { calls: [{ tool: "shout", arguments: { text: "hey", slow_ms: 60_000 } }] },
      { text: "done" },
    ]);
    const first = await worker();
    const run = await world.start();
    await begun(world, "shout");
    first.kill("SIGKILL");
    await first.ended;
    await worker();
    const outcome = await world.unknown(run, 120_000);
    await (await world.reviewer("rita")).resolve(outcome, "happened", "it is on the wall");
    await wakeRun(world.client, run, outcome.id);
    expect(await world.closed(run, 60_000)).toMatchObject({ status: "completed", heldMicroUsd: 0 });
    expect(await lines(world, "shout")).toHaveLength(1);
  });

  test("a worker that is stopped, given up on, and wakes up again adds nothing to what the other one did", async (context) => {
    const { world, worker } = await killable(context, [
      { calls: [{ tool: "pay", arguments: { to: "ada", amount_cents: 100, slow_ms: 4_000 } }] },
      { text: "done" },
    ]);
    const zombie = await worker();
    const run = await world.start();
    await begun(world, "begin");
    zombie.kill("SIGSTOP");
    await worker();
    expect(await world.closed(run, 120_000)).toMatchObject({ status: "completed" });
    // It ends once the step that it had begun has.
    zombie.kill("SIGCONT");
    zombie.kill("SIGTERM");
    await zombie.ended;
    expect(await lines(world, "begin")).toHaveLength(2);
    expect(await lines(world, "pay")).toHaveLength(1);
    const { rows } = await world.pool.query("select state, attempts from effect where run = $1 and seq = 1", [run]);
    expect(rows).toEqual([{ state: "result", attempts: 2 }]);
  });
});
