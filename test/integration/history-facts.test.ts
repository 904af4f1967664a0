import { readFile } from "node:fs/promises";
import fc from "fast-check";
import type { Context } from "@temporalio/activity";
import { pino } from "pino";
import { ulid } from "ulid";
import { beforeEach, expect, onTestFinished, test, vi } from "vitest";

import type { HistoryFact, HistoryScope } from "../../src/core/decision.ts";
import type { RunId } from "../../src/core/ids.ts";
import type { Json, JsonObject } from "../../src/core/json.ts";
import type { Release, ToolDefinition } from "../../src/core/release.ts";
import type { ModelResult } from "../../src/core/transcript.ts";
import { createDecider } from "../../src/gate/decision/decide.ts";
import { createGate } from "../../src/gate/index.ts";
import type { EffectOutcome } from "../../src/gate/index.ts";
import { startFlow } from "../../src/gate/flow/flow.ts";
import type { RunContext } from "../../src/gate/governed-call.ts";
import { createHistoryCounter, maxSummedSteps } from "../../src/gate/history/history.ts";
import { readStanding } from "../../src/gate/step/standing.ts";
import { resolveToolStep } from "../../src/gate/step/resolve.ts";
import { createRunCache } from "../../src/gate/run/cache.ts";
import { createShadow } from "../../src/gate/decision/shadow.ts";
import type { Shadow } from "../../src/gate/decision/shadow.ts";
import { countRunHistory } from "../../src/gate/history/run-history.ts";
import type { CountedStep } from "../../src/gate/history/run-history.ts";
import { reader } from "../../src/policy/engine.ts";
import { groupsOfTool, modelAction, policySetOf, toolAction } from "../../src/policy/index.ts";
import type { RemoteOptions } from "../../src/policy/index.ts";
import {
  activatePolicySet,
  registerRelease,
  releaseOfDocument,
  setBudget,
  setShadow,
  shadowCounts,
} from "../../src/registry/index.ts";
import {
  createRun,
  decisionsOf,
  digestOf,
  inTransaction,
  payloadKeysOf,
  putPayloads,
  stepsOf,
  subjectKey,
} from "../../src/store/index.ts";
import type { Pool, StepState } from "../../src/store/index.ts";
import { freshDatabase } from "../support/database.ts";
import { startDecisionPoint } from "../support/decision-point.ts";

const keys = payloadKeysOf(Buffer.alloc(32, 7));
const now = new Date("2026-03-01T12:00:00.000Z");
const hour = 3_600_000;
const hourAgo = (hours: number): Date => new Date(now.getTime() - hours * hour);

const tool = (name: string, changed: Partial<ToolDefinition> = {}): ToolDefinition => ({
  name,
  description: name,
  parameters: { type: "object", properties: { cents: { type: "integer" } } },
  effect: "write",
  groups: ["money"],
  idempotency: "key",
  short: false,
  timeoutMs: 1_000,
  implementation: { kind: "http", method: "POST", url: "https://shop.test" },
  ...changed,
});
const refund = tool("refund");
const tip = tool("tip", {
  parameters: { type: "object", properties: { cents: { type: "integer", default: 7 } } },
  groups: ["money", "gifts"],
});
const behindReference = {
  type: "object",
  properties: { cents: { $ref: "#/$defs/cents" } },
  $defs: { cents: { type: "integer", default: 5 } },
};
const look = tool("look", { effect: "read", groups: [] });

let pool: Pool;
beforeEach(async () => {
  const database = await freshDatabase();
  onTestFinished(() => database.close());
  pool = database.pool;
});

async function released(agent: string, tools: readonly ToolDefinition[], team = "shop"): Promise<Release> {
  const release = releaseOfDocument({
    v: 1,
    team,
    agent,
    useCase: "testing",
    riskTier: "minimal",
    model: { name: "m", maxOutputTokens: 10 },
    prompt: "",
    tools,
    limits: { maxSteps: 1_000, maxCostMicroUsd: 1_000_000, maxWallClockMs: 60_000 },
  });
  await registerRelease(pool, release, "operator", now);
  return release;
}

