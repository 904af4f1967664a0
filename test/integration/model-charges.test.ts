import { describe, expect, onTestFinished, test } from "vitest";

import type { ApprovalDetail } from "../../src/api/index.ts";
import { planFork, replayRun, verifyRun } from "../../src/audit/index.ts";
import type { RunId } from "../../src/core/ids.ts";
import type { RunRecord } from "../../src/core/run-record.ts";
import { arm, disarm } from "../../src/faults/index.ts";
import { listBudgets, setBudget } from "../../src/registry/index.ts";
import { inTransaction } from "../../src/store/index.ts";
import { cancelRun, startAgentRun } from "../../src/temporal/index.ts";
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

describe("a further attempt that has no room beside what those before it took", () => {
  type Caller = Awaited<ReturnType<typeof caller>>;

  /** Each run's model gives its first so many answers cut off; what a call may cost is more than half of what a run may. */
  async function atTheLimit(cut: Readonly<Record<string, number>>) {
    const world = await createWorld({
      turns: [{ text: "hi" }],
      branches: Object.entries(cut).map(([name, first]) => ({
        name,
        when: `^${name}$`,
        turns: [{ text: "hi", fault: { kind: "truncated", first } } as never],
      })),
      limits: { maxCostMicroUsd: 5_000 },
    });
    await world.work();
    const { http, verifierKey } = await serve(world);
    return { world, verifierKey, rita: await caller(world, http, "rita", ["budget", "finance"]) };
  }

  /** What replay and verification find wrong with a run, and its record. */
  async function audited(rita: Caller, run: RunId, verifierKey: string) {
    const record = (await rita.send("GET", `/v1/runs/${run}/record`)) as RunRecord;
    const { code } = (await rita.send("GET", `/v1/bundles/${record.run.workflowBundle ?? ""}`)) as { code: string };
    const checks = [...(await replayRun(record, code)).checks, ...verifyRun(record, verifierKey).checks];
    return { record, problems: checks.flatMap(({ name, problems }) => (name === "seals" ? [] : problems)) };
  }

  test(
    "waits for people in a new step: approved, it goes on as if the first had not been; declined, it ends",
    { timeout: 120_000 },
    async () => {
      const { world, verifierKey, rita } = await atTheLimit({ yes: 1, no: 1, last: 1 });
      const [yes, no] = [await world.start({ prompt: "yes" }), await world.start({ prompt: "no" })];
      const last = await world.register({ prompt: "last" });
      await world.pool.query("update run set max_steps = 1 where id = $1", [last]);
      await startAgentRun(world.client, { run: last, taskQueue: world.taskQueue });
      const asked = await world.request(yes, 60_000);
      expect(asked).toMatchObject({ seq: 1, requirements: [{ policy: "budget:run", group: "budget" }] });
      expect(await world.states(yes)).toEqual(["scripted/test:failed", "scripted/test:waiting"]);
      const held = await hold(world, yes);
      // What was not begun is not counted.
      expect(await taken(world, yes)).toMatchObject({ attempts: 1, cost: held.money, assumed: held.money });
      const shown = (await rita.send("GET", `/v1/approvals/${asked.id}`)) as ApprovalDetail;
      expect(shown.context.conversation.map(({ by }) => by)).toEqual(["operator", "user"]);
      expect(shown.rendered).toMatch(
        /\$0\.005, \$0\.00\d+ are spent and \$0\.00 held\n *approved, the run's limit grows by \$0\.005/,
      );
      await rita.decide(asked.id);
      await rita.decide((await world.request(no, 60_000)).id, "deny");
      expect(await world.closed(yes)).toMatchObject({ status: "completed", maxCostMicroUsd: 10_000, heldMicroUsd: 0 });
      expect(await world.closed(no)).toMatchObject({
        status: "failed",
        failure: { code: "limit_cost" },
        spentMicroUsd: (await hold(world, no)).money,
      });
      // Nobody is asked for what a run has no step left for.
      expect(await world.closed(last)).toMatchObject({ status: "failed", failure: { code: "limit_steps" }, steps: 1 });
      expect((await audited(rita, last, verifierKey)).problems).toEqual([]);
      for (const run of [yes, no]) {
        const { record, problems } = await audited(rita, run, verifierKey);
        expect(problems).toEqual([]);
        const [first, second] = record.steps;
        expect(first).toMatchObject({ state: "failed", code: "no_room", result: null });
        expect(second!.arguments).toBe(first!.arguments);
      }
      const { record } = await audited(rita, yes, verifierKey);
      expect(planFork(record, { at: 1, maxCostMicroUsd: 1 }).kept).toHaveLength(1);
      const told = ({ steps, ...rest }: RunRecord, change: object): RunRecord => ({
        ...rest,
        steps: steps.map((step) => (step.seq === 0 ? { ...step, ...change } : step)),
      });
      const joined = (changed: RunRecord) => verifyRun(changed, verifierKey).checks.flatMap(({ problems }) => problems);
      expect(joined(told(record, { code: null }))).toContain(
        "step 0: `code` is `no_room` in the ledger, `null` in the record",
      );
      expect(joined(told(record, { kind: "tool" }))).toContain(
        "step 0: `code` is `no_room` in the ledger, `null` in the record",
      );
    },
  );

  test(
    "asks each time what was given is used up, every budget that is short, and ends when it is cancelled meanwhile",
    { timeout: 120_000 },
    async () => {
      const { world, verifierKey, rita } = await atTheLimit({ known: 1, twice: 2 });
      const known = await world.start({ prompt: "known" });
      await cancelRun(world.client, (await world.request(known, 60_000)).run);
      const row = await world.closed(known);
      const held = await hold(world, known);
      expect(row).toMatchObject({ status: "cancelled", spentTokens: held.tokens, heldMicroUsd: 0 });
      const limits = { microUsd: null, tokens: row.spentTokens + Math.ceil(1.5 * held.tokens), calls: null };
      const budget = {
        team: "testers",
        agent: undefined,
        period: "month",
        approvers: "finance",
        by: "operator",
      } as const;
      await inTransaction(world.pool, (tx) => setBudget(tx, { ...budget, limits }));
      // The worker fails between the record of that and its answer to the workflow: the next attempt answers from the record.
      arm([{ point: "activity.end", hit: 2, kind: "do-then-throw" }], undefined);
      onTestFinished(disarm);
      const run = await world.start({ prompt: "twice" });
      const policiesOf = (request: { requirements: readonly { policy: string }[] }) =>
        request.requirements.map(({ policy }) => policy);
      const first = await world.request(run, 60_000);
      expect([first.seq, policiesOf(first)]).toEqual([1, ["budget:run", "budget:team/month"]]);
      await rita.decide(first.id);
      // The run was given its limit again, the team what the step might take: that is used up by its own first attempt.
      const second = await until(async () => {
        const found = await world.request(run, 60_000);
        return found.id === first.id ? undefined : found;
      }, 60_000);
      expect([second.seq, policiesOf(second)]).toEqual([2, ["budget:team/month"]]);
      await rita.decide(second.id);
      expect(await world.closed(run)).toMatchObject({ status: "completed", heldMicroUsd: 0, spentCalls: 3 });
      expect(await world.states(run)).toEqual(["scripted/test:failed", "scripted/test:failed", "scripted/test:done"]);
      for (const one of [known, run]) expect((await audited(rita, one, verifierKey)).problems).toEqual([]);
    },
  );
});
