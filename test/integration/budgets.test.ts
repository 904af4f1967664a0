import { setTimeout as pause } from "node:timers/promises";
import { ulid } from "ulid";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import type { BudgetPeriod, Limits } from "../../src/core/budget.ts";
import { exhausted } from "../../src/core/budget.ts";
import { noFacts } from "../../src/core/decision.ts";
import { codeOf } from "../../src/core/errors.ts";
import type { ApprovalId, Digest, RunId } from "../../src/core/ids.ts";
import type { Json } from "../../src/core/json.ts";
import { budgetFacts, extendBudgets } from "../../src/gate/budgets/budgets.ts";
import { startFlow } from "../../src/gate/flow/flow.ts";
import type { RunContext } from "../../src/gate/governed-call.ts";
import { closeRun } from "../../src/gate/run/lifecycle.ts";
import { openRequest } from "../../src/approvals/index.ts";
import { lockRequest } from "../../src/approvals/requests.ts";
import { beginPaidAgain, noneSettled, settleAttempt } from "../../src/gate/budgets/attempts.ts";
import { noCharge } from "../../src/gate/budgets/charge.ts";
import type { Charge } from "../../src/gate/budgets/charge.ts";
import { outcomeEvent, settling, writeOutcome } from "../../src/gate/effects/outcome.ts";
import type { OutcomeToRecord } from "../../src/gate/effects/outcome.ts";
import { readStanding } from "../../src/gate/step/standing.ts";
import type { Standing } from "../../src/gate/step/standing.ts";
import type { ResolvedStep } from "../../src/gate/step/resolve.ts";
import { createRunCache } from "../../src/gate/run/cache.ts";
import { createDecisionWriter, writeDecision } from "../../src/gate/decision/write-decisions.ts";
import type { DecisionToRecord } from "../../src/gate/decision/write-decisions.ts";
import { policySetOf } from "../../src/policy/index.ts";
import {
  activatePolicySet,
  listBudgets,
  registerRelease,
  releaseOfDocument,
  setBudget,
} from "../../src/registry/index.ts";
import {
  createRun,
  digestOf,
  inOneTrip,
  inTransaction,
  payloadKeysOf,
  putPayloads,
  runById,
  sealPayload,
  timeOf,
  writeSealed,
} from "../../src/store/index.ts";
import { budgetHandlers } from "../../src/server/handlers/budgets.ts";
import type { Pool, Tx } from "../../src/store/index.ts";
import { freshDatabase } from "../support/database.ts";
import { until } from "../support/world.ts";

const keys = payloadKeysOf(Buffer.alloc(32, 7));
const noLimits: Limits = { microUsd: null, tokens: null, calls: null };
const october = new Date("2026-10-31T23:59:00.000Z");
const november = new Date("2026-11-02T12:00:00.000Z");
let pool: Pool;
let policySet: Digest;

beforeEach(async () => {
  const database = await freshDatabase({ max: 25 });
  onTestFinished(() => database.close());
  pool = database.pool;
  const { document } = policySetOf([{ name: "a.cedar", text: '@id("all") permit(principal, action, resource);' }]);
  policySet = (await activatePolicySet(pool, "shop", document as unknown as Json, "operator", october)).digest;
});

/** A running run of an agent of team `shop`. */
async function running(
  agent = "till",
  maxCostMicroUsd = 1_000_000,
  own: { readonly maxTokens?: number; readonly maxCalls?: number } = {},
): Promise<RunContext> {
  const release = releaseOfDocument({
    v: 1,
    team: "shop",
    agent,
    useCase: "testing",
    riskTier: "minimal",
    model: { name: "m", maxOutputTokens: 10 },
    prompt: "",
    tools: [],
    limits: { maxSteps: 1_000, maxCostMicroUsd, maxWallClockMs: 60_000, ...own },
  });
  await registerRelease(pool, release, "operator", october);
  const id = `run_${ulid()}` as RunId;
  const input = { prompt: "go" };
  const [inputDigest] = await putPayloads(pool, keys, [input]);
  const { limits } = release.document;
  const base = { id, team: "shop", agent, requestedBy: "operator" };
  await createRun(pool, { ...base, release: release.digest, input: inputDigest!, limits, now: october });
  await pool.query("update run set status = 'running' where id = $1", [id]);
  return { ...base, release, input, inputDigest: inputDigest!, sealing: keys };
}