async function running(release: Release, requestedBy = "ada", subject?: string): Promise<RunContext> {
  const id = `run_${ulid()}` as RunId;
  const input = { prompt: "go", ...(subject === undefined ? {} : { subject: { id: subject } }) };
  const [inputDigest] = await putPayloads(pool, keys, [input]);
  const { team, agent, limits } = release.document;
  await createRun(pool, {
    id,
    team,
    agent,
    release: release.digest,
    input: inputDigest!,
    requestedBy,
    limits,
    ...(subject === undefined ? {} : { subjectKey: subjectKey(keys, subject) }),
    now,
  });
  await pool.query("update run set status = 'running' where id = $1", [id]);
  return { id, team, agent, requestedBy, release, input, inputDigest: inputDigest!, sealing: keys };
}

type Made = { readonly name: string; readonly args: JsonObject; readonly state: StepState; readonly at: Date };

const answerOf = (calls: readonly Pick<Made, "name" | "args">[]): ModelResult => ({
  content: "",
  toolCalls: calls.map(({ name, args }, index) => ({ id: `c${index}`, name, arguments: JSON.stringify(args) })),
  finishReason: "tool_calls",
});

/** A finished model step at 0 that asks for these calls, and a step for each of them from 1 on, recorded as the gate would. */
async function recorded(run: RunContext, calls: readonly Made[], modelAt = now): Promise<void> {
  const [answer] = await putPayloads(pool, keys, [answerOf(calls) as unknown as Json]);
  const steps = [
    { kind: "model", name: "m", args: {}, state: "done" as StepState, at: modelAt },
    ...calls.map((call) => ({ kind: "tool", ...call })),
  ];
  await pool.query(
    `with placed as (
       insert into step (run, seq, kind, name, action, arguments, asked_by, call_index, call_id, state, result, decided_at, finished_at)
       select $1, seq, kind, name, repeat('0', 64), arguments, case when kind = 'tool' then 0 end, case when kind = 'tool' then seq - 1 end,
         case when kind = 'tool' then 'c' || (seq - 1) end, state, case when kind = 'model' then $7 end, at,
         case when state not in ('waiting', 'intended') then at end
       from unnest($2::int[], $3::text[], $4::text[], $5::text[], $6::text[], $8::timestamptz[]) as s (seq, kind, name, arguments, state, at)
       returning seq, state, decided_at)
     insert into effect (run, seq, idempotency_key, state, intended_at)
     select $1, seq, $1 || '.' || seq, 'intended', decided_at from placed where state not in ('waiting', 'denied', 'cancelled')`,
    [
      run.id,
      steps.map((_, seq) => seq),
      steps.map(({ kind }) => kind),
      steps.map(({ name }) => name),
      steps.map(({ args }) => digestOf(args)),
      steps.map(({ state }) => state),
      answer,
      steps.map(({ at }) => at),
    ],
  );
}

const fact = (changed: Partial<HistoryFact> = {}): HistoryFact => ({
  name: "f",
  measure: "count",
  actions: ["tool/refund"],
  per: "run",
  ...changed,
});
const sumOf = (changed: Partial<HistoryFact> = {}): HistoryFact =>
  fact({ measure: "sum", argument: "cents", ...changed });

const counter = createHistoryCounter(keys);
const count = (run: RunContext, facts: readonly HistoryFact[], seq = 99_999) => counter(pool, { run, seq, now, facts });

const actionsIn = (run: RunContext, kind: string, name: string): readonly string[] => {
  const found = run.release.document.tools.find((candidate) => candidate.name === name);
  return kind === "model" || found === undefined ? [modelAction] : [toolAction(name), ...groupsOfTool(found)];
};

test("what the database takes a call for is what policies take it for", async () => {
  const odd = tool("odd", { groups: ["z_z", "a-b", "a-b"], effect: "destructive" });
  await released("till", [refund, tip, look, odd]);
  await released("till", [tool("refund", { groups: [] }), look]);
  const { rows } = await pool.query<{ name: string; actions: string[] }>(
    "select name, actions from call_class where kind = 'tool'",
  );
  const expected = [refund, tip, look, odd, tool("refund", { groups: [] })].map((one) => {
    return { name: one.name, actions: [toolAction(one.name), ...groupsOfTool(one)].sort() };
  });
  const byText = (all: readonly unknown[]): string[] => all.map((one) => JSON.stringify(one)).sort();
  expect(byText(rows)).toEqual(byText(expected));
});

