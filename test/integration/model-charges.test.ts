import { expect, test } from "vitest";

import { replayRun, verifyRun } from "../../src/audit/index.ts";
import type { RunId } from "../../src/core/ids.ts";
import type { RunRecord } from "../../src/core/run-record.ts";
import { listBudgets, setBudget } from "../../src/registry/index.ts";
import { inTransaction } from "../../src/store/index.ts";
import { cancelRun } from "../../src/temporal/index.ts";
import { caller, serve } from "../support/served.ts";
import { createWorld, until } from "../support/world.ts";
import type { World } from "../support/world.ts";

type Fault = Record<string, unknown> & { readonly kind: string };

const failing = (name: string, fault: Fault) => ({ name, when: `^${name}$`, turns: [{ text: "hi", fault } as never] });

/** Each of what its one model step took: attempts, money, tokens that were counted, and what was only assumed. */
async function taken(world: World, run: RunId) {
  const { rows } = await world.pool.query<Record<"attempts" | "cost" | "tokens" | "assumed" | "tokensAssumed", number>>(
    `select attempts, cost_micro_usd as cost, input_tokens + output_tokens as tokens, assumed_micro_usd as assumed,
       assumed_tokens as "tokensAssumed" from step join effect using (run, seq) where run = $1 and seq = 0`,
    [run],
  );
  return rows[0]!;
}

async function hold(world: World, run: RunId) {
  const { rows } = await world.pool.query<{ money: number; tokens: number }>(
    "select held_micro_usd as money, held_tokens as tokens from step where run = $1 and seq = 0",
    [run],
  );
  return rows[0]!;
}

async function limit(world: World): Promise<void> {
  const budget = { team: "testers", agent: undefined, period: "month", approvers: "budget", by: "operator" } as const;
  const limits = { microUsd: 1_000_000, tokens: 10_000_000, calls: null };
  await inTransaction(world.pool, (tx) => setBudget(tx, { ...budget, limits, now: new Date() }));
}

test("every attempt that may have been paid for is charged: by its usage, or else with all that it held", async () => {
  const world = await createWorld({
    turns: [{ text: "hi" }],
    branches: [
      failing("cut", { kind: "truncated" }),
      failing("garbage", { kind: "malformed_json" }),
      failing("counted", { kind: "empty_choices" }),
      failing("uncounted", { kind: "missing_usage" }),
      failing("busy", { kind: "status", status: 429, headers: { "retry-after-ms": "1" } }),
      failing("overloaded", { kind: "status", status: 503, headers: { "retry-after-ms": "1" } }),
      failing("refused", { kind: "status", status: 400 }),
      failing("broken", { kind: "status", status: 500, first: 2 }),
    ],
  });
  await limit(world);
  await world.work();
  const { http, verifierKey } = await serve(world);
  const rita = await caller(world, http, "rita", ["treasury"]);
  const expected = {
    // How many attempts are charged with the hold, and whether any is with its usage.
    cut: { attempts: 5, holds: 5, counted: false },
    garbage: { attempts: 5, holds: 5, counted: false },
    counted: { attempts: 5, holds: 0, counted: true },
    uncounted: { attempts: 1, holds: 1, counted: false },
    busy: { attempts: 5, holds: 0, counted: false },
    overloaded: { attempts: 5, holds: 0, counted: false },
    refused: { attempts: 1, holds: 0, counted: false },
    broken: { attempts: 3, holds: 2, counted: true },
  };
  const runs = await Promise.all(
    Object.keys(expected).map(async (prompt) => ({ prompt, run: await world.start({ prompt }) })),
  );
  let [money, tokens] = [0, 0];
  for (const { prompt, run } of runs) {
    const wanted = expected[prompt as keyof typeof expected];
    const row = await world.closed(run, 90_000);
    const [found, held] = [await taken(world, run), await hold(world, run)];
    expect(held.money, prompt).toBeGreaterThan(0);
    const { attempts, assumed, tokensAssumed } = found;
    expect({ attempts, assumed, tokensAssumed }, prompt).toEqual({
      attempts: wanted.attempts,
      assumed: wanted.holds * held.money,
      tokensAssumed: wanted.holds * held.tokens,
    });
    expect([found.cost > assumed, found.tokens > 0], prompt).toEqual([wanted.counted, wanted.counted]);
    const spentTokens = found.tokens + tokensAssumed;
    expect(row, prompt).toMatchObject({ spentMicroUsd: found.cost, spentTokens, heldMicroUsd: 0, spentCalls: 1 });
    money += found.cost;
    tokens += spentTokens;
    // What the ledger and the record say of it is the same.
    const record = (await rita.send("GET", `/v1/runs/${run}/record`)) as RunRecord;
    const { code } = (await rita.send("GET", `/v1/bundles/${record.run.workflowBundle ?? ""}`)) as { code: string };
    const checks = [...(await replayRun(record, code)).checks, ...verifyRun(record, verifierKey).checks];
    expect(
      checks.flatMap(({ name, problems }) => (name === "seals" ? [] : problems)),
      prompt,
    ).toEqual([]);
  }
  const [budget] = await listBudgets(world.pool, "testers", new Date());
  expect(budget).toMatchObject({ spent: { microUsd: money, tokens }, held: { microUsd: 0, tokens: 0, calls: 0 } });
}, 120_000);

test("a run that is cancelled while its model is asked has used its budget: start, cancel, repeat is not free", async () => {
  const world = await createWorld({ turns: [{ text: "hi" }], branches: [failing("hang", { kind: "hang" })] });
  await limit(world);
  await world.work();
  const run = await world.start({ prompt: "hang" });
  await until(async () => ((await world.states(run))[0] === "scripted/test:intended" ? true : undefined));
  await cancelRun(world.client, run);
  const row = await world.closed(run);
  const held = await hold(world, run);
  expect(row).toMatchObject({
    status: "cancelled",
    failure: null,
    spentMicroUsd: held.money,
    spentTokens: held.tokens,
    heldMicroUsd: 0,
  });
  expect(await taken(world, run)).toMatchObject({ cost: held.money, assumed: held.money });
  const [budget] = await listBudgets(world.pool, "testers", new Date());
  expect(budget).toMatchObject({ spent: { microUsd: held.money, calls: 1 }, held: { microUsd: 0, calls: 0 } });
});

test("a further attempt is not made where what the one before may have cost leaves no room for it", async () => {
  // What a call holds is more than half of this.
  const world = await createWorld({
    turns: [{ text: "hi" }],
    branches: [failing("cut", { kind: "truncated" })],
    limits: { maxCostMicroUsd: 4_000 },
  });
  await world.work();
  const run = await world.start({ prompt: "cut" });
  const row = await world.closed(run);
  const held = await hold(world, run);
  expect(held.money).toBeGreaterThan(2_000);
  expect(row).toMatchObject({ status: "failed", failure: { code: "limit_cost" }, spentMicroUsd: held.money });
  // It was counted, and nothing was sent.
  expect(await taken(world, run)).toMatchObject({ attempts: 2, cost: held.money, assumed: held.money });
});
