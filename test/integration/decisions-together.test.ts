import { ulid } from "ulid";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import type { Limits } from "../../src/core/budget.ts";
import { noFacts } from "../../src/core/decision.ts";
import { codeOf } from "../../src/core/errors.ts";
import type { Digest, RunId } from "../../src/core/ids.ts";
import type { Json } from "../../src/core/json.ts";
import { startFlow } from "../../src/gate/flow/flow.ts";
import type { RunContext } from "../../src/gate/governed-call.ts";
import { createStandingReader, readStanding } from "../../src/gate/step/standing.ts";
import { noneSettled } from "../../src/gate/budgets/attempts.ts";
import { noCharge } from "../../src/gate/budgets/charge.ts";
import { writeOutcome } from "../../src/gate/effects/outcome.ts";
import type { ResolvedStep } from "../../src/gate/step/resolve.ts";
import { createDecisionWriter, writeDecision } from "../../src/gate/decision/write-decisions.ts";
import type { DecisionToRecord } from "../../src/gate/decision/write-decisions.ts";
import { policySetOf } from "../../src/policy/index.ts";
import { activatePolicySet, registerRelease, releaseOfDocument, setBudget } from "../../src/registry/index.ts";
import { createRun, digestOf, inTransaction, payloadKeysOf, putPayloads, sealPayload } from "../../src/store/index.ts";
import type { Pool, Tx } from "../../src/store/index.ts";
import { freshDatabase } from "../support/database.ts";

const keys = payloadKeysOf(Buffer.alloc(32, 7));
const now = new Date("2026-11-02T12:00:00.000Z");
const { document: everything } = policySetOf([
  { name: "a.cedar", text: '@id("all") permit(principal, action, resource);' },
]);
let pool: Pool;
let policySet: Digest;
let read: ReturnType<typeof createStandingReader>;
let write: ReturnType<typeof createDecisionWriter>;

beforeEach(async () => {
  const database = await freshDatabase({ max: 25 });
  onTestFinished(() => database.close());
  pool = database.pool;
  policySet = (await activatePolicySet(pool, "shop", everything as unknown as Json, "operator", now)).digest;
  read = createStandingReader(pool);
  write = createDecisionWriter(pool);
});

async function running(maxSteps = 1_000): Promise<RunContext> {
  const release = releaseOfDocument({
    v: 1,
    team: "shop",
    agent: "till",
    useCase: "testing",
    riskTier: "minimal",
    model: { name: "m", maxOutputTokens: 10 },
    prompt: "",
    tools: [],
    limits: { maxSteps, maxCostMicroUsd: 1_000_000, maxWallClockMs: 60_000 },
  });
  await registerRelease(pool, release, "operator", now);
  const id = `run_${ulid()}` as RunId;
  const input = { prompt: "go" };
  const [inputDigest] = await putPayloads(pool, keys, [input]);
  const base = { id, team: "shop", agent: "till", requestedBy: "operator" };
  const { limits } = release.document;
  await createRun(pool, { ...base, release: release.digest, input: inputDigest!, limits, now });
  await pool.query("update run set status = 'running' where id = $1", [id]);
  return { ...base, release, input, inputDigest: inputDigest!, sealing: keys };
}

/** A decision on a call of `tool`, as the record stands now. */
async function decisionOn(run: RunContext, seq: number, change: Partial<DecisionToRecord> = {}, hold = 10) {
  const action = { v: 1, team: "shop", agent: "till", release: run.release.digest, run: run.id, seq } as const;
  const step = {
    kind: "tool",
    flow: startFlow(run),
    seq,
    name: "sell",
    arguments: digestOf({}),
    action: { ...action, kind: "tool", name: "sell", arguments: {} },
    actionDigest: digestOf({ seq }),
    hold,
    holdTokens: 0,
    askedBy: 0,
    callIndex: seq % 100,
    callId: `call_${seq}`,
    args: {},
  } as unknown as ResolvedStep;
  const standing = await read({ run, seq, kind: "tool", name: "sell", at: now });
  const decided: DecisionToRecord = {
    run,
    step,
    standing,
    decision: { outcome: "allow", policies: [] },
    policySet,
    facts: noFacts,
    request: step.actionDigest,
    activity: `a/${seq}`,
    approval: undefined,
    effective: undefined,
    shadow: false,
    result: undefined,
    now,
    ...change,
  };
  return decided;
}

