import { expect, test } from "vitest";
import { createReplayPool, replayRun, verifyRun } from "../../src/audit/index.ts";
import type { RunId } from "../../src/core/ids.ts";
import type { Json } from "../../src/core/json.ts";
import type { RunRecord } from "../../src/core/run-record.ts";
import { createSequencer, createSigner } from "../../src/ledger/index.ts";
import { buildRunRecord } from "../../src/server/run-record.ts";
import { sealHistories } from "../../src/server/seal-histories.ts";
import { executionsOf, runById, sha256 } from "../../src/store/index.ts";
import { fetchHistories, fetchHistory, readBundle } from "../../src/temporal/index.ts";
import { createWorld, until } from "../support/world.ts";
import type { World } from "../support/world.ts";

const originOf = (log: string): string => `localhost/ledger/${log}`;
const signerOf = (log: string) => createSigner(originOf(log), Buffer.alloc(32, 3));
const verifierKey = signerOf("testers").verifierKey;

type Temporal = "whole" | "away" | "forgot" | "late" | "stuck";

/** What the server works with; `temporal` is what it finds there. */
function servicesOf({ pool, keys, client }: World, temporal: Temporal = "whole") {
  const sequencer = createSequencer({
    pool,
    signers: (log) => [signerOf(log)],
    originOf,
    onError: (error) => {
      throw error;
    },
  });
  const stopping = new AbortController();
  const away = async (): Promise<never> => {
    throw new Error("away");
  };
  const [histories, history] = [fetchHistories.bind(undefined, client), fetchHistory.bind(undefined, client)];
  let asked = 0;
  const runs = {
    whole: { histories, history },
    late: {
      histories,
      history: async (...of: Parameters<typeof history>) => ((asked += 1) === 1 ? { events: [] } : history(...of)),
    },
    stuck: {
      histories,
      isReachable: async () => true,
      history: async (...of: Parameters<typeof history>) => {
        if (of[1].startsWith("broken")) throw new Error("its history cannot be read");
        return of[1].startsWith("open") ? { events: [] } : history(...of);
      },
    },
    away: { histories: away, history: away },
    forgot: { histories: away, history: async () => undefined },
  }[temporal];
  const logger = { warn: () => undefined, error: () => undefined };
  const ledger = { signerOf, flush: (log: string) => sequencer.flush(log) };
  const services = { pool, keys, ledger, runs, logger, now: () => new Date(), stopping: stopping.signal } as never;
  return { services, stop: () => stopping.abort() };
}

async function recordOf(world: World, run: RunId, temporal?: Temporal): Promise<RunRecord> {
  const row = await runById(world.pool, run);
  if (row === undefined) throw new Error("no such run");
  return buildRunRecord(servicesOf(world, temporal).services, row);
}

async function ranAndClosed() {
  const look = { tool: "look", arguments: { thing: "box" } };
  const world = await createWorld({ turns: [{ calls: [look] }, { text: "done" }] });
  await world.work();
  const run = await world.start();
  await world.closed(run);
  await world.client.workflow.getHandle(run).result();
  return { world, run };
}

type Started = { workflowExecutionStartedEventAttributes: { continuedExecutionRunId: string } };

const sealOf = (record: RunRecord) =>
  verifyRun(record, verifierKey).checks.find(({ name }) => name === "seals") ?? { status: "missing", problems: [] };

test("a history is archived and sealed while Temporal has it, and read from the archive when Temporal does not", async () => {
  const { world, run } = await ranAndClosed();
  const { services, stop } = servicesOf(world);
  const sweep = sealHistories(services);
  await until(async () => (await executionsOf(world.pool, run))[0]?.history ?? undefined);
  stop();
  await sweep;
  const record = await recordOf(world, run, "away");
  expect(record.histories).toHaveLength(1);
  expect(verifyRun(record, verifierKey)).toMatchObject({ verdict: "verified" });
  const code = await readBundle(world.pool, record.run.workflowBundle ?? ("" as never));
  expect(await replayRun(record, code)).toMatchObject({ verdict: "verified" });
  await expect(world.pool.query("update run_execution set root = $1", ["0".repeat(64)])).rejects.toThrow(
    "archived once",
  );
});