test("facts are what counting by hand over the record finds", async () => {
  const random = fc.sample(
    fc.array(
      fc.record({
        name: fc.constantFrom("refund", "tip", "look"),
        args: fc.oneof(fc.record({ cents: fc.integer({ min: -50, max: 900 }) }), fc.constant({})),
        state: fc.constantFrom<StepState[]>("waiting", "intended", "done", "failed", "denied", "unknown", "cancelled"),
        at: fc.integer({ min: 0, max: 8 }).map(hourAgo),
      }),
      { minLength: 4, maxLength: 8 },
    ),
    { numRuns: 24, seed: 4 },
  );
  // The same name in another release is in other groups; another team has the same tools.
  const releases = await Promise.all([
    released("till", [refund, tip, look]),
    released("till", [tool("refund", { groups: [], effect: "destructive" }), tip, look]),
    released("desk", [refund, tip, look]),
    released("till", [refund, tip, look], "bank"),
  ]);
  const world: { run: RunContext; calls: readonly Made[] }[] = [];
  for (const [index, calls] of random.entries()) {
    const requester = ["ada", "bob"][index % 2];
    const run = await running(releases[index % 4]!, requester, [undefined, "c1", "c2"][index % 3]);
    await recorded(run, calls, hourAgo(index % 5));
    world.push({ run, calls });
  }
  const sameScope: Record<HistoryScope, (a: RunContext, b: RunContext) => boolean> = {
    run: (a, b) => a.id === b.id,
    agent: (a, b) => a.team === b.team && a.agent === b.agent,
    team: (a, b) => a.team === b.team,
    requester: (a, b) => a.team === b.team && a.requestedBy === b.requestedBy,
    subject: (a, b) => a.team === b.team && a.input.subject?.id === b.input.subject?.id,
  };
  function byHand(me: RunContext, seq: number, one: HistoryFact): number {
    let total = 0;
    for (const { run, calls } of world.filter((other) => sameScope[one.per](me, other.run))) {
      const steps = [
        {
          kind: "model",
          name: "m",
          args: {} as JsonObject,
          state: "done",
          at: hourAgo(world.findIndex((w) => w.run === run) % 5),
        },
        ...calls.map((call) => ({ kind: "tool", ...call })),
      ];
      for (const [at, step] of steps.entries()) {
        if (["waiting", "denied", "cancelled"].includes(step.state) || (run === me && at === seq)) continue;
        if (one.withinMs !== undefined && step.at.getTime() < now.getTime() - one.withinMs) continue;
        if (!actionsIn(run, step.kind, step.name).some((action) => one.actions.includes(action))) continue;
        const cents = step.args["cents"] ?? (step.name === "tip" ? 7 : 0);
        total += one.measure === "count" ? 1 : Math.max(0, Number(cents));
      }
    }
    return total;
  }
  const toolActions = [
    "tool/refund",
    "tool/tip",
    "tool",
    "group/money",
    "group/gifts",
    "effect/read",
    "effect/write",
    "effect/destructive",
    "tool/none",
  ];
  const facts = fc.array(
    fc
      .record({
        actions: fc.uniqueArray(fc.constantFrom(...toolActions, "model"), { minLength: 1, maxLength: 3 }),
        per: fc.constantFrom<HistoryScope[]>("run", "agent", "team", "requester", "subject"),
        withinMs: fc.option(
          fc.integer({ min: 0, max: 9 }).map((hours) => hours * hour),
          { nil: undefined },
        ),
        sum: fc.boolean(),
      })
      .map(({ actions, per, withinMs, sum }): HistoryFact => {
        const window = withinMs === undefined ? {} : { withinMs };
        return sum && !actions.includes("model")
          ? sumOf({ actions, per, ...window })
          : fact({ actions, per, ...window });
      }),
    { minLength: 1, maxLength: 6 },
  );
  await fc.assert(
    fc.asyncProperty(fc.nat(world.length - 1), fc.nat(8), facts, async (index, seq, given) => {
      const { run, calls } = world[index]!;
      const named = given.map((one, place) => ({ ...one, name: `f${place}` }));
      const expected = Object.fromEntries(named.map((one) => [one.name, byHand(run, seq, one)]));
      expect(await count(run, named, seq)).toEqual(expected);
      // An auditor, who has the run's record alone, finds the same for what is the run's own.
      const before = [
        { kind: "model", name: "m", args: {}, state: "done", at: hourAgo(index % 5) },
        ...calls.map((call) => ({ kind: "tool", ...call })),
      ]
        .filter(({ state }, at) => at !== seq && !["waiting", "denied", "cancelled"].includes(state))
        .map(({ kind, name, args, at }): CountedStep => ({
          kind: kind as "model" | "tool",
          name,
          arguments: args,
          at,
        }));
      const own = named.filter(({ per }) => per === "run");
      const audited = countRunHistory(named, before, now, run.release.document.tools, ({ kind, name }) =>
        actionsIn(run, kind, name),
      );
      expect(audited).toEqual(Object.fromEntries(own.map(({ name }) => [name, expected[name]])));
    }),
    { numRuns: 150 },
  );
});