const denied = {
  decision: { outcome: "deny", code: "forbidden", policies: [{ policy: "no", text: "no" }] },
  result: sealPayload(keys, { status: "denied", code: "forbidden", message: "no" }),
} as const;

async function limit(limits: Limits): Promise<void> {
  const budget = { team: "shop", agent: "", period: "month", approvers: "treasury", by: "operator" } as const;
  await inTransaction(pool, (tx) => setBudget(tx, { ...budget, limits, now }));
}

/** How many rows of tables this session has read, as far as Postgres has not put it into its statistics. */
async function rowsSoFar(tx: Tx): Promise<number> {
  const { rows } = await tx.query<{ read: number }>(
    "select coalesce(sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)), 0)::int as read from pg_stat_xact_user_tables",
  );
  return rows[0]!.read;
}

/** Whatever is written of a run's decisions, by table. */
async function writtenOf(run: RunContext) {
  const { rows } = await pool.query(
    `select steps, decisions, held_micro_usd::int as held,
       (select count(*) from step where run = run.id)::int as placed, (select count(*) from decision where run = run.id)::int as decided,
       (select count(*) from effect where run = run.id)::int as intended, (select count(*) from history_step where run = run.id)::int as noted,
       (select count(*) from ledger_outbox where run = run.id)::int as told
     from run where id = $1`,
    [run.id],
  );
  return rows[0] as Record<string, number>;
}

const allowedOnce = { steps: 1, decisions: 1, held: 10, placed: 1, decided: 1, intended: 1, noted: 1, told: 2 };
const deniedOnce = { steps: 1, decisions: 1, held: 0, placed: 1, decided: 1, intended: 0, noted: 0, told: 1 };
const nothing = { steps: 0, decisions: 0, held: 0, placed: 0, decided: 0, intended: 0, noted: 0, told: 0 };

async function runsOf(count: number): Promise<readonly RunContext[]> {
  return Promise.all(Array.from({ length: count }, () => running()));
}

async function codesOf(decisions: readonly DecisionToRecord[]): Promise<readonly (string | undefined)[]> {
  const ends = await Promise.allSettled(decisions.map((decision) => write(decision)));
  return ends.map((end) => (end.status === "fulfilled" ? undefined : codeOf(end.reason)));
}

test("decisions of several runs share a commit, and each is written whole", async () => {
  const runs = await runsOf(12);
  const all = await Promise.all(runs.map((run, index) => decisionOn(run, 1, index % 3 === 0 ? denied : {})));
  expect(await codesOf(all)).toEqual(runs.map(() => undefined));
  for (const [index, run] of runs.entries())
    expect(await writtenOf(run)).toEqual(index % 3 === 0 ? deniedOnce : allowedOnce);
  const { rows } = await pool.query("select count(distinct xmin::text)::int as commits from decision");
  expect(rows).toEqual([{ commits: 1 }]);
});