function stepOf(run: RunContext, seq: number, hold: number, holdTokens = 0): ResolvedStep {
  const action = { v: 1, team: "shop", agent: run.agent, release: run.release.digest, run: run.id, seq } as const;
  return {
    kind: "model",
    maxOutputTokens: 1,
    conversation: { messages: [], head: digestOf({}), flow: startFlow(run) },
    flow: noFacts.flow,
    seq,
    name: "m",
    arguments: digestOf({}),
    action: { ...action, kind: "model", name: "m", arguments: {} },
    actionDigest: digestOf({ seq }),
    hold,
    holdTokens,
  } as ResolvedStep;
}

async function write(tx: Tx, run: RunContext, step: ResolvedStep, standing: Standing, now: Date): Promise<void> {
  await writeDecision(tx, allowed(run, step, standing, now));
}

function allowed(run: RunContext, step: ResolvedStep, standing: Standing, now: Date): DecisionToRecord {
  return {
    run,
    step,
    standing,
    decision: { outcome: "allow", policies: [] },
    policySet,
    facts: noFacts,
    request: step.actionDigest,
    activity: "a/1",
    approval: undefined,
    effective: undefined,
    shadow: false,
    result: undefined,
    now,
  };
}

/** As the gate does it: what was read is what is written, or it is read again. */
async function decide(run: RunContext, step: ResolvedStep, now = november): Promise<"allowed" | "exhausted"> {
  for (;;) {
    const standing = await readStanding(pool, run, step.seq, step.name, now, step.kind);
    if (exhausted(budgetFacts(standing, step)).length > 0) return "exhausted";
    try {
      await inOneTrip(pool, (tx) => [write(tx, run, step, standing, now)]);
      return "allowed";
    } catch (error) {
      if (codeOf(error) !== "already_recorded") throw error;
    }
  }
}

function took(costMicroUsd: number, tokens: number): Charge {
  return { ...noCharge, usage: { input: tokens, cachedInput: 0, output: 0, reasoning: 0 }, costMicroUsd };
}

async function end(
  run: RunContext,
  seq: number,
  state: "done" | "failed" | "unknown",
  costMicroUsd = 0,
  tokens = 0,
): Promise<boolean> {
  const taken = took(costMicroUsd, tokens);
  return settling(pool, { run: run.id, seq, before: noneSettled }, (before) =>
    writeOutcome(pool, { run, seq, state, result: undefined, taken, before, now: november }),
  );
}

async function budget(
  limits: Partial<Limits>,
  agent?: string,
  period: BudgetPeriod = "month",
  now = november,
): Promise<void> {
  const wanted = { team: "shop", agent, period, limits: { ...noLimits, ...limits }, approvers: "budget" };
  await inTransaction(pool, (tx) => setBudget(tx, { ...wanted, by: "operator", now }));
}

async function used(agent: string | null = null, period: BudgetPeriod = "month", now = november) {
  const found = (await listBudgets(pool, "shop", now)).find((one) => one.agent === agent && one.period === period);
  return { spent: found?.spent, held: found?.held, extended: found?.extended };
}

const amounts = (microUsd: number, tokens: number, calls: number) => ({ microUsd, tokens, calls });

async function close(run: RunContext): Promise<void> {
  const options = { pool, cache: createRunCache(pool, keys), bundle: digestOf({}), now: () => november };
  await closeRun(options, { run: run.id, status: "cancelled" });
}

