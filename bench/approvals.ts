import { randomUUID } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import Table from "cli-table3";
import { ulid } from "ulid";

import { listRequests, requestById } from "../src/approvals/index.ts";
import type { ApprovalId, RunId } from "../src/core/ids.ts";
import type { Json } from "../src/core/json.ts";
import type { Release } from "../src/core/release.ts";
import { policySetOf } from "../src/policy/index.ts";
import { activatePolicySet, registerRelease, releaseOfDocument } from "../src/registry/index.ts";
import { createPool, createRun, migrate, payloadKeysOf, putPayloads } from "../src/store/index.ts";
import type { PayloadKeys, Pool } from "../src/store/index.ts";
import { connectTemporal, createPayloadCodec, startAgentRun, wakeRun } from "../src/temporal/index.ts";
import { loadToolModule } from "../src/tools/index.ts";
import { forkWorker } from "./approvals-worker.ts";
import type { WorkerMemory } from "./approvals-worker.ts";
import { printGoals } from "./goals.ts";
import { createReviewer } from "./reviewer.ts";
import { startServers } from "./servers.ts";
import type { BenchServers } from "./servers.ts";
import { median } from "./statistics.ts";

/** At how many waiting requests the worker's memory is looked at; the last is what was asked for. */
const looksAt = [0, 10_000, 25_000, 50_000];
const wantedByDefault = 100_000;
/** Far fewer than wait, so that what is measured is what waits, not what is cached. */
const maxCachedWorkflows = 50;
/** Requests of one run, of calls that its model asks for at once: each has a step, a request and a durable timer of its own. */
const requestsPerRun = 10;
/** What each new worker does before it is looked at: enough for its cache to be full and its code to be warm. */
const warmUp = 1_000;
/** No more runs are begun after that. */
const longestMs = 12 * 60_000;
const atOnce = 12;
/** Begun, and not waiting yet: what the servers hold as a queue is not what is measured. */
const mostUnderWay = 600;
const tellEveryMs = 15_000;
const woken = 5;
const inboxRows = 100_000;
const inboxReads = 21;
const pageSize = 50;
const taskQueue = "wait";
const key = "01".repeat(32);
const policy = `
@id("all") permit(principal, action, resource);
@id("ask") @decision("require_approval") @approvers("1 of treasury") @expires("30d") @remind_after("7d") @reason("ask")
forbid(principal, action in Action::"tool", resource);`;

/** `fresh`: after its warm-up, with all the others waiting; `worked`: after it has brought the next ones to wait. */
type Look = WorkerMemory & {
  readonly worker: "fresh" | "worked";
  readonly waiting: number;
  readonly perSecond: number;
};

/**
 * What requests that wait for people cost a worker: real runs on a real Temporal and Postgres, held at their first tool calls by durable
 * timers, in growing numbers. At each level a new worker process warms up on the same number of them, and its memory is looked at: what
 * differs between levels is only how many requests wait. It then brings the next ones to wait, and is looked at again, with what that
 * work left in its allocators. At the end some of them, from the first to the last, are approved, and go on. Then: how long the first page
 * of the inbox takes at 100,000 requests.
 */
export async function benchApprovals(print: (line: string) => void, count?: string): Promise<object> {
  const wanted = count === undefined ? wantedByDefault : Number(count);
  if (!Number.isInteger(wanted) || wanted < warmUp) throw new Error(`COUNT is an integer from ${warmUp} on`);
  const servers = await startServers(print);
  const pool = createPool({ url: servers.databaseUrl });
  try {
    await migrate(pool);
    const keys = payloadKeysOf(Buffer.from(key, "hex"));
    const release = await register(pool);
    const temporal = await connectTemporal({ ...servers.temporal, codec: createPayloadCodec(pool, keys) });
    try {
      const crowd = createCrowd(pool, print, async () => {
        const run = await prepare(pool, keys, release);
        await startAgentRun(temporal.client, { run, taskQueue });
      });
      const looks = await grow(servers, crowd, wanted, print);
      const waking = await wakeSome(servers, pool, (run, request) => wakeRun(temporal.client, run, request));
      return report(looks, wanted, waking, await inboxTimes(pool), print);
    } finally {
      await temporal.close();
    }
  } finally {
    await pool.end();
    await servers.stop();
  }
}