const cache = () => createRunCache(pool, keys);

async function activated(policy: string, facts: readonly HistoryFact[]): Promise<void> {
  const { document, problems } = policySetOf([{ name: "a.cedar", text: policy }], facts);
  expect(problems).toEqual([]);
  await activatePolicySet(pool, "shop", document as unknown as Json, "operator", now);
}

/** The real gate's first half, on a call that the run's recorded model step asked for. */
function gate(shadow?: Shadow, remote?: RemoteOptions) {
  const options = {
    remote,
    pool,
    keys,
    cache: cache(),
    priceOf: () => ({ inputPerMillion: 0, cachedInputPerMillion: 0, outputPerMillion: 0 }),
    environment: { name: "test", region: "local" },
    fastLane: false,
    now: () => now,
  };
  const decide = shadow === undefined ? createDecider(options) : createDecider(options, counter, shadow);
  return async (run: RunContext, call: number, calls: readonly Pick<Made, "name" | "args">[]): Promise<string> => {
    const seq = call + 1;
    const step = resolveToolStep(run, { run: run.id, seq, model: 0, call }, answerOf(calls), startFlow(run))!;
    const standing = await readStanding(pool, run, seq, step.name, now);
    const decided = await decide({ run, step, standing, activity: `a${seq}`, grant: undefined });
    return decided.status;
  };
}

/** A run whose model has asked for these calls; none of them is decided on. */
async function asked(
  release: Release,
  calls: readonly Pick<Made, "name" | "args">[],
  requester = "ada",
): Promise<RunContext> {
  const run = await running(release, requester);
  await recorded(
    run,
    calls.map((call) => ({ ...call, state: "waiting" as const, at: now })),
  );
  await pool.query("delete from step where run = $1 and kind = 'tool'", [run.id]);
  return run;
}

const open = '@id("all") permit(principal, action, resource);';
const refunds300 = [{ name: "refund", args: { cents: 100 } }];

test.each([
  ["count, team", fact({ per: "team", withinMs: hour }), "context.history.f >= 5"],
  ["sum, team", sumOf({ per: "team", withinMs: hour }), "context.history.f + context.input.cents > 500"],
  ["count, requester", fact({ per: "requester" }), "context.history.f >= 5"],
  ["count, agent, by group", fact({ per: "agent", actions: ["group/money"] }), "context.history.f >= 5"],
  ["count, subject", fact({ per: "subject" }), "context.history.f >= 5"],
] as const)("20 decisions at once in 20 runs: exactly five are let through (%s)", async (_name, given, condition) => {
  const release = await released("till", [
    tool("refund", { parameters: { ...refund.parameters, required: ["cents"] } }),
  ]);
  await activated(
    `${open} @id("few") forbid(principal, action == Action::"tool/refund", resource) when { ${condition} };`,
    [given],
  );
  const runs = await Promise.all(Array.from({ length: 20 }, () => asked(release, refunds300)));
  // Two workers, with nothing in common but the database.
  const gates = [gate(), gate()];
  const outcomes = await Promise.all(runs.map((run, index) => gates[index % 2]!(run, 0, refunds300)));
  expect(outcomes.filter((outcome) => outcome === "allowed")).toHaveLength(5);
  expect(outcomes.filter((outcome) => outcome === "denied")).toHaveLength(15);
});

