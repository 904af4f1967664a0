import { randomUUID } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import Table from "cli-table3";
import { ulid } from "ulid";

import { listRequests } from "../src/approvals/index.ts";
import type { RunId } from "../src/core/ids.ts";
import type { Json } from "../src/core/json.ts";
import type { Release } from "../src/core/release.ts";
import { policySetOf } from "../src/policy/index.ts";
import { activatePolicySet, registerRelease, releaseOfDocument } from "../src/registry/index.ts";
import { createPool, createRun, migrate, payloadKeysOf, putPayloads } from "../src/store/index.ts";
import type { PayloadKeys, Pool } from "../src/store/index.ts";
import { connectTemporal, createPayloadCodec, startAgentRun } from "../src/temporal/index.ts";
import { loadToolModule } from "../src/tools/index.ts";
import { forkWorker } from "./approvals-worker.ts";
import type { WorkerMemory } from "./approvals-worker.ts";
import { startServers } from "./servers.ts";
import { inParallel, median } from "./statistics.ts";

/** How many runs a side has had at each look. */
const levels = [100, 400, 1_200];
/** Fewer than the first level, so that what is measured is what waits, not what is cached. */
const maxCachedWorkflows = 50;
/** No level is begun after that. */
const longestMs = 6 * 60_000;
const atOnce = 24;
const inboxRows = 100_000;
const inboxReads = 21;
const pageSize = 50;
const key = "01".repeat(32);
/** What becomes of a side's runs, by the thing that they want to touch. */
const sides = { wait: "a parcel", end: "nothing" } as const;
type Side = keyof typeof sides;
const policy = `
@id("all") permit(principal, action, resource);
@id("ask") @decision("require_approval") @approvers("2 of treasury or finance") @expires("30d") @remind_after("7d") @reason("ask")
forbid(principal, action in Action::"tool", resource);
@id("nothing") @reason("there is nothing to touch")
forbid(principal, action in Action::"tool", resource) when { context.input.thing == "nothing" };`;

type Look = WorkerMemory & { readonly runs: number; readonly perSecond: number };
type Looks = Readonly<Record<Side, readonly Look[]>>;

/**
 * What runs that wait for people cost: real runs on a real Temporal and Postgres, each held at its first tool call, in growing numbers; at
 * each the resident memory of the worker, a process of its own. Beside it, in turns, a worker whose runs end instead: what that one grows
 * by is what any work leaves behind. Then how long the first page of the inbox takes at 100,000 requests.
 */
export async function benchApprovals(print: (line: string) => void): Promise<object> {
  const servers = await startServers(print);
  const pool = createPool({ url: servers.databaseUrl });
  try {
    await migrate(pool);
    const keys = payloadKeysOf(Buffer.from(key, "hex"));
    const release = await register(pool);
    const temporal = await connectTemporal({ ...servers.temporal, codec: createPayloadCodec(pool, keys) });
    const workers = {
      wait: await forkWorker({ servers, taskQueue: "wait", key, maxCachedWorkflows }),
      end: await forkWorker({ servers, taskQueue: "end", key, maxCachedWorkflows }),
    };
    try {
      const start = async (side: Side): Promise<void> => {
        const run = await prepare(pool, keys, release, sides[side]);
        await startAgentRun(temporal.client, { run, taskQueue: side });
      };
      const looks = await grow(pool, start, (side) => workers[side].measure(), print);
      return report(looks, await inboxTimes(pool), print);
    } finally {
      await Promise.all(Object.values(workers).map((worker) => worker.stop()));
      await temporal.close();
    }
  } finally {
    await pool.end();
    await servers.stop();
  }
}

async function grow(
  pool: Pool,
  start: (side: Side) => Promise<void>,
  measure: (side: Side) => Promise<WorkerMemory>,
  print: (line: string) => void,
): Promise<Looks> {
  const looks: Record<Side, Look[]> = { wait: [], end: [] };
  const end = performance.now() + longestMs;
  for (const runs of levels) {
    if (performance.now() > end) break;
    for (const side of ["wait", "end"] as const) {
      const begun = performance.now();
      const more = runs - (looks[side].at(-1)?.runs ?? 0);
      await inParallel(more, atOnce, () => start(side));
      await untilThere(pool, side, runs);
      const perSecond = more / ((performance.now() - begun) / 1_000);
      // Lets the worker come to rest: its last results are on their way to Temporal, and evictions follow.
      await wait(5_000);
      const look = { runs, perSecond, ...(await measure(side)) };
      looks[side].push(look);
      print(
        `${runs} ${side}: their worker has ${mebibytes(look.rss)} resident, ${look.cachedWorkflows} runs in memory`,
      );
    }
  }
  return looks;
}