/** What the budgets say, worked out from the steps. */
async function fromRecord(agent: string | null = null) {
  const { rows } = await pool.query<{ spent: string[]; held: string[] }>(
    `select array[coalesce(sum(cost_micro_usd), 0), coalesce(sum(input_tokens + output_tokens + assumed_tokens), 0),
         count(*) filter (where state <> 'intended')]::text[] as spent,
       array[coalesce(sum(step.held_micro_usd) filter (where state = 'intended'), 0),
         coalesce(sum(step.held_tokens) filter (where state = 'intended'), 0), count(*) filter (where state = 'intended')]::text[] as held
     from step join run on run.id = step.run
     where state in ('intended', 'done', 'failed', 'unknown') and ($1::text is null or agent = $1)`,
    [agent],
  );
  const [spent, held] = [rows[0]!.spent.map(Number), rows[0]!.held.map(Number)];
  return { spent: amounts(spent[0]!, spent[1]!, spent[2]!), held: amounts(held[0]!, held[1]!, held[2]!) };
}

test.each([
  ["money", { microUsd: 75 }],
  ["tokens", { tokens: 79 }],
  ["calls", { calls: 7 }],
])("of twenty runs that want a team's %s at once, the seven that fit get it", async (_what, limits) => {
  const runs = await Promise.all(Array.from({ length: 20 }, async () => running()));
  await budget(limits);
  const outcomes = await Promise.all(runs.map(async (run) => decide(run, stepOf(run, 0, 10, 11))));
  expect(outcomes.filter((outcome) => outcome === "allowed")).toHaveLength(7);
  expect(await used()).toEqual({ spent: amounts(0, 0, 0), held: amounts(70, 77, 7), extended: amounts(0, 0, 0) });
});

test("a decision that was made before the room was taken is not written, and says which budget is used up", async () => {
  const [a, b] = [await running(), await running()];
  await budget({ microUsd: 15 });
  const step = stepOf(a, 0, 10);
  const before = await readStanding(pool, a, 0, "m", november);
  expect(await decide(b, stepOf(b, 0, 10))).toBe("allowed");
  await expect(inOneTrip(pool, (tx) => [write(tx, a, step, before, november)])).rejects.toMatchObject({
    code: "already_recorded",
  });
  const after = await readStanding(pool, a, 0, "m", november);
  await expect(inOneTrip(pool, (tx) => [write(tx, a, step, after, november)])).rejects.toMatchObject({
    code: "limit_cost",
  });
  const [first, ...others] = exhausted(budgetFacts(after, step));
  expect(others).toEqual([]);
  expect(first).toEqual({
    name: "team/month",
    missing: amounts(5, 0, 0),
    reason: {
      policy: "budget:team/month",
      text: "the team's budget for the month is used up: the step may take $0.00001; of $0.000015, $0.00 are spent and $0.00001 held",
    },
    requirement: { policy: "budget:team/month", group: "budget", quorum: 1, expiresMs: 86_400_000 },
  });
});

test("what is held is given back exactly, however the step ends, and what it cost is charged though it is more", async () => {
  const run = await running();
  await budget({ microUsd: 1_000, tokens: 1_000, calls: 10 });
  await budget({ microUsd: 1_000 }, "till", "total");
  for (const seq of [0, 1, 2, 3]) expect(await decide(run, stepOf(run, seq, 100, 50))).toBe("allowed");
  expect((await used()).held).toEqual(amounts(400, 200, 4));
  expect(await end(run, 0, "done", 150, 60)).toBe(true);
  expect(await end(run, 0, "done", 150, 60)).toBe(false);
  expect(await end(run, 1, "failed", 20, 5)).toBe(true);
  expect(await end(run, 2, "unknown")).toBe(true);
  expect(await used()).toMatchObject({ spent: amounts(170, 65, 3), held: amounts(100, 50, 1) });
  expect(await used("till", "total")).toMatchObject({ spent: amounts(170, 65, 3), held: amounts(100, 50, 1) });
  await close(run);
  await close(run);
  expect(await end(run, 3, "done", 99)).toBe(false);
  for (const left of [await used(), await used("till", "total")])
    // The model was asked, and nobody knows what the answer took: it is charged with all that it held.
    expect(left).toEqual({ spent: amounts(270, 115, 4), held: amounts(0, 0, 0), extended: amounts(0, 0, 0) });
  expect(await runById(pool, run.id)).toMatchObject({ spentMicroUsd: 270, spentTokens: 115, heldMicroUsd: 0 });
});