test("a decision point decides on what each of 20 decisions at once is recorded with, and five are let through", async () => {
  const release = await released("till", [refund]);
  await activated(
    `${open} @id("most") forbid(principal, action == Action::"tool/refund", resource) when { context.history.f > 99 };`,
    [fact({ per: "team", withinMs: hour })],
  );
  const point = await startDecisionPoint(({ context }) => (context.history["f"] ?? 9) < 5);
  onTestFinished(() => point.close());
  const runs = await Promise.all(Array.from({ length: 20 }, () => asked(release, refunds300)));
  const gates = [gate(undefined, point.options), gate(undefined, point.options)];
  const outcomes = await Promise.all(runs.map((run, index) => gates[index % 2]!(run, 0, refunds300)));
  expect(outcomes.filter((outcome) => outcome === "allowed")).toHaveLength(5);
  const last = new Map(point.asked.map(({ resource, context }) => [resource.id, context]));
  for (const run of runs) {
    const [decision] = await decisionsOf(pool, run.id);
    expect(decision?.facts).toEqual(last.get(run.id));
    expect(decision?.outcome).toBe((decision?.facts.history["f"] ?? 9) < 5 ? "allow" : "deny");
  }
});

test("two calls that each forbid the other are not both let through", async () => {
  const release = await released("till", [refund, look]);
  await activated(
    `${open}
     @id("a") forbid(principal, action == Action::"tool/refund", resource) when { context.history.looks > 0 };
     @id("b") forbid(principal, action == Action::"tool/look", resource) when { context.history.refunds > 0 };`,
    [fact({ name: "looks", actions: ["tool/look"], per: "team" }), fact({ name: "refunds", per: "team" })],
  );
  const decide = gate();
  const calls = [["refund"], ["look"]].map(([name]) => [{ name: name!, args: {} }]);
  for (let round = 0; round < 10; round += 1) {
    const runs = await Promise.all(calls.map((one) => asked(release, one, `r${round}`)));
    await Promise.all(runs.map((run, index) => decide(run, 0, calls[index]!)));
  }
  const { rows } = await pool.query<{ name: string }>(
    "select distinct name from step where kind = 'tool' and state = 'intended'",
  );
  expect(rows).toHaveLength(1);
});

/** A worker's gate, as Temporal calls it, whose clock may be wrong. Effects answer at once, or when `after` has come. */
function workerThatIs(msAhead: number) {
  const gated = createGate({
    pool,
    keys,
    cache: cache(),
    priceOf: () => ({ inputPerMillion: 0, cachedInputPerMillion: 0, outputPerMillion: 0 }),
    environment: { name: "test", region: "local" },
    fastLane: false,
    now: () => new Date(Date.now() + msAhead),
    logger: pino({ level: "silent" }),
  });
  const execute = async (run: RunContext, kind: string, input: object, effect: () => Promise<EffectOutcome>) => {
    const workflowExecution = { workflowId: run.id, runId: run.id };
    const info = { activityType: kind, activityId: "a", attempt: 1, isLocal: true, workflowExecution };
    const signal = new AbortController().signal;
    const { inbound } = gated({ info, cancellationSignal: signal, heartbeat: () => undefined } as unknown as Context);
    return inbound?.execute?.({ args: [{ run: run.id, ...input }], headers: {} }, effect as never);
  };
  return {
    tool: async (run: RunContext, call: number) =>
      execute(run, "tool", { seq: call + 1, model: 0, call }, async () => {
        return { status: "result", kind: "tool", result: { status: "ok", value: "done" } };
      }),
    model: async (run: RunContext, after = Promise.resolve(), begun = () => undefined as void) =>
      execute(run, "model", { seq: 0 }, async () => {
        begun();
        await after;
        const usage = { input: 1, cachedInput: 0, output: 1, reasoning: 0 };
        return { status: "result", kind: "model", result: { ...answerOf([]), content: "hi" }, usage };
      }),
  };
}

