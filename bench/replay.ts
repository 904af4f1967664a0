import { pino } from "pino";

import { createClient } from "../src/api/index.ts";
import { createReplayers, createReplayPool, replayRun } from "../src/audit/index.ts";
import type { AuditReport } from "../src/audit/index.ts";
import { closedRecord } from "../src/cli/closed-record.ts";
import type { RunId } from "../src/core/ids.ts";
import type { RunRecord } from "../src/core/run-record.ts";
import { createSigner } from "../src/ledger/index.ts";
import { hashToken, putPrincipal } from "../src/registry/index.ts";
import { createServer } from "../src/server/index.ts";
import { printGoals } from "./goals.ts";
import { createMeter } from "./processor.ts";
import type { Spent } from "./processor.ts";
import { startServers } from "./servers.ts";
import type { BenchServers } from "./servers.ts";
import { inParallel, median } from "./statistics.ts";
import { governedSide, stepsPerRun, turnsPerRun } from "./steps.ts";
import type { GovernedSide } from "./steps.ts";

const rounds = 5;
const atOnce = 8;
const defaultRuns = 60;
const token = "a-token-of-the-benches-auditor";

/**
 * What `audit replay --since …` takes: real runs on real servers, their records over HTTP, and each replayed on the code that it ran, decided
 * again and compared. In turns: in this process, and in processes for each core.
 */
export async function benchReplay(print: (line: string) => void, given: string | undefined): Promise<object> {
  const runs = given === undefined ? defaultRuns : Number(given);
  if (!Number.isSafeInteger(runs) || runs < 1) throw new Error("expected a number of runs, from 1");
  const servers = await startServers(print);
  const side = await governedSide(servers);
  const server = await startApi(servers, side);
  try {
    const ids: RunId[] = [];
    await inParallel(runs, atOnce, async () => void ids.push(await side.run("fast", turnsPerRun)));
    return await measure(side, server.url, ids, print);
  } finally {
    await server.stop();
    await side.stop();
    await servers.stop();
  }
}

async function measure(
  side: GovernedSide,
  baseUrl: string,
  ids: readonly RunId[],
  print: (line: string) => void,
): Promise<object> {
  const client = createClient({ baseUrl, token });
  const meter = await createMeter(side.pool);
  const records: RunRecord[] = [];
  const fetchAll = () =>
    inParallel(ids.length, atOnce, async (n) => void (records[n] = await closedRecord(client, ids[n] as RunId)));
  await fetchAll();
  const { code } = await client.bundle({ params: { digest: records[0]?.run.workflowBundle as never } });
  const replayers = createReplayers();
  const pool = createReplayPool();
  const held = (report: AuditReport): void => {
    if (report.verdict !== "verified")
      throw new Error(`a run of the bench is ${report.verdict}: ${JSON.stringify(report.checks)}`);
  };
  const parts = {
    "records over HTTP": fetchAll,
    "replayed in this process": async () => {
      for (const record of records) held(await replayRun(record, code, replayers));
    },
    "replayed in processes": () =>
      inParallel(records.length, pool.atOnce, async (n) => held(await pool.replay(records[n] as RunRecord, code))),
    "all of it, in processes": () =>
      inParallel(ids.length, pool.atOnce, async (n) =>
        held(await pool.replay(await closedRecord(client, ids[n] as RunId), code)),
      ),
  };
  const spent = new Map<string, Spent[]>(Object.keys(parts).map((name) => [name, []]));
  for (let round = 0; round <= rounds; round += 1) {
    for (const [name, work] of Object.entries(parts)) {
      const measured = await meter(work);
      // The first round warms up.
      if (round > 0) spent.get(name)?.push(measured);
    }
  }
  await replayers.close();
  pool.close();
  const perRun = (name: string, of: (one: Spent) => number) => median((spent.get(name) ?? []).map(of)) / ids.length;
  for (const name of Object.keys(parts)) {
    const [node, children, postgres] = [
      perRun(name, ({ nodeMs }) => nodeMs),
      perRun(name, ({ childrenMs = 0 }) => childrenMs),
      perRun(name, ({ postgresMs = 0 }) => postgresMs),
    ];
    print(
      `${name}: ${(1_000 / perRun(name, ({ wallMs }) => wallMs)).toFixed(1)} runs/s; processor time of a run: ${node.toFixed(1)} ms here, ` +
        `${children.toFixed(1)} ms in processes, ${postgres.toFixed(1)} ms in Postgres (so at most ${(2_000 / (node + children + postgres)).toFixed(1)} runs/s on two cores); ` +
        `load ${(spent.get(name) ?? []).map(({ load }) => load.toFixed(0)).join(", ")}`,
    );
  }
  print(
    `${ids.length} runs of ${stepsPerRun} steps in the fast lane, ${rounds} rounds, medians. The API runs in this process too; left out: starting processes`,
  );
  const whole = "all of it, in processes";
  const perSecond = 1_000 / perRun(whole, ({ wallMs }) => wallMs);
  printGoals(print, [["runs of 11 steps a second, at least 100", perSecond.toFixed(1), perSecond >= 100]]);
  return {
    runsPerSecond: Number(perSecond.toFixed(1)),
    processorMs: Number(
      perRun(whole, ({ nodeMs, childrenMs = 0, postgresMs = 0 }) => nodeMs + childrenMs + postgresMs).toFixed(1),
    ),
  };
}

async function startApi(servers: BenchServers, { pool, keys, client, sequencer }: GovernedSide) {
  const auditor = { id: "auditor", displayName: "auditor", roles: ["operator", "auditor"], groups: [] } as const;
  await putPrincipal(pool, auditor, hashToken(token));
  const signers = new Map<string, ReturnType<typeof createSigner>>();
  const server = createServer({
    pool,
    databaseUrl: servers.databaseUrl,
    keys,
    temporal: client,
    taskQueue: "fast",
    // As the side's own sequencer signs.
    ledger: {
      originOf: (log) => `bench/${log}`,
      signerOf(log) {
        const signer = signers.get(log) ?? createSigner(`bench/${log}`, Buffer.alloc(32, 2));
        signers.set(log, signer);
        return signer;
      },
      flush: (log) => sequencer.flush(log),
    },
    logger: pino({ level: "warn" }),
  });
  const { url } = await server.start(0);
  return { url, stop: () => server.stop() };
}
