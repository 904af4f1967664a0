import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import pg from "pg";

import {
  createShutdownStack,
  freePort,
  provisionDatabase,
  resolveHome,
  startPostgres,
  startTemporal,
} from "../../../src/dev/index.ts";
import { defineScript, scriptSource, startScriptedModel } from "../../../src/providers/index.ts";
import { createPool, migrate } from "../../../src/store/index.ts";
import { bundleWorkflows, connectTemporal } from "../../../src/temporal/index.ts";
import type { TemporalConnection } from "../../../src/temporal/index.ts";
import { hastyCode, hastyTemporal } from "../../support/hasty.ts";
import type { Outage } from "./facts.ts";
import { modelName, branches } from "./prompts.ts";
import { startTools } from "./tools.ts";
import type { Tools } from "./tools.ts";

const role = { role: "countersign_faults", password: "countersign_faults" } as const;
const template = "countersign_template";
/** A power cut is not among the faults: the machine outlives them all. */
const settings = { fsync: "off", full_page_writes: "off", max_connections: "400", shared_buffers: "256MB" };

/** How long a server is away. */
const awayMs = 1_500;

/** What all cases share: one Postgres, one Temporal, one model and the tools, each in the way of being killed. */
export type Lab = {
  readonly folder: string;
  readonly tools: Tools;
  readonly modelUrl: string;
  readonly temporal: { readonly address: string; readonly namespace: string };
  readonly client: TemporalConnection["client"];
  /** The workflow code, bundled once. */
  readonly bundle: string;
  readonly adminUrl: string;
  /** A migrated database of one's own; its URL. */
  freshDatabase(): Promise<string>;
  /** Ends Postgres without a word to anybody, as `pg_ctl stop -m immediate` does, and starts it again. One server is away at a time: whoever asks
   * meanwhile waits for the one that is under way. */
  losePostgres(): Promise<void>;
  /** The same with Temporal, by SIGKILL. */
  loseTemporal(): Promise<void>;
  /** When Postgres was away. */
  readonly outages: readonly Outage[];
  /** Ends every connection to a database. Returns how many. */
  cutConnections(databaseUrl: string): Promise<number>;
  stop(): Promise<void>;
};

export async function startLab(onProgress: (line: string) => void = () => undefined): Promise<Lab> {
  const folder = await mkdtemp(join(tmpdir(), "countersign-faults-"));
  const home = resolveHome({ COUNTERSIGN_HOME: folder });
  const stack = createShutdownStack();
  stack.add("folder", () => rm(folder, { recursive: true, force: true }), 20_000);
  try {
    return await build(folder, home, stack, onProgress);
  } catch (error) {
    await stack.run();
    throw error;
  }
}

async function build(
  folder: string,
  home: ReturnType<typeof resolveHome>,
  stack: ReturnType<typeof createShutdownStack>,
  onProgress: (line: string) => void,
): Promise<Lab> {
  const [postgresPort, temporalPort] = [await freePort(), await freePort()];
  onProgress("starting Postgres and Temporal, bundling the workflows");
  const ended = { postgres: Promise.withResolvers<void>(), temporal: Promise.withResolvers<void>() };
  const postgresUp = async () => {
    ended.postgres = Promise.withResolvers();
    return startPostgres({ home, port: postgresPort, settings, onExit: () => ended.postgres.resolve() });
  };
  const temporalUp = async () => {
    ended.temporal = Promise.withResolvers();
    return startTemporal({
      home,
      port: temporalPort,
      env: process.env,
      settings: hastyTemporal,
      onProgress,
      onExit: () => ended.temporal.resolve(),
    });
  };
  let postgres = await postgresUp();
  stack.add("postgres", () => postgres.stop(), 30_000);
  let temporal = await temporalUp();
  stack.add("temporal", () => temporal.stop(), 30_000);
  const { adminUrl } = postgres;
  if (adminUrl === undefined) throw new Error("faults are tried on an embedded Postgres only: unset DATABASE_URL");
  await makeTemplate(adminUrl);
  const bundle = join(folder, "workflows.js");
  await writeFile(bundle, hastyCode((await bundleWorkflows()).code));
  const script = defineScript({ v: 1, model: modelName, branches });
  const model = await startScriptedModel({ scripts: [scriptSource([script])] });
  stack.add("model", () => model.close(), 5_000);
  const tools = await startTools();
  stack.add("tools", () => tools.stop(), 5_000);
  const outages: Outage[] = [];
  let underWay: Promise<void> = Promise.resolve();
  const away = (lose: () => Promise<void>): Promise<void> => {
    underWay = underWay.then(lose);
    return underWay;
  };
  const connection = await connectTemporal({ address: temporal.address, namespace: "default" });
  stack.add("connection", () => connection.close(), 5_000);
  return {
    folder,
    tools,
    modelUrl: model.url,
    temporal: { address: temporal.address, namespace: "default" },
    client: connection.client,
    bundle,
    adminUrl,
    async freshDatabase() {
      const name = `faults_${randomBytes(6).toString("hex")}`;
      await asAdmin(adminUrl, (client) =>
        client.query(`create database ${name} template ${template} owner ${role.role}`),
      );
      const url = new URL(adminUrl);
      [url.username, url.password, url.pathname] = [role.role, role.password, `/${name}`];
      return url.href;
    },
    outages,
    losePostgres: () =>
      away(async () => {
        process.kill(pidIn(join(home.postgres, "postmaster.pid")), "SIGQUIT");
        await ended.postgres.promise;
        const from = Date.now();
        await sleep(awayMs);
        outages.push({ what: "Postgres was down", from, to: Date.now() });
        postgres = await postgresUp();
      }),
    loseTemporal: () =>
      away(async () => {
        process.kill(pidIn(join(home.run, "temporal.pid")), "SIGKILL");
        await ended.temporal.promise;
        await sleep(awayMs);
        temporal = await temporalUp();
      }),
    async cutConnections(databaseUrl) {
      const { rowCount } = await asAdmin(adminUrl, (client) =>
        client.query(
          "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()",
          [new URL(databaseUrl).pathname.slice(1)],
        ),
      );
      return rowCount ?? 0;
    },
    stop: async () => void (await stack.run()),
  };
}

function pidIn(file: string): number {
  return Number.parseInt(readFileSync(file, "utf8"), 10);
}

async function makeTemplate(adminUrl: string): Promise<void> {
  const pool = createPool({ url: await provisionDatabase(adminUrl, { database: template, ...role }), max: 1 });
  try {
    await migrate(pool);
  } finally {
    await pool.end();
  }
}

export async function asAdmin<Result>(url: string, work: (client: pg.Client) => Promise<Result>): Promise<Result> {
  const client = new pg.Client({ connectionString: url });
  // Cut while it is at work, perhaps: its query says so too.
  client.on("error", () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Polls until `look` finds something; undefined where it has not by then. What it throws counts as nothing found. */
export async function poll<Found>(
  look: () => Promise<Found | undefined>,
  timeoutMs: number,
  everyMs = 100,
): Promise<Found | undefined> {
  const end = Date.now() + timeoutMs;
  for (;;) {
    const found = await look().catch(() => undefined);
    if (found !== undefined || Date.now() > end) return found;
    await sleep(everyMs);
  }
}