test("a step is charged to the month it was decided in, and the next month begins at nothing", async () => {
  const [old, fresh] = [await running(), await running()];
  await budget({ microUsd: 100 }, undefined, "month", october);
  expect(await decide(old, stepOf(old, 0, 80), october)).toBe("allowed");
  expect(await decide(fresh, stepOf(fresh, 0, 80), october)).toBe("exhausted");
  expect(await decide(fresh, stepOf(fresh, 0, 80))).toBe("allowed");
  expect(await end(old, 0, "done", 70)).toBe(true);
  expect(await used(null, "month", october)).toMatchObject({ spent: { microUsd: 70 }, held: { microUsd: 0 } });
  expect(await used()).toMatchObject({ spent: { microUsd: 0 }, held: { microUsd: 80 } });
});

test("a budget that the API sets begins in Postgres' month, with what was spent in it, whatever the server's clock says", async () => {
  const run = await running();
  const at = await timeOf(pool);
  expect(await decide(run, stepOf(run, 0, 100), at)).toBe("allowed");
  expect(await end(run, 0, "done", 70)).toBe(true);
  const services = { pool, now: () => new Date("2031-05-05T00:00:00Z") };
  const context = { services, caller: () => ({ id: "operator", teams: undefined }) } as never;
  const noMore = { maxTokens: null, maxCalls: null, approvers: "budget" };
  const body = { team: "shop", agent: undefined, period: "month", maxMicroUsd: 100, ...noMore } as const;
  expect(await budgetHandlers.setBudget({ body } as never, context)).toEqual({ changed: true });
  expect(await budgetHandlers.setBudget({ body } as never, context)).toEqual({ changed: false });
  const { budgets } = await budgetHandlers.listBudgets({ query: {} } as never, context);
  const starts = `${at.toISOString().slice(0, 7)}-01T00:00:00.000Z`;
  expect(budgets).toMatchObject([{ starts, spent: { microUsd: 70 } }]);
  const { rows } = await pool.query<{ at: string }>(
    "select event::jsonb ->> 'at' as at from ledger_outbox where log = 'shop' and event like '%budget.set%'",
  );
  expect(rows).toEqual([{ at: budgets[0]!.at }]);
  expect(await decide(run, stepOf(run, 1, 31), at)).toBe("exhausted");
  expect(await decide(run, stepOf(run, 1, 30), at)).toBe("allowed");
});

test("a new budget begins with what the record says, while steps go on being decided and ended", async () => {
  const runs = await Promise.all(["till", "till", "desk", "desk"].map(async (agent) => running(agent)));
  const early = await running("desk");
  expect(await decide(early, stepOf(early, 0, 10, 10), october)).toBe("allowed");
  let stop = false;
  const working = runs.map(async (run) => {
    for (let seq = 0; !stop; seq += 1) {
      await decide(run, stepOf(run, seq, 10 + seq, 7));
      if (seq % 3 !== 0) await end(run, seq, "done", 5 + seq, 3);
    }
  });
  await pause(50);
  await budget({});
  await pause(30);
  await budget({ microUsd: 1_000_000 }, "till");
  await budget({ tokens: 1_000_000 }, undefined, "total");
  await pause(50);
  stop = true;
  await Promise.all(working);
  expect(await used(null, "total")).toMatchObject(await fromRecord());
  expect(await used("till")).toMatchObject(await fromRecord("till"));
  await end(early, 0, "done", 1_000, 1_000);
  // October's step is none of November's.
  const { spent } = await fromRecord();
  expect((await used()).spent).toEqual(amounts(spent.microUsd - 1_000, spent.tokens - 1_000, spent.calls - 1));
  expect((await used(null, "total")).spent).toEqual(spent);
});