test("a worker whose clock is off moves neither a window nor a month: decisions go by the database's", async () => {
  const release = await released("till", [refund]);
  await activated(
    `${open} @id("few") forbid(principal, action == Action::"tool/refund", resource) when { context.history.f >= 2 };`,
    [fact({ per: "team", withinMs: hour })],
  );
  const limits = { microUsd: null, tokens: null, calls: 10 };
  const budget = { team: "shop", agent: undefined, period: "month", limits, approvers: "treasury", by: "ada" } as const;
  await inTransaction(pool, (tx) => setBudget(tx, { ...budget, now: new Date() }));
  const calls = Array.from({ length: 3 }, () => ({ name: "refund", args: { cents: 1 } }));
  const run = await asked(release, calls);
  const year = 400 * 24 * hour;
  for (const [call, ahead] of [year, -year, year].entries()) await workerThatIs(ahead).tool(run, call);
  const decisions = await decisionsOf(pool, run.id);
  expect(decisions.map(({ outcome, facts }) => [outcome, facts.history["f"]])).toEqual([
    ["allow", 0],
    ["allow", 1],
    ["deny", 2],
  ]);
  const { rows } = await pool.query(
    `select (select count(*) from budget_use where starts > now() or spent_calls + held_calls > 2) as months,
       (select count(*) from decision where abs(extract(epoch from clock_timestamp() - at)) > 3600) as decisions`,
  );
  expect(rows).toEqual([{ months: 0, decisions: 0 }]);
});

test("answers that come at once are limited as calls are: what is counted for them is each call, from its intent on", async () => {
  const release = await released("till", []);
  await activated(
    `${open} @id("few") forbid(principal, action == Action::"response", resource) when { context.history.f >= 3 };`,
    [fact({ actions: ["model"], per: "team" })],
  );
  const workers = [workerThatIs(0), workerThatIs(0)];
  const answeredOf = async (runs: readonly RunContext[]): Promise<number> => {
    const decisions = await Promise.all(runs.map(({ id }) => decisionsOf(pool, id)));
    return decisions.flat().filter(({ facts, outcome }) => facts.response !== undefined && outcome === "allow").length;
  };
  // Whoever is the first to ask sees none before it.
  const first = await running(release);
  await workers[0]!.model(first);
  const runs = await Promise.all(Array.from({ length: 8 }, () => running(release)));
  await Promise.all(runs.map((run, index) => workers[index % 2]!.model(run)));
  expect(await answeredOf([first])).toBe(1);
  expect(await answeredOf(runs)).toBeLessThanOrEqual(2);
  // All of them are under way before any is answered: each sees all the others.
  await activated(
    `${open} @id("few") forbid(principal, action == Action::"response", resource) when { context.history.f >= 12 };`,
    [fact({ actions: ["model"], per: "team" })],
  );
  const late = await Promise.all(Array.from({ length: 4 }, () => running(release)));
  let underWay = 0;
  let go = (): void => undefined;
  const all = new Promise<void>((resolve) => (go = resolve));
  await Promise.all(
    late.map((run, index) =>
      workers[index % 2]!.model(run, all, () => {
        underWay += 1;
        if (underWay === late.length) go();
      }),
    ),
  );
  expect(await answeredOf(late)).toBe(0);
});