test("one that cannot be written fails for its own reason, and the others are written", async () => {
  const runs = await runsOf(8);
  const [good, closed, full, stale, again, frozen, malformed, last] = runs as readonly RunContext[];
  await pool.query("update run set max_steps = 0 where id = $1", [full!.id]);
  await write(await decisionOn(again!, 1));
  const all = await Promise.all([
    decisionOn(good!, 1),
    decisionOn(closed!, 1),
    decisionOn(full!, 1),
    decisionOn(stale!, 1),
    // Another step for the same call.
    decisionOn(again!, 101),
    decisionOn(frozen!, 1),
    decisionOn(malformed!, 1, { activity: "a\0b" }),
    decisionOn(last!, 1, denied),
  ]);
  await pool.query("update run set status = 'cancelled', closed_at = now() where id = $1", [closed!.id]);
  await pool.query("update run set decisions = 5 where id = $1", [stale!.id]);
  expect(await codesOf(all)).toEqual([
    undefined,
    "already_recorded",
    "limit_steps",
    "already_recorded",
    "invalid_step",
    undefined,
    // Postgres keeps no NUL in a text.
    "22P05",
    undefined,
  ]);
  expect(await writtenOf(good!)).toEqual(allowedOnce);
  expect(await writtenOf(last!)).toEqual(deniedOnce);
  expect(await writtenOf(again!)).toEqual(allowedOnce);
  for (const run of [closed, full, malformed]) expect(await writtenOf(run!)).toEqual(nothing);
  expect(await writtenOf(stale!)).toEqual({ ...nothing, decisions: 5 });
});

test("a freeze between a decision and its commit stops every one that it is for, also among others", async () => {
  const runs = await runsOf(4);
  const all = await Promise.all(runs.map((run) => decisionOn(run, 1)));
  await pool.query(
    "insert into freeze_event (team, tool, frozen, reason, at, by_principal) values ('shop', 'sell', true, 'wrong prices', $1, 'o')",
    [now],
  );
  expect(await codesOf(all)).toEqual(runs.map(() => "already_recorded"));
  for (const run of runs) expect(await writtenOf(run)).toEqual(nothing);
});

test("a policy set that comes into force between a decision and its commit has every one decided again", async () => {
  const runs = await runsOf(3);
  const all = await Promise.all(runs.map((run) => decisionOn(run, 1)));
  const stricter = { ...everything, history: [{ name: "f", measure: "count", actions: ["tool"], per: "team" }] };
  await activatePolicySet(pool, "elsewhere", stricter as unknown as Json, "operator", now);
  const { digest } = await activatePolicySet(pool, "shop", stricter as unknown as Json, "operator", now);
  expect(await codesOf(all)).toEqual(runs.map(() => "already_recorded"));
  for (const run of runs) expect(await writtenOf(run)).toEqual(nothing);
  const again = await Promise.all(runs.map((run) => decisionOn(run, 1, { policySet: digest })));
  expect(await codesOf(again)).toEqual(runs.map(() => undefined));
  // Another team's set is none of theirs.
  await activatePolicySet(pool, "elsewhere", everything as unknown as Json, "operator", now);
  const more = await Promise.all(runs.map((run) => decisionOn(run, 2, { policySet: digest })));
  expect(await codesOf(more)).toEqual(runs.map(() => undefined));
});

test("decisions that share a commit share the room of a budget, and not one passes it", async () => {
  await limit({ microUsd: 85, tokens: null, calls: null });
  const fitting = await Promise.all((await runsOf(4)).map((run) => decisionOn(run, 1)));
  expect(await codesOf(fitting)).toEqual(fitting.map(() => undefined));
  const { rows: commits } = await pool.query("select count(distinct xmin::text)::int as commits from decision");
  expect(commits).toEqual([{ commits: 1 }]);
  expect(await heldOf()).toEqual([{ held: 40, calls: 4 }]);

  const runs = await runsOf(9);
  const codes = await codesOf(await Promise.all(runs.map((run) => decisionOn(run, 1))));
  expect(codes.filter((code) => code === undefined)).toHaveLength(4);
  expect(new Set(codes)).toEqual(new Set([undefined, "already_recorded"]));
  expect(await heldOf()).toEqual([{ held: 80, calls: 8 }]);
  for (const [index, run] of runs.entries())
    expect(await writtenOf(run)).toEqual(codes[index] === undefined ? allowedOnce : nothing);
});

async function heldOf() {
  return (await pool.query("select held_micro_usd::int as held, held_calls::int as calls from budget_use")).rows;
}

