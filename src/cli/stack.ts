import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { pino } from "pino";

import { openShop, setUpShop, shopUrlVariable } from "../../examples/support/database.ts";
import {
  assertPortFree,
  createHome,
  createShutdownStack,
  lockHome,
  provisionDatabase,
  provisionRole,
  secretOf,
  startPostgres,
  startTemporal,
} from "../dev/index.ts";
import type { Home } from "../dev/index.ts";
import { codeOf } from "../core/errors.ts";
import { sha256 } from "../store/index.ts";
import type { WorkflowBundle } from "../temporal/index.ts";
import { CliError } from "./cli-error.ts";
import { ledgerSettingsOf } from "./server-settings.ts";
import { setUpPeople } from "./people.ts";
import type { People } from "./people.ts";
import { openDatabase, prepareDatabase, startAgentWorker, startApi } from "./services.ts";
import type { ServiceOptions } from "./services.ts";
import { siteSettingsOf } from "./server-settings.ts";

export type StackPorts = {
  readonly api: number;
  readonly temporal: number;
  readonly temporalUi: number | undefined;
  readonly postgres: number;
};

export type StackOptions = {
  readonly home: Home;
  readonly ports: StackPorts;
  /** SHOP_DATABASE_URL is set in it, for the example's tools. */
  readonly env: NodeJS.ProcessEnv;
  readonly onProgress: (line: string) => void;
  readonly signal: AbortSignal;
  /** The workflow code. Default: bundled now. */
  readonly bundle?: WorkflowBundle;
};

export type Stack = {
  readonly apiUrl: string;
  /** Where people open it in a browser. */
  readonly pagesUrl: string;
  readonly temporalUiUrl: string | undefined;
  /** Which model answers, for people. */
  readonly model: string;
  readonly people: People;
  /** Resolves, with what to tell, when a part breaks down. */
  readonly broken: Promise<string>;
  stop(): Promise<readonly { readonly name: string; readonly error: unknown }[]>;
};

/** What an inherited environment must not decide where everything is on this machine. */
const temporalNamespace = "default";

/**
 * Everything on one machine: Postgres, Temporal, the ledger's sequencer, a worker and the API. Where a part cannot be started, those
 * before it are stopped again.
 */
export async function startStack(options: StackOptions): Promise<Stack> {
  const { home, ports, env, onProgress } = options;
  createHome(home);
  const stack = createShutdownStack();
  const broken = Promise.withResolvers<string>();
  const ended = (name: string) => () => broken.resolve(`${name} ended unexpectedly; its log is in ${home.logs}`);
  try {
    const release = lockHome(home);
    stack.add("lock", release, 1_000);
    // The last to be started, but the first to be known of: nobody should wait for two servers to be told.
    await assertPortFree(ports.api, "the API", "--port or COUNTERSIGN_PORT");
    const servers = await startServers(options, stack, ended);
    const logFile = join(home.logs, "countersign.log");
    const logger = pino(
      { level: env["COUNTERSIGN_LOG_LEVEL"] ?? "info" },
      pino.destination({ dest: logFile, sync: true }),
    );
    const services: ServiceOptions = {
      stack,
      secrets: home.secrets,
      settings: {
        databaseUrl: await appDatabase(home, servers, onProgress),
        temporal: { address: servers.temporalAddress, namespace: temporalNamespace },
        taskQueue: taskQueueOf(env, home),
      },
      logger,
    };
    const pool = await openDatabase(services, onProgress);
    if (env[shopUrlVariable] === undefined) {
      env[shopUrlVariable] = await provisionShop(home, servers);
      stack.add("the shop's address", () => void delete env[shopUrlVariable], 1_000);
    }
    onProgress("starting the worker and the API");
    const { worker, model } = await startAgentWorker(services, env, options.bundle);
    worker.failed.catch(() => ended("the worker")());
    const people = await setUpPeople(pool, home);
    const api = {
      ...services.settings,
      host: "127.0.0.1",
      port: ports.api,
      allowedHosts: [],
      ...ledgerSettingsOf(env),
      logLevel: "info",
      ...siteSettingsOf(env),
    };
    const apiUrl = await startApi({ ...services, settings: api }, pool, env);
    await writeClientFile(join(home.root, "client.json"), { url: apiUrl, ...people });
    return {
      apiUrl,
      pagesUrl: api.origin ?? `http://localhost:${new URL(apiUrl).port}`,
      temporalUiUrl: servers.temporalUiUrl,
      model,
      people,
      broken: broken.promise,
      stop: () => stack.run(),
    };
  } catch (error) {
    await stack.run();
    throw error;
  }
}