test("executions that cannot be sealed, or not yet, hold up no other, however many they are", async () => {
  const { world, run } = await ranAndClosed();
  await world.pool.query(
    `insert into run_execution (run, position, temporal_run_id, opened_at)
     select $1, n, case when n % 2 = 0 then 'broken-' else 'open-' end || n, now() - interval '1 day' from generate_series(1, 45) n`,
    [run],
  );
  const { services, stop } = servicesOf(world, "stuck");
  const sweep = sealHistories(services);
  await until(async () => (await executionsOf(world.pool, run))[0]?.history ?? undefined);
  stop();
  await sweep;
  expect((await executionsOf(world.pool, run)).filter(({ history }) => history !== null)).toHaveLength(1);
});

test("runs are replayed in processes, and code that never ends takes only its own with it", async () => {
  const { world, run } = await ranAndClosed();
  const record = await recordOf(world, run);
  const code = await readBundle(world.pool, record.run.workflowBundle ?? ("" as never));
  const endless = `for (;;) {}\n${code}`;
  const other = { ...record, run: { ...record.run, workflowBundle: sha256(endless) } };
  const changed = { ...record, run: { ...record.run, spentMicroUsd: record.run.spentMicroUsd + 1 } };
  const pool = createReplayPool({ processes: 1, timeoutMs: 10_000 });
  const reports = await Promise.all([
    pool.replay(record, code),
    pool.replay(other, endless),
    pool.replay(changed, code),
    pool.replay(record, code),
  ]);
  pool.close();
  expect(reports.map(({ verdict }) => verdict)).toEqual(["verified", "incomplete", "refuted", "verified"]);
  expect(reports[1]?.checks[0]?.detail).toContain("did not come to an end");
  expect(reports[0]).toEqual(await replayRun(record, code));
});

test("an execution that ends while its record is read is sealed in the record that has its end", async () => {
  const { world, run } = await ranAndClosed();
  const record = await recordOf(world, run, "late");
  expect(verifyRun(record, verifierKey)).toMatchObject({ verdict: "verified" });
});

test("what replay cannot see, the seal does: a time in the history, an event left out, a seal left out", async () => {
  const { world, run } = await ranAndClosed();
  const record = await recordOf(world, run);
  expect(sealOf(record)).toMatchObject({ status: "passed" });
  const [first] = record.histories;
  if (first === undefined) throw new Error("no history");
  const { events } = first.history as unknown as { events: { eventTime: string }[] };
  const changed = (history: Json): RunRecord => ({
    ...record,
    histories: [{ temporalRunId: first.temporalRunId, history }],
  });
  const later = events.map((event, index) => (index === 3 ? { ...event, eventTime: "2031-01-01T00:00:00Z" } : event));
  const retimed = changed({ events: later } as Json);
  const code = await readBundle(world.pool, record.run.workflowBundle ?? ("" as never));
  expect(await replayRun(retimed, code)).toMatchObject({ verdict: "verified" });
  expect(sealOf(retimed)).toMatchObject({
    status: "failed",
    problems: [expect.stringContaining("not the one that was sealed")],
  });
  expect(sealOf(changed({ events: events.toSpliced(4, 1) } as Json)).status).toBe("failed");
  expect(sealOf({ ...record, histories: [] }).problems).toEqual([
    expect.stringContaining("is sealed, and not in the record"),
  ]);
  const unsealed = { ...record, ledger: { ...record.ledger, seals: [] } };
  expect(verifyRun(unsealed, verifierKey)).toMatchObject({ verdict: "incomplete" });
  const [seal] = record.ledger.seals ?? [];
  if (seal === undefined) throw new Error("no seal");
  const forged = { ...seal, leaf: seal.leaf.replace(/"events":\d+/, '"events":1') };
  expect(sealOf({ ...record, ledger: { ...record.ledger, seals: [forged] } }).status).toBe("failed");
});