type Crowd = ReturnType<typeof createCrowd>;

function createCrowd(pool: Pool, print: (line: string) => void, start: () => Promise<void>) {
  let started = 0;
  const waiting = async (): Promise<number> => {
    const { rows } = await pool.query<{ count: number }>(
      "select count(*)::int as count from approval_request where state = 'pending'",
    );
    return rows[0]?.count ?? 0;
  };
  return {
    waiting,
    /** Begins runs until so many requests wait, or the time is up; at the end, all that were begun wait. */
    async growTo(requests: number, end: number): Promise<void> {
      let there = await waiting();
      let stop = false;
      const begin = async (): Promise<void> => {
        while (!stop && started < requests && performance.now() < end) {
          if (started - there >= mostUnderWay) await wait(20);
          else {
            started += requestsPerRun;
            await start();
          }
        }
      };
      const begun = Promise.all(Array.from({ length: atOnce }, begin)).finally(() => (stop = true));
      let [told, grown] = [performance.now(), performance.now()];
      while (!stop || there < started) {
        await wait(200);
        const now = performance.now();
        const before = there;
        there = await waiting();
        if (there > before) grown = now;
        if (now - grown > 60_000) throw new Error(`only ${there} of ${started} came to wait`);
        if (now - told < tellEveryMs) continue;
        told = now;
        print(
          `  ${there} of ${requests} wait${end === Number.POSITIVE_INFINITY ? "" : `, ${Math.max(0, Math.round((end - now) / 1_000))} s left to begin more`}`,
        );
      }
      await begun;
    },
  };
}

async function grow(
  servers: BenchServers,
  crowd: Crowd,
  wanted: number,
  print: (line: string) => void,
): Promise<readonly Look[]> {
  const looks: Look[] = [];
  const end = performance.now() + longestMs;
  const levels = [...looksAt.filter((level) => level < wanted), wanted];
  for (const index of levels.keys()) {
    const worker = await forkWorker({ servers, taskQueue, key, maxCachedWorkflows, requestsPerRun });
    try {
      const look = async (state: Look["worker"], requests: number, until: number): Promise<void> => {
        const [begun, before] = [performance.now(), await crowd.waiting()];
        await crowd.growTo(requests, until);
        const waiting = await crowd.waiting();
        const perSecond = (waiting - before) / ((performance.now() - begun) / 1_000);
        // Lets the worker come to rest: its last results are on their way to Temporal, and evictions follow.
        await wait(5_000);
        const seen = { worker: state, waiting, perSecond, ...(await worker.measure()) };
        looks.push(seen);
        print(
          `${waiting} wait: a worker that has ${state === "fresh" ? "just warmed up" : "worked"} has ${mebibytes(seen.rss)} resident, ` +
            `${mebibytes(seen.heapUsed)} of heap, ${seen.cachedWorkflows} runs in memory`,
        );
      };
      // The warm-up is the same at each level, also where the time was up before.
      await look("fresh", (await crowd.waiting()) + warmUp, Number.POSITIVE_INFINITY);
      const next = levels[index + 1];
      if (next === undefined || performance.now() > end) break;
      await look("worked", next, end);
    } finally {
      await worker.stop();
    }
  }
  return looks;
}