test("fifty at once over several budgets, decided, ended, extended and closed in any order: no deadlock, and every sum is right", async () => {
  await budget({ microUsd: 1_200 });
  await budget({ tokens: 100_000 }, undefined, "total");
  await budget({ calls: 60 }, "till");
  await budget({ microUsd: 500 }, "desk");
  const runs = await Promise.all(Array.from({ length: 50 }, async (_, n) => running(n % 2 === 0 ? "till" : "desk")));
  const shuffled = runs.map((run, n) => ({ run, n, at: (n * 37) % 50 })).toSorted((a, b) => a.at - b.at);
  const outcomes = await Promise.all(
    shuffled.map(async ({ run, n }) => {
      const seen: string[] = [];
      for (const seq of [0, 1, 2]) seen.push(await decide(run, stepOf(run, seq, 10 + n, n)));
      const ends = [0, 1, 2].filter((seq) => seen[seq] === "allowed");
      await Promise.all([
        ...ends.slice(0, 2).map(async (seq) => end(run, seq, "done", 5 + n, n)),
        ...(n % 5 === 0 ? [close(run)] : []),
        ...(n % 7 === 0 ? [extend(run, stepOf(run, 3, 2_000, 1))] : []),
      ]);
      return seen;
    }),
  );
  expect(outcomes.flat()).toContain("exhausted");
  expect(outcomes.flat()).toContain("allowed");
  for (const [agent, period] of [
    [null, "month"],
    [null, "total"],
    ["till", "month"],
    ["desk", "month"],
  ] as const)
    expect(await used(agent, period)).toMatchObject(await fromRecord(agent));
  const { rows } = await pool.query(
    `select run.id from run where held_micro_usd <> (select coalesce(sum(held_micro_usd), 0) from step
       where step.run = run.id and state = 'intended')`,
  );
  expect(rows).toEqual([]);
});

/** As the gate does it when a grant for going beyond the budgets is consumed. */
async function extend(run: RunContext, step: ResolvedStep): Promise<void> {
  for (;;) {
    const standing = await readStanding(pool, run, step.seq, "m", november);
    const facts = budgetFacts(standing, step);
    if (standing.runStatus !== "running") return;
    try {
      await inTransaction(pool, async (tx) => {
        const approval = `apr_${ulid()}` as ApprovalId;
        const given = { run, seq: step.seq, standing, exhausted: exhausted(facts), approval, now: november };
        await write(tx, run, step, await extendBudgets(tx, given), november);
      });
      return;
    } catch (error) {
      if (codeOf(error) !== "already_recorded") throw error;
    }
  }
}

test.each([
  ["tokens", { maxTokens: 79 }, "the step may take 11 tokens; of 79 tokens, 0 tokens are spent and 77 tokens held"],
  ["calls", { maxCalls: 7 }, "the step may take 1 calls; of 7 calls, 0 calls are spent and 7 calls held"],
])("of twenty steps that want a run's own %s at once, the seven that fit get it", async (what, own, text) => {
  const run = await running("till", 1_000_000, own);
  const outcomes = await Promise.all(
    Array.from({ length: 20 }, async (_, seq) => decide(run, stepOf(run, seq, 10, 11))),
  );
  expect(outcomes.filter((outcome) => outcome === "allowed")).toHaveLength(7);
  const step = stepOf(run, 20, 10, 11);
  const standing = await readStanding(pool, run, 20, "m", november);
  expect(exhausted(budgetFacts(standing, step)).map(({ reason }) => reason.text)).toEqual([
    `the run's limit is used up: ${text}`,
  ]);
  // What was read before the room was taken is not written, and what is read now is refused as it is.
  await expect(inOneTrip(pool, (tx) => [write(tx, run, step, standing, november)])).rejects.toMatchObject({
    code: "limit_cost",
  });
  await extend(run, step);
  const row = await runById(pool, run.id);
  expect([row?.maxTokens, row?.maxCalls]).toEqual(what === "tokens" ? [158, null] : [null, 14]);
});

test("what steps take of a run is settled by what they used, however they end", async () => {
  const run = await running("till", 1_000_000, { maxTokens: 1_000, maxCalls: 10 });
  for (const seq of [0, 1, 2, 3]) expect(await decide(run, stepOf(run, seq, 100, 50))).toBe("allowed");
  const held = async () => {
    const { rows } = await pool.query(
      "select held_tokens, held_calls, spent_tokens, spent_calls from run where id = $1",
      [run.id],
    );
    return rows[0] as unknown;
  };
  expect(await held()).toEqual({ held_tokens: 200, held_calls: 4, spent_tokens: 0, spent_calls: 0 });
  expect(await end(run, 0, "done", 150, 60)).toBe(true);
  expect(await end(run, 0, "done", 150, 60)).toBe(false);
  expect(await end(run, 1, "failed", 20, 5)).toBe(true);
  expect(await end(run, 2, "unknown")).toBe(true);
  expect(await held()).toEqual({ held_tokens: 50, held_calls: 1, spent_tokens: 65, spent_calls: 3 });
  await close(run);
  expect(await end(run, 3, "done", 99, 9)).toBe(false);
  expect(await held()).toEqual({ held_tokens: 0, held_calls: 0, spent_tokens: 115, spent_calls: 4 });
});