const counted = {
  wait: "select count(*)::int as count from approval_request where state = 'pending'",
  end: "select count(*)::int as count from run where closed_at is not null",
} as const satisfies Record<Side, string>;

async function untilThere(pool: Pool, side: Side, wanted: number): Promise<void> {
  for (let last = -1, still = 0; ;) {
    const { rows } = await pool.query<{ count: number }>(counted[side]);
    const count = rows[0]?.count ?? 0;
    if (count >= wanted) return;
    still = count === last ? still + 1 : 0;
    if (still > 300) throw new Error(`only ${count} of ${wanted} runs came to ${side}`);
    last = count;
    await wait(200);
  }
}

/** Milliseconds for the first page, of everybody's and of a team's: among the runs that wait, and filled up to 100,000 requests. */
async function inboxTimes(pool: Pool): Promise<{ readonly rows: number; readonly all: number; readonly team: number }> {
  await pool.query(
    `insert into approval_request (id, team, run, seq, action, name, rendered, requirements, policy_set, opened_at, expires_at, barred, next_due_at)
     select 'apr_' || substr(id, 5, 16) || lpad(n::text, 10, '0'), case when n % 10 = 0 then team else 'team' || n % 10 end, run, 1000 + n, action,
       name, rendered, requirements, policy_set, opened_at, expires_at, barred, next_due_at
     from (select * from approval_request limit 1) one, generate_series(1, $1 - (select count(*)::int from approval_request)) n`,
    [inboxRows],
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

function report(looks: Looks, inbox: Awaited<ReturnType<typeof inboxTimes>>, print: (line: string) => void): object {
  const table = new Table({
    head: ["runs", "they", "resident", "heap in use", "runs in memory", "a second"],
    style: { head: [], border: [] },
  });
  for (const side of ["wait", "end"] as const)
    for (const { runs, rss, heapUsed, cachedWorkflows, perSecond } of looks[side])
      table.push([runs, side, mebibytes(rss), mebibytes(heapUsed), cachedWorkflows, perSecond.toFixed(0)]);
  print(table.toString());
  const slope = (side: Side, of: (look: Look) => number): number =>
    Math.round(slopeOf(looks[side].map((look) => [look.runs, of(look)])));
  const figures = {
    waiting: looks.wait.at(-1)?.runs ?? 0,
    rssSlopeBytes: slope("wait", ({ rss }) => rss),
    rssSlopeBytesEnding: slope("end", ({ rss }) => rss),
    heapSlopeBytes: slope("wait", ({ heapUsed }) => heapUsed),
    cachedWorkflows: looks.wait.at(-1)?.cachedWorkflows ?? 0,
    inboxRows: inbox.rows,
    inboxMs: Math.round(inbox.all * 100) / 100,
    inboxTeamMs: Math.round(inbox.team * 100) / 100,
  };
  print(
    `Each more run that waits adds ${figures.rssSlopeBytes} bytes resident and ${figures.heapSlopeBytes} of heap to its worker (a line through all levels); each that has\n` +
      `ended adds ${figures.rssSlopeBytesEnding} resident to its own: what work leaves in the allocators, whether or not anything waits.\n` +
      `At ${figures.inboxRows} requests, the first page of ${pageSize} takes ${figures.inboxMs} ms, of one team ${figures.inboxTeamMs} ms (medians of ${inboxReads}).\n` +
      `The runs are real: each is held at its first tool call, by Temporal's timer and a row in Postgres. A worker keeps ${maxCachedWorkflows} runs in memory,\n` +
      "however many wait; memory is looked at after a collection, 5 s after the last one is there. Beyond the runs, requests are filled up in Postgres alone.",
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
    limits: { maxSteps: 10, maxCostMicroUsd: 1_000_000, maxWallClockMs: 3_600_000 },
  });
  await registerRelease(pool, release, "bench", new Date());
  const { document, problems } = policySetOf([{ name: "bench.cedar", text: policy }]);
  if (problems.length > 0) throw new Error(JSON.stringify(problems));
  await activatePolicySet(pool, "bench", document as unknown as Json, "bench", new Date());
  return release;
}

async function prepare(pool: Pool, keys: PayloadKeys, { digest, document }: Release, thing: string): Promise<RunId> {
  const id = `run_${ulid()}` as RunId;
  const [input] = await putPayloads(pool, keys, [{ prompt: thing, tags: { nonce: randomUUID() } }]);
  if (input === undefined) throw new Error("no input");
  const { team, agent, limits } = document;
  await createRun(pool, { id, team, agent, release: digest, input, requestedBy: "bench", limits, now: new Date() });
  return id;
}