test("a policy that is added later sees what the run did before", async () => {
  const release = await released("till", [refund]);
  const calls = [100, 200, 300, 400].map((cents) => ({ name: "refund", args: { cents } }));
  const run = await asked(release, calls);
  const decide = gate();
  await activated(open, []);
  expect([await decide(run, 0, calls), await decide(run, 1, calls)]).toEqual(["allowed", "allowed"]);
  const facts = [fact({ name: "refunds" }), sumOf({ name: "cents", per: "team" }), fact({ name: "unread" })];
  const policy = `${open} @id("few") forbid(principal, action == Action::"tool/refund", resource)
    when { context.history.refunds >= 3 || context.history.cents > 900 };`;
  await activated(policy, facts);
  expect([await decide(run, 2, calls), await decide(run, 3, calls)]).toEqual(["allowed", "denied"]);
  const history = (await decisionsOf(pool, run.id)).map((decision) => decision.facts.history);
  expect(history).toEqual([{}, {}, { refunds: 2, cents: 300 }, { refunds: 3, cents: 600 }]);
  expect((await stepsOf(pool, run.id)).map(({ state }) => state)).toEqual([
    "done",
    "intended",
    "intended",
    "intended",
    "denied",
  ]);
});

test("a candidate's own facts are counted for it beside decisions", async () => {
  const release = await released("till", [refund]);
  const calls = [100, 200, 300, 400].map((cents) => ({ name: "refund", args: { cents } }));
  await activated(open, []);
  const facts = [fact({ name: "refunds", per: "team" }), sumOf({ name: "cents", per: "team" })];
  const few = `${open} @id("few") forbid(principal, action == Action::"tool/refund", resource)
    when { context.history.refunds >= 3 || context.history.cents >= 300 };`;
  const { document } = policySetOf([{ name: "a.cedar", text: few }], facts);
  const { id } = await setShadow(pool, "shop", document as unknown as Json, "operator", now);
  const shadow = createShadow(pool, () => now, counter);
  const decide = gate(shadow);
  for (const [call, run] of [await asked(release, calls), await asked(release, calls)].flatMap((run) =>
    [0, 1].map((call) => [call, run] as const),
  )) {
    expect(await decide(run, call, calls)).toBe("allowed");
    await shadow.settled();
  }
  // Before them: nothing, 100, 300 and 400.
  const counts = (await shadowCounts(pool, id!)).map(({ kind, policy, count: times }) => [kind, policy, times]);
  expect(counts.toSorted(([a], [b]) => (String(a) < String(b) ? -1 : 1))).toEqual([
    ["newly_denied", "few", 2],
    ["unchanged", "all", 2],
  ]);
});

test("a sum goes by what a policy made of a call", async () => {
  const run = await running(await released("till", [refund]));
  await recorded(run, [{ name: "refund", args: { cents: 900 }, state: "done", at: now }]);
  const [effective] = await putPayloads(pool, keys, [{ cents: 500 }]);
  await activated(open, []);
  await pool.query(
    `insert into decision (run, seq, n, activity, outcome, policy_set, facts, request, at, effective)
     select $1, 1, 0, 'a', 'allow', policy_set, '{}', '', now(), $2 from policy_activation`,
    [run.id, effective],
  );
  expect(await count(run, [sumOf()])).toEqual({ f: 500 });
  // A name that every object has.
  expect(await count(run, [fact({ name: "constructor" })])).toEqual({ constructor: 1 });
});

test("what cannot be counted is an error, and the gate denies", async () => {
  const release = await released("till", [refund, tool("pay", { parameters: behindReference })]);
  const run = await running(release);
  const refused = (other: RunContext, facts: readonly HistoryFact[]) =>
    expect(count(other, facts)).rejects.toMatchObject({ code: "history_uncountable" });
  const calls = [0.5, Number.MAX_SAFE_INTEGER, 1].map((cents, index) => {
    return { name: "refund", args: { cents }, state: "done" as const, at: hourAgo(10 - index) };
  });
  await recorded(run, [...calls, { name: "pay", args: {}, state: "done", at: now }]);
  expect(await count(run, [sumOf({ withinMs: 8 * hour })])).toEqual({ f: 1 });
  await refused(run, [sumOf({ withinMs: 9 * hour })]);
  await refused(run, [sumOf({ withinMs: 10 * hour })]);
  await refused(run, [sumOf({ actions: ["tool/pay"] })]);

  const erased = await running(release, "ada");
  await recorded(erased, [{ name: "refund", args: { cents: 3 }, state: "done", at: now }]);
  await pool.query("update step set call_index = 5 where run = $1 and seq = 1", [erased.id]);
  await refused(erased, [sumOf()]);

  const old = await running(release, "ada", "c1");
  await pool.query("update run set subject_key = null where id = $1", [old.id]);
  await refused(old, [fact({ per: "subject" })]);

  await activated(`${open} @id("few") forbid(principal, action, resource) when { context.history.f > 9 };`, [sumOf()]);
  const next = [...calls, { name: "pay", args: {} }, { name: "refund", args: {} }];
  expect(await gate()(run, 4, next)).toBe("denied");
  expect((await decisionsOf(pool, run.id)).map(({ code }) => code)).toEqual(["undecidable"]);
});