test("an extension lets the step pass and nobody else, and the ledger has it", async () => {
  const [a, b] = [await running("till", 100), await running()];
  await budget({ microUsd: 250, calls: 1 });
  await budget({ microUsd: 90 }, "till");
  expect(await decide(a, stepOf(a, 0, 120))).toBe("exhausted");
  await extend(a, stepOf(a, 0, 120));
  expect(await used("till")).toMatchObject({ held: { microUsd: 120 }, extended: amounts(30, 0, 0) });
  expect(await used()).toMatchObject({ held: { microUsd: 120 }, extended: amounts(0, 0, 0) });
  // The run's own limit is extended by the release's again.
  expect(await runById(pool, a.id)).toMatchObject({ maxCostMicroUsd: 200, heldMicroUsd: 120 });
  expect(await decide(b, stepOf(b, 0, 1))).toBe("exhausted");
  await extend(b, stepOf(b, 0, 1));
  expect((await used()).extended).toEqual(amounts(0, 0, 1));
  const { rows } = await pool.query<{ event: string }>(
    "select event from ledger_outbox where log = 'shop' and event like '%budget.extended%' order by id",
  );
  const facts = rows.map(({ event }) => JSON.parse(event) as { kind: string; facts: Record<string, unknown> });
  expect(facts.map((one) => [one.kind, one.facts["budget"], one.facts["microUsd"], one.facts["calls"]])).toEqual([
    ["budget.extended", "budget:run", 100, 0],
    ["budget.extended", "budget:agent/month", 30, 0],
    ["budget.extended", "budget:team/month", 0, 1],
    ["budget.extended", "budget:agent/month", 1, 0],
  ]);
});

test.each([1, 2])(
  "decisions (%i at once) lock contents before budgets: whoever stores the same contents first takes the budget next",
  async (count) => {
    await budget({ microUsd: 1_000 });
    const runs = await Promise.all(Array.from({ length: count }, async () => running()));
    const contents = sealPayload(keys, { said: "twice" });
    const decisions = await Promise.all(
      runs.map(async (run) => {
        const step = stepOf(run, 0, 10, 11);
        const standing = await readStanding(pool, run, 0, "m", november);
        return { ...allowed(run, step, standing, november), effective: contents };
      }),
    );
    const writer = createDecisionWriter(pool);
    let written: Promise<unknown> = Promise.resolve();
    await inTransaction(pool, async (tx) => {
      await writeSealed(tx, [contents]);
      written = Promise.all(decisions.map((decision) => writer(decision)));
      written.catch(() => undefined);
      await untilBlocked(1);
      // Whoever held the budget while it waits for the contents would wait for this, and this for it.
      await tx.query("select from budget_use for no key update");
    });
    await written;
    expect((await used()).held).toEqual(amounts(10 * count, 11 * count, count));
  },
);

/** Ends when `count` sessions of this database wait for locks. */
async function untilBlocked(count: number): Promise<void> {
  await until(async () => {
    const { rows } = await pool.query<{ blocked: number }>(
      "select count(*)::int as blocked from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
    );
    return rows[0]!.blocked >= count ? true : undefined;
  });
}