/** A Temporal server of one's own has one queue. A shared one has a queue for each data directory, or they would take each other's runs. */
function taskQueueOf(env: NodeJS.ProcessEnv, home: Home): string {
  const given = env["COUNTERSIGN_TASK_QUEUE"];
  if (given !== undefined && given !== "") return given;
  const shared = env["TEMPORAL_ADDRESS"] !== undefined && env["TEMPORAL_ADDRESS"] !== "";
  return shared ? `countersign-${sha256(home.root).slice(0, 12)}` : "countersign";
}

async function startServers(
  { home, ports, env, onProgress, signal }: StackOptions,
  stack: ReturnType<typeof createShutdownStack>,
  ended: (name: string) => () => void,
) {
  onProgress("starting Postgres and Temporal");
  const postgres = await startPostgres({
    home,
    port: ports.postgres,
    databaseUrl: env["DATABASE_URL"],
    onProgress,
    onExit: ended("Postgres"),
  });
  stack.add("Postgres", () => postgres.stop(), 20_000);
  const temporal = await startTemporal({
    home,
    port: ports.temporal,
    uiPort: ports.temporalUi,
    address: env["TEMPORAL_ADDRESS"],
    env,
    onProgress,
    onExit: ended("Temporal"),
    signal,
  });
  stack.add("Temporal", () => temporal.stop(), 20_000);
  return {
    databaseUrl: postgres.url,
    adminUrl: postgres.adminUrl,
    temporalAddress: temporal.address,
    temporalUiUrl: temporal.uiUrl,
  };
}

/**
 * The URL of the role that server and worker connect as: it cannot rewrite the ledger, as the owner, which migrates, could. On a Postgres that
 * is not ours to make roles in, the role that was given.
 */
async function appDatabase(
  home: Home,
  { adminUrl, databaseUrl }: { readonly adminUrl: string | undefined; readonly databaseUrl: string },
  onProgress: (line: string) => void,
): Promise<string> {
  if (adminUrl === undefined) return databaseUrl;
  const role = "countersign_app";
  const password = secretOf(home, "postgres-app");
  const url = await provisionRole(adminUrl, { database: new URL(databaseUrl).pathname.slice(1), role, password });
  await prepareDatabase(databaseUrl, role, onProgress);
  return url;
}

/**
 * The example's orders: a database of its own, with a role that can reach nothing else. On a Postgres that is not ours to make roles
 * in, a schema beside Countersign's.
 */
async function provisionShop(
  home: Home,
  servers: { readonly adminUrl: string | undefined; readonly databaseUrl: string },
): Promise<string> {
  const password = secretOf(home, "postgres-shop");
  const url =
    servers.adminUrl === undefined
      ? servers.databaseUrl
      : await provisionDatabase(servers.adminUrl, { database: "shop", role: "shop", password, schema: "shop" });
  const pool = openShop(url);
  try {
    await setUpShop(pool);
  } catch (cause) {
    if (codeOf(cause) !== insufficientPrivilege) throw cause;
    throw new CliError(
      "environment",
      "the role of DATABASE_URL may not make the schema that the example keeps its orders in",
      {
        cause,
        hint: `set ${shopUrlVariable} to a database where it may, or start the parts one by one, without the example: countersign server, countersign worker`,
      },
    );
  } finally {
    await pool.end();
  }
  return url;
}

const insufficientPrivilege = "42501";

async function writeClientFile(path: string, contents: object): Promise<void> {
  const fresh = `${path}.${process.pid}`;
  await writeFile(fresh, `${JSON.stringify(contents, undefined, 2)}\n`, { mode: 0o600 });
  await rename(fresh, path);
}