/** A new worker, which has never seen them, ends runs from the first that came to wait to the last. */
async function wakeSome(
  servers: BenchServers,
  pool: Pool,
  tell: (run: RunId, request: ApprovalId) => Promise<void>,
): Promise<number> {
  const { rows } = await pool.query<{ id: ApprovalId }>(
    `select request.id from (
       select run, row_number() over (order by min(id)) - 1 as place, count(*) over () - 1 as last from approval_request group by run) one
     join approval_request request using (run)
     where place in (select (last * n / $1) from generate_series(0, $1) n) order by request.id`,
    [woken - 1],
  );
  const reviewer = await createReviewer(pool, "rita", { groups: ["treasury"], approves: () => true, tell });
  const worker = await forkWorker({ servers, taskQueue, key, maxCachedWorkflows, requestsPerRun });
  try {
    for (const { id } of rows) {
      const request = await requestById(pool, id);
      if (request !== undefined) await reviewer.decide(request);
    }
    for (let looks = 0; looks < 150; looks += 1) {
      const { rows: done } = await pool.query<{ count: number }>(
        "select count(*)::int as count from run where closed_at is not null and status = 'completed'",
      );
      if (done[0]?.count === woken) return rows.length;
      await wait(200);
    }
    throw new Error("not all runs whose requests were approved went on");
  } finally {
    await worker.stop();
  }
}

/** Milliseconds for the first page, of everybody's and of a team's: among the runs that wait, and filled up to 100,000 requests. */
async function inboxTimes(pool: Pool): Promise<{ readonly rows: number; readonly all: number; readonly team: number }> {
  await pool.query(
    `insert into approval_request (id, team, run, seq, action, name, rendered, requirements, policy_set, opened_at, expires_at, barred, next_due_at)
     select 'apr_' || substr(id, 5, 16) || lpad(n::text, 10, '0'), case when n % 10 = 0 then team else 'team' || n % 10 end, run, 1000 + n, action,
       name, rendered, requirements, policy_set, opened_at, expires_at, barred, next_due_at
     from (select * from approval_request limit 1) one, generate_series(1, greatest($1 - (select count(*)::int from approval_request), $2)) n`,
    [inboxRows, 20 * pageSize],
  );
  await pool.query("analyze approval_request");
  const time = async (team?: string): Promise<number> => {
    const times: number[] = [];
    for (let read = 0; read < inboxReads; read += 1) {
      const begun = performance.now();
      const page = await listRequests(pool, {
        state: "pending",
        limit: pageSize,
        ...(team === undefined ? {} : { team }),
      });
      times.push(performance.now() - begun);
      if (page.length !== pageSize) throw new Error("the inbox is not full");
    }
    return median(times);
  };
  const { rows } = await pool.query<{ count: number }>("select count(*)::int as count from approval_request");
  return { rows: rows[0]?.count ?? 0, all: await time(), team: await time("team7") };
}