test("policies that do not fit a release are found so once, and deny each call", async () => {
  const release = await released("till", [refund]);
  const unfit = '@id("p") permit (principal, action, resource) when { context.input.nothing == "refund" };';
  await activated(unfit, []);
  const calls = Array.from({ length: 3 }, () => ({ name: "refund", args: {} }));
  const run = await asked(release, calls);
  const decide = gate();
  expect(await decide(run, 0, calls)).toBe("denied");
  const cedar = vi.spyOn(reader, "run");
  onTestFinished(() => cedar.mockRestore());
  expect([await decide(run, 1, calls), await decide(run, 2, calls)]).toEqual(["denied", "denied"]);
  expect(cedar).not.toHaveBeenCalled();
  expect((await decisionsOf(pool, run.id)).map(({ code }) => code)).toEqual(calls.map(() => "undecidable"));
});

test("sums go over so many steps and no more", async () => {
  const run = await running(await released("till", [refund]));
  const call = { name: "refund", args: { cents: 2 }, state: "done" as const, at: now };
  await recorded(
    run,
    Array.from({ length: maxSummedSteps }, () => call),
  );
  expect(await count(run, [sumOf({ per: "team" })])).toEqual({ f: 2 * maxSummedSteps });
  const another = await running(run.release);
  await recorded(another, [call]);
  await expect(count(run, [sumOf({ per: "team" })])).rejects.toMatchObject({ code: "history_uncountable" });
  expect(await count(run, [fact({ per: "team" })])).toEqual({ f: maxSummedSteps + 1 });
});

test("what happened before subjects were kept may have been for anybody", async () => {
  const release = await released("till", [refund]);
  const call = { name: "refund", args: {}, state: "done" as const, at: now };
  const [old, mine, other] = [
    await running(release, "ada", "c9"),
    await running(release, "ada", "c1"),
    await running(release, "ada", "c2"),
  ];
  await pool.query("update run set subject_key = null where id = $1", [old.id]);
  for (const run of [old, mine, other]) await recorded(run, [call]);
  expect(await count(mine, [fact({ per: "subject" })])).toEqual({ f: 2 });
});

test("a database that is upgraded counts what is in it already", async () => {
  const run = await running(await released("till", [refund, look]));
  const call = { args: {}, state: "done" as const, at: now };
  await recorded(run, [
    { ...call, name: "refund" },
    { ...call, name: "look" },
    { ...call, name: "look", state: "denied" },
  ]);
  const held = async () => {
    const sql =
      "select run, seq, kind, name, actions, agent, requester, at from history_step join call_class on id = class order by seq";
    return (await pool.query(sql)).rows;
  };
  const before = await held();
  expect(before).toHaveLength(3);
  await pool.query(`
    drop trigger note on effect; drop trigger classify on release; drop table history_step, release_call, call_class;
    drop function note_intent, classify_release, classify_calls, class_of; alter table run drop column subject_key`);
  await pool.query(await readFile(new URL("../../src/store/migrations/0007_history.sql", import.meta.url), "utf8"));
  expect(await held()).toEqual(before);
});

test("what is counted is never changed or deleted", async () => {
  const run = await running(await released("till", [refund]));
  await recorded(run, [{ name: "refund", args: {}, state: "done", at: now }]);
  for (const change of [
    "delete from history_step",
    "update history_step set at = now()",
    "truncate history_step",
    "delete from call_class",
  ])
    await expect(pool.query(change)).rejects.toMatchObject({ code: "23001" });
});
