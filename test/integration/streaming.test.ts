import { expect, test } from "vitest";
import { listenForDeltas, renewWatch } from "../../src/store/index.ts";
import type { WatchDelta } from "../../src/store/index.ts";
import { fetchHistories, startAgentRun } from "../../src/temporal/index.ts";
import { createWorld } from "../support/world.ts";

test("a watcher reads the answer as it is made, beside the history, and nobody publishes to an empty room", async () => {
  const text = "The quick brown fox jumps over the lazy dog. ".repeat(8).trim();
  const world = await createWorld({ turns: [{ text, delayMs: 20 }] });
  await world.work();
  const seen: WatchDelta[] = [];
  const listener = await listenForDeltas(world.databaseUrl, (delta) => void seen.push(delta));
  try {
    const unwatched = await world.start();
    await world.closed(unwatched);
    expect(seen).toEqual([]);

    const run = await world.register();
    await renewWatch(world.pool, run, new Date());
    await startAgentRun(world.client, { run, taskQueue: world.taskQueue });
    const row = await world.closed(run);
    // The last piece may still be on its way when the run closes.
    await expect.poll(() => seen.map((delta) => delta.text).join("")).toBe(text);
    expect(seen.length).toBeGreaterThan(1);
    expect(new Set(seen.map((delta) => `${delta.run} ${delta.seq}`))).toEqual(new Set([`${run} 0`]));
    const histories = await fetchHistories(world.client, run, row.temporalRunId!);
    expect(JSON.stringify(histories)).not.toContain(Buffer.from("quick brown").toString("base64").slice(2, 10));
    expect(Buffer.from(JSON.stringify(histories)).toString()).not.toContain("quick brown");
  } finally {
    await listener.stop();
  }
});
