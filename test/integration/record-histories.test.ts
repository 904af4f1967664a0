import { mkdir, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { cancelRun, fetchHistories, wakeRun } from "../../src/temporal/index.ts";
import { createWorld } from "../support/world.ts";
import type { World } from "../support/world.ts";
import type { RunId } from "../../src/core/ids.ts";

/** Raised where a scenario is new or changed: histories are added, and recorded one by one with `-t`. */
const version = "v3";
const folder = new URL("../replay/histories/", import.meta.url);
const root = fileURLToPath(new URL("../../", import.meta.url));

const look = { calls: [{ tool: "look", arguments: { thing: "box" } }] };
const pay = (amount_cents: number) => ({ calls: [{ tool: "pay", arguments: { to: "ada", amount_cents } }] });

/** Waits until Temporal has closed the workflow too, and returns its histories. */
async function historiesOf(world: World, run: RunId) {
  const row = await world.closed(run, 120_000);
  await world.client.workflow
    .getHandle(run)
    .result()
    .catch(() => undefined);
  return fetchHistories(world.client, run, row.temporalRunId!);
}

const scenarios: Readonly<Record<string, () => Promise<Awaited<ReturnType<typeof historiesOf>>>>> = {
  async "parallel-calls"() {
    const world = await createWorld({
      turns: [
        { calls: [...look.calls, ...pay(1).calls, ...pay(2).calls, { tool: "invented", arguments: {} }] },
        look,
        { text: "done" },
      ],
    });
    await world.work();
    return historiesOf(world, await world.start());
  },
  async approved() {
    const world = await createWorld({ turns: [look, pay(6_000), { text: "done" }] });
    await world.work();
    const grace = await world.reviewer("grace");
    const run = await world.start();
    const request = await world.request(run);
    await grace.decide(request, "approve");
    await world.wake(run, request);
    return historiesOf(world, run);
  },
  async cancelled() {
    const world = await createWorld({ turns: [pay(6_000), { text: "done" }] });
    await world.work();
    const run = await world.start();
    await world.request(run);
    await cancelRun(world.client, run);
    return historiesOf(world, run);
  },
  async repaired() {
    const output = { type: "object", properties: { ok: { type: "boolean" } }, required: ["ok"] };
    const world = await createWorld({ output, turns: [{ text: "no" }, { json: { ok: true } }] });
    await world.work();
    return historiesOf(world, await world.start());
  },
  async "answer-withheld"() {
    const policy = `@id("all") permit(principal, action, resource);
      @id("links") forbid(principal, action == Action::"response", resource) when { context.response.links.ungrounded > 0 };`;
    const text = "See https://nowhere.example/x.";
    const world = await createWorld({ policy, turns: [{ text }, { text }] });
    await world.work();
    return historiesOf(world, await world.start());
  },
  async "outcome-unknown"() {
    const world = await createWorld({
      turns: [{ calls: [{ tool: "shout", arguments: { text: "hey", break: true } }] }, { text: "done" }],
    });
    await world.work();
    const rita = await world.reviewer("rita");
    const run = await world.start();
    const outcome = await world.unknown(run);
    await rita.resolve(outcome, "happened", "heard it");
    await wakeRun(world.client, run, outcome.id);
    return historiesOf(world, run);
  },
  /** Calls and retrievals at once, in both lanes. */
  async retrieval() {
    const ask = (tool: string, query: string) => ({ tool, arguments: { query, limit: 2 } });
    const world = await createWorld({
      retrieval: [],
      turns: [
        { calls: [...look.calls, ask("shelf", "accounts"), ask("archive", "note"), ...pay(1).calls] },
        { calls: [ask("archive", "merger")] },
        { text: "done" },
      ],
    });
    await world.work();
    return historiesOf(world, await world.start());
  },
  /** The first answer is cut off, and what it may have cost leaves no room for another attempt. */
  async unanswered() {
    const cut = { text: "done", fault: { kind: "truncated", first: 1 } } as never;
    const world = await createWorld({ limits: { maxCostMicroUsd: 5_000 }, turns: [cut] });
    await world.work();
    const rita = await world.reviewer("rita", ["budget"]);
    const run = await world.start();
    const request = await world.request(run);
    await rita.decide(request, "approve");
    await world.wake(run, request);
    return historiesOf(world, run);
  },
  async "continued-as-new"() {
    const world = await createWorld({
      limits: { maxSteps: 1_000 },
      turns: [...Array.from({ length: 270 }, () => pay(1)), { text: "done" }],
    });
    await world.work();
    return historiesOf(world, await world.start());
  },
};

test.each(Object.keys(scenarios))(
  "a run `%s` has the histories that golden ones are made of",
  async (name) => {
    const histories = await scenarios[name]!();
    expect(histories.length).toBe(name === "continued-as-new" ? 2 : 1);
    if (process.env["RECORD_HISTORIES"] !== "1") return;
    await mkdir(folder, { recursive: true });
    for (const [index, { history }] of histories.entries()) {
      await writeFile(
        new URL(`${version}-${name}${index === 0 ? "" : `-${index}`}.json`, folder),
        // Stacks name the machine's paths.
        `${JSON.stringify(history).replaceAll(root, "")}\n`,
      );
    }
  },
  180_000,
);