test("whoever uses a grant and whoever closes the run lock in one order: neither is a deadlock's victim", async () => {
  const run = await running();
  expect(await decide(run, stepOf(run, 0, 10))).toBe("allowed");
  const request = await inTransaction(pool, (tx) =>
    openRequest(tx, {
      run: run.id,
      seq: 1,
      team: "shop",
      action: digestOf({ seq: 1 }),
      name: "m",
      rendered: run.inputDigest,
      requirements: [{ policy: "a", group: "g", quorum: 1, expiresMs: 1_000_000 }],
      policySet,
      openedAt: november,
      expiresAt: new Date(november.getTime() + 1_000_000),
    }),
  );
  let closing: Promise<void> | undefined;
  await inTransaction(pool, async (tx) => {
    // As the gate does it: the request first, then budgets and the run.
    await lockRequest(tx, request);
    closing = close(run);
    closing.catch(() => undefined);
    await untilBlocked(1);
    await tx.query("select from run where id = $1 for no key update", [run.id]);
  });
  await closing;
  expect(await runById(pool, run.id)).toMatchObject({ status: "cancelled" });
});

test("an attempt that was given up and ends after the next has begun: both are charged, and what the ledger says is the sum", async () => {
  const run = await running();
  await budget({ microUsd: 1_000 });
  expect(await decide(run, stepOf(run, 0, 100, 50))).toBe("allowed");
  const [second, third] = [await beginPaidAgain(pool, run.id, 0), await beginPaidAgain(pool, run.id, 0)];
  expect([second, third].map(({ number, hasRoom }) => [number, hasRoom])).toEqual([
    [2, true],
    [3, true],
  ]);
  expect(third.before).toMatchObject({ attempts: 2, charge: { costMicroUsd: 200, assumed: { tokens: 100 } } });
  // The second tells what it took too late: it is charged already.
  await settleAttempt(pool, run.id, 0, { number: 2, taken: { ...noCharge, costMicroUsd: 7 } });
  expect((await used()).spent).toEqual(amounts(200, 100, 0));
  const ended: OutcomeToRecord[] = [];
  await settling(pool, { run: run.id, seq: 0, before: noneSettled }, (before) => {
    const outcome = {
      run,
      seq: 0,
      state: "done",
      result: undefined,
      taken: took(30, 9),
      before,
      now: november,
    } as const;
    ended.push(outcome);
    return writeOutcome(pool, outcome);
  });
  expect(ended).toHaveLength(2);
  expect(outcomeEvent(ended[1]!).facts).toMatchObject({ costMicroUsd: 230, assumedMicroUsd: 200, inputTokens: 9 });
  expect(await used()).toMatchObject({ spent: amounts(230, 109, 1), held: amounts(0, 0, 0) });
  expect(await runById(pool, run.id)).toMatchObject({ spentMicroUsd: 230, spentTokens: 109, heldMicroUsd: 0 });
  expect((await beginPaidAgain(pool, run.id, 0)).number).toBe(0);
});

test("a further attempt has room only where its hold fits beside what is spent by then, in each budget; a new budget begins with all of it", async () => {
  const run = await running();
  await budget({ microUsd: 250, tokens: 1_000 });
  expect(await decide(run, stepOf(run, 0, 100, 50))).toBe("allowed");
  expect(await beginPaidAgain(pool, run.id, 0)).toMatchObject({ number: 2, hasRoom: true });
  await budget({}, "till", "total");
  expect(await used("till", "total")).toMatchObject({ spent: amounts(100, 50, 0), held: amounts(100, 50, 1) });
  expect(await beginPaidAgain(pool, run.id, 0)).toMatchObject({ number: 3, hasRoom: false });
  await budget({ microUsd: 1_000, tokens: 149 });
  // Two are charged; the third is not begun, however often it is tried.
  expect(await beginPaidAgain(pool, run.id, 0)).toMatchObject({ number: 3, hasRoom: false });
  expect((await used("till", "total")).spent).toEqual(amounts(200, 100, 0));
  await budget({ microUsd: 1_000, tokens: 150 });
  expect(await beginPaidAgain(pool, run.id, 0)).toMatchObject({ number: 3, hasRoom: true });
  await budget({ microUsd: 10_000, tokens: 10_000 });
  // More than the last were never made.
  for (let more = 0; more < 5; more += 1) await beginPaidAgain(pool, run.id, 0);
  expect((await used()).spent).toEqual(amounts(500, 250, 0));
  await close(run);
  expect(await used()).toMatchObject({ spent: amounts(500, 250, 1), held: amounts(0, 0, 0) });
});