test("a history that Temporal deleted first is told by the ledger, and its run is incomplete, not refuted, verified or unreadable", async () => {
  const { world, run } = await ranAndClosed();
  // What cannot be asked is not lost.
  await expect(recordOf(world, run, "away")).rejects.toMatchObject({ code: "temporal_unavailable" });
  expect(await executionsOf(world.pool, run)).toMatchObject([{ lost: false }]);
  const record = await recordOf(world, run, "forgot");
  expect(await executionsOf(world.pool, run)).toMatchObject([{ lost: true, history: null }]);
  expect(record.histories).toMatchObject([{ history: null }]);
  // For good: Temporal is not asked again.
  expect(await recordOf(world, run, "away")).toEqual(record);
  expect(record.ledger.losses?.map(({ leaf }) => JSON.parse(leaf) as object)).toMatchObject([
    { kind: "history.lost", facts: { run, position: 0 } },
  ]);
  const code = await readBundle(world.pool, record.run.workflowBundle ?? ("" as never));
  const [verified, replayed] = [verifyRun(record, verifierKey), await replayRun(record, code)];
  expect(verified).toMatchObject({ verdict: "incomplete" });
  expect(replayed).toMatchObject({ verdict: "incomplete" });
  for (const { checks } of [verified, replayed])
    expect(checks.filter(({ status }) => status !== "passed")).toMatchObject([
      { detail: expect.stringContaining("lost") },
    ]);
  // Nobody can say so of one that is there, or that was sealed.
  const whole = await ranAndClosed();
  const sound = await recordOf(whole.world, whole.run);
  const hidden = sound.histories.map(({ temporalRunId }) => ({ temporalRunId, history: null }));
  expect(verifyRun({ ...sound, histories: hidden }, verifierKey)).toMatchObject({ verdict: "refuted" });
  const ledger = { ...sound.ledger, losses: record.ledger.losses ?? [] };
  expect(verifyRun({ ...sound, ledger }, verifierKey)).toMatchObject({ verdict: "refuted" });
  // What the execution that is here asked for has to be recorded, whatever was lost beside it.
  const [kept] = structuredClone(sound.histories) as [{ temporalRunId: string; history: { events: Started[] } }];
  kept.history.events[0]!.workflowExecutionStartedEventAttributes.continuedExecutionRunId = "lost";
  const histories = [{ temporalRunId: "lost", history: null }, kept as unknown as RunRecord["histories"][number]];
  const beside: RunRecord = { ...sound, histories };
  const again = async (one: RunRecord) => (await replayRun(one, code)).checks.find(({ name }) => name === "history");
  expect(await again(beside)).toMatchObject({
    status: "incomplete",
    detail: expect.stringContaining("1 of 2 are lost"),
  });
  expect(await again({ ...beside, steps: beside.steps.slice(0, -1) })).toMatchObject({
    status: "failed",
    problems: ["model 2: asked for, but not recorded"],
  });
});

test("of a run that lost one execution, the others are in the record and are looked at", async () => {
  const { world, run } = await ranAndClosed();
  const [first] = await executionsOf(world.pool, run);
  await world.pool.query(
    "insert into run_execution (run, position, temporal_run_id, opened_at) values ($1, 1, 'second', now())",
    [run],
  );
  const { services, stop } = servicesOf(world);
  const events = [
    { eventId: "1", eventTime: "2026-01-01T00:00:00Z", eventType: "EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED" },
  ];
  const history = async (_: RunId, id: string) => (id === "second" ? { events } : undefined);
  const row = await runById(world.pool, run);
  if (row === undefined) throw new Error("no such run");
  const record = await buildRunRecord({ ...(services as object), runs: { history, histories: history } } as never, row);
  stop();
  expect(record.histories).toMatchObject([
    { temporalRunId: first?.temporalRunId, history: null },
    { temporalRunId: "second", history: { events } },
  ]);
  expect(sealOf(record)).toMatchObject({ status: "passed" });
});

test("each execution of a run that continued as new is archived in its place, one that has not ended is waited for", async () => {
  const { world, run } = await ranAndClosed();
  const [first] = await executionsOf(world.pool, run);
  const event = (eventId: string, more: object) => ({ eventId, eventTime: "2026-01-01T00:00:00Z", ...more });
  const goesOn = { workflowExecutionContinuedAsNewEventAttributes: { newExecutionRunId: "second" } };
  const histories = new Map<string, Json>([
    [first?.temporalRunId ?? "", { events: [event("1", {}), event("2", goesOn)] }],
    ["second", { events: [event("1", {})] }],
  ]);
  const looks: string[] = [];
  const history = async (_: RunId, id: string) => {
    looks.push(id);
    return histories.get(id);
  };
  const { services, stop } = servicesOf(world);
  const played = { ...(services as object), runs: { history } };
  const sweep = sealHistories(played as never);
  const known = () => executionsOf(world.pool, run);
  // Looked at twice: the first look found that it goes on.
  await until(async () => (looks.filter((id) => id === "second").length > 1 ? true : undefined));
  expect(await known()).toMatchObject([
    { position: 0 },
    { position: 1, temporalRunId: "second", history: null, lost: false },
  ]);
  histories.set("second", {
    events: [event("1", {}), event("2", { eventType: "EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED" })],
  });
  await until(async () => (await known())[1]?.history ?? undefined);
  stop();
  await sweep;
  expect(new Set((await known()).map(({ root }) => root)).size).toBe(2);
});