test("a connection that is killed under several decisions leaves nothing half, and they can be made again", async () => {
  const runs = await runsOf(6);
  const all = await Promise.all(runs.map((run) => decisionOn(run, 1)));
  const holder = await pool.connect();
  try {
    await holder.query("begin");
    await holder.query("select from run where id = $1 for update", [runs[3]!.id]);
    const ends = codesOf(all);
    await untilKilled();
    expect(await ends).toEqual(runs.map(() => "57P01"));
  } finally {
    await holder.query("rollback");
    holder.release();
  }
  for (const run of runs) expect(await writtenOf(run)).toEqual(nothing);
  expect(await codesOf(all)).toEqual(runs.map(() => undefined));
  for (const run of runs) expect(await writtenOf(run)).toEqual(allowedOnce);
});

/** Ends the connection that waits for a lock, as soon as there is one. */
async function untilKilled(): Promise<void> {
  for (;;) {
    const { rows } = await pool.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and wait_event_type = 'Lock' and pid <> pg_backend_pid()`,
    );
    if (rows.length > 0) return;
  }
}

test("a step reads as many rows as ever when other runs have thousands, also by plans of when there were none", async () => {
  const database = await freshDatabase({ max: 1 });
  onTestFinished(() => database.close());
  pool = database.pool;
  await activatePolicySet(pool, "shop", everything as unknown as Json, "operator", now);
  await limit({ microUsd: null, tokens: null, calls: 100 });
  read = createStandingReader(pool);
  const run = await running();
  const rowsRead = async (seq: number): Promise<number> => {
    const decided = await decisionOn(run, seq);
    return inTransaction(pool, async (tx) => {
      // What earlier transactions of the session read may be in it.
      const before = await rowsSoFar(tx);
      await readStanding(tx, run, seq, "sell", now);
      await writeDecision(tx, decided);
      const usage = { input: 1, cachedInput: 0, output: 1, reasoning: 0 };
      const taken = { ...noCharge, usage, costMicroUsd: 1 };
      const ended = { run, seq, state: "done", result: undefined, taken, before: noneSettled, now } as const;
      expect(await writeOutcome(tx, ended)).toBe(true);
      return (await rowsSoFar(tx)) - before;
    });
  };
  // Postgres plans a statement for good at its sixth use.
  for (let seq = 1; seq < 10; seq += 1) await rowsRead(seq);
  const before = await rowsRead(10);
  const others = await runsOf(60);
  const ids = others.map(({ id }) => id);
  for (const copy of [
    `step (run, seq, kind, name, action, arguments, call_index, state, decided_at, finished_at)
     select other, 100 + i, kind, name, action, arguments, i, state, decided_at, finished_at`,
    `decision (run, seq, n, activity, outcome, policy_set, facts, request, at)
     select other, 100 + i, 0, activity || i, outcome, policy_set, facts, request, decision.at`,
    "effect (run, seq, idempotency_key, state, intended_at, ended_at) select other, 100 + i, other || i, state, intended_at, ended_at",
  ]) {
    const table = copy.split(" ")[0];
    await pool.query(
      `insert into ${copy} from ${table} cross join generate_series(1, 50) as i cross join unnest($1::text[]) as other
       where ${table}.run = $2 and ${table}.seq = 1`,
      [ids, run.id],
    );
  }
  await pool.query(
    `insert into approval_request (id, team, run, seq, action, name, rendered, requirements, policy_set, state, opened_at, expires_at, decided_at, consumed_at)
     select 'apr_' || lpad(n::text, 26, '0'), 'shop', $1, n, $2, 'sell', $3, '[{}]', $4, 'consumed', $5, $5::timestamptz + interval '1 day', $5, $5
     from generate_series(1, 2000) n`,
    [
      ids[0],
      digestOf({}),
      run.inputDigest,
      (await read({ run, seq: 1, kind: "tool", name: "sell", at: now })).policySet,
      now,
    ],
  );
  expect((await rowsRead(11)) - before).toBeLessThan(20);
});