function report(
  looks: readonly Look[],
  wanted: number,
  waking: number,
  inbox: Awaited<ReturnType<typeof inboxTimes>>,
  print: (line: string) => void,
): object {
  const table = new Table({
    head: ["waiting", "worker", "resident", "heap in use", "runs in memory", "a second"],
    style: { head: [], border: [] },
  });
  for (const { worker, waiting, rss, heapUsed, cachedWorkflows, perSecond } of looks)
    table.push([waiting, worker, mebibytes(rss), mebibytes(heapUsed), cachedWorkflows, perSecond.toFixed(0)]);
  print(table.toString());
  const fresh = looks.filter(({ worker }) => worker === "fresh");
  const slope = (of: (look: Look) => number): number =>
    Math.round(slopeOf(fresh.map((look) => [look.waiting, of(look)])) * 100) / 100;
  const figures = {
    wanted,
    waiting: looks.at(-1)?.waiting ?? 0,
    runs: (looks.at(-1)?.waiting ?? 0) / requestsPerRun,
    rssSlopeBytes: slope(({ rss }) => rss),
    heapSlopeBytes: slope(({ heapUsed }) => heapUsed),
    rssSlopeBytesOfRun: Math.round(slope(({ rss }) => rss) * requestsPerRun),
    heapSlopeBytesOfRun: Math.round(slope(({ heapUsed }) => heapUsed) * requestsPerRun),
    rssAtFirst: fresh.at(0)?.rss ?? 0,
    rssAtLast: fresh.at(-1)?.rss ?? 0,
    maxCachedWorkflows,
    cachedWorkflows: looks.at(-1)?.cachedWorkflows ?? 0,
    woken: waking,
    inboxRows: inbox.rows,
    inboxMs: Math.round(inbox.all * 100) / 100,
    inboxTeamMs: Math.round(inbox.team * 100) / 100,
  };
  printGoals(print, [[`requests that wait, ${wanted}`, figures.waiting, figures.waiting >= wanted]]);
  print(
    `Each more request that waits adds ${figures.rssSlopeBytes} bytes resident and ${figures.heapSlopeBytes} of heap to a worker (a line through the fresh ones, each of which\n` +
      `has brought the same ${warmUp} to wait itself): for each run, which has ${requestsPerRun}, ${figures.rssSlopeBytesOfRun} and ${figures.heapSlopeBytesOfRun}.\n${figures.waiting} waited, in ${figures.runs} runs; ` +
      (figures.waiting < wanted
        ? `${wanted} were wanted: in ${longestMs / 60_000} minutes this machine begins no more.\n`
        : "as many as were wanted.\n") +
      `A worker keeps at most ${maxCachedWorkflows} runs in memory (maxCachedWorkflows), however many wait: what those hold is in every figure alike.\n` +
      `${waking} of them, from the first that came to wait to the last, were approved at the end, and a worker that had never seen them finished them.\n` +
      `At ${figures.inboxRows} requests, the first page of ${pageSize} takes ${figures.inboxMs} ms, of one team ${figures.inboxTeamMs} ms (medians of ${inboxReads}).\n` +
      "What is resident moves by a hundred MiB between workers with nothing waiting, so its slope is noise where the heap has none. Memory is looked at after a collection, 5 s after the last run came to wait. Left out: what waiting costs Temporal and Postgres, on disk. Beyond the\n" +
      "runs, requests are filled up in Postgres alone, for the inbox.",
  );
  return figures;
}

/** Of the line through the points with the least squares. */
function slopeOf(points: readonly (readonly [number, number])[]): number {
  const mean = (at: 0 | 1): number => points.reduce((sum, point) => sum + point[at], 0) / points.length;
  const [x, y] = [mean(0), mean(1)];
  const over = points.reduce((sum, point) => sum + (point[0] - x) * (point[1] - y), 0);
  const under = points.reduce((sum, point) => sum + (point[0] - x) ** 2, 0);
  return under === 0 ? 0 : over / under;
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

async function register(pool: Pool): Promise<Release> {
  const tools = await loadToolModule("tools.ts", [fileURLToPath(new URL(".", import.meta.url))]);
  const release = releaseOfDocument({
    v: 1,
    team: "bench",
    agent: "bench",
    useCase: "bench",
    riskTier: "minimal",
    model: { name: "bench", maxOutputTokens: 100 },
    prompt: "You measure.",
    tools: tools.map(({ definition }) => definition),
    limits: { maxSteps: 1 + 2 * requestsPerRun, maxCostMicroUsd: 1_000_000, maxWallClockMs: 3_600_000 },
  });
  await registerRelease(pool, release, "bench", new Date());
  const { document, problems } = policySetOf([{ name: "bench.cedar", text: policy }]);
  if (problems.length > 0) throw new Error(JSON.stringify(problems));
  await activatePolicySet(pool, "bench", document as unknown as Json, "bench", new Date());
  return release;
}

async function prepare(pool: Pool, keys: PayloadKeys, { digest, document }: Release): Promise<RunId> {
  const id = `run_${ulid()}` as RunId;
  const [input] = await putPayloads(pool, keys, [{ prompt: "a parcel", tags: { nonce: randomUUID() } }]);
  if (input === undefined) throw new Error("no input");
  const { team, agent, limits } = document;
  await createRun(pool, { id, team, agent, release: digest, input, requestedBy: "bench", limits, now: new Date() });
  return id;
}
