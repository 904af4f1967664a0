import { spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readPid, startChild, stopStale, tailOf } from "./child.ts";
import type { ChildExit, OwnedChild, StopStep } from "./child.ts";
import { DevError } from "./errors.ts";
import { createHome, secretOf } from "./home.ts";
import type { Home } from "./home.ts";
import { assertPortFree } from "./ports.ts";
import { postgresBinaries } from "./postgres-binaries.ts";
import type { PostgresBinaries } from "./postgres-binaries.ts";
import { makePostgresDirectory, postgresLauncher } from "./postgres-user.ts";
import type { PostgresLauncher } from "./postgres-user.ts";
import { isAlive } from "./process-table.ts";
import { checkPostgres, provisionDatabase } from "./provision.ts";

export type PostgresOptions = {
  readonly home: Home;
  /** The port of 127.0.0.1 to listen on. */
  readonly port: number;
  /** DATABASE_URL: a server to use instead of the embedded one. It is checked, and never started or stopped. */
  readonly databaseUrl?: string | undefined;
  /** Server settings beside the defaults, such as `{ fsync: "off" }` in tests. */
  readonly settings?: Readonly<Record<string, string>>;
  readonly onProgress?: ((line: string) => void) | undefined;
  /** Called when the embedded server ends without `stop`. */
  readonly onExit?: ((exit: ChildExit) => void) | undefined;
};

export type RunningPostgres = {
  /** The URL of Countersign's own database, with a role that owns it and nothing else (or DATABASE_URL). */
  readonly url: string;
  /** A superuser's URL, for `provisionDatabase`. Undefined when the server is not ours. */
  readonly adminUrl: string | undefined;
  stop(): Promise<void>;
};

const oldestVersion = 15;
const superuser = "postgres";
const portOption = "--postgres-port or COUNTERSIGN_POSTGRES_PORT";

/**
 * For one machine with other work. `synchronous_commit` and `fsync` stay on: a recorded decision survives a power cut. TCP on
 * loopback is the only way in, so two homes never meet in a socket directory.
 */
const defaultSettings: Readonly<Record<string, string>> = {
  listen_addresses: "127.0.0.1",
  unix_socket_directories: "",
  shared_buffers: "128MB",
  max_connections: "100",
  synchronous_commit: "on",
  wal_level: "minimal",
  max_wal_senders: "0",
  timezone: "UTC",
  log_timezone: "UTC",
};

/** SIGINT is Postgres' fast shutdown: it rolls open transactions back and checkpoints. SIGQUIT leaves that to recovery. */
const stopSteps: readonly StopStep[] = [
  { signal: "SIGINT", waitMs: 15_000 },
  { signal: "SIGQUIT", waitMs: 5_000 },
];

/**
 * Starts the Postgres that Countersign keeps its data in, on first use initialising it, and returns when it answers.
 * Throws DevError: `postgres_unreachable`, `postgres_too_old`, `postgres_failed`, `port_taken`.
 */
export async function startPostgres(options: PostgresOptions): Promise<RunningPostgres> {
  if (options.databaseUrl !== undefined && options.databaseUrl !== "") {
    await checkPostgres(options.databaseUrl, oldestVersion);
    return { url: options.databaseUrl, adminUrl: undefined, stop: async () => undefined };
  }
  const { home, port } = options;
  createHome(home);
  const binaries = await postgresBinaries();
  const launcher = postgresLauncher(home, binaries.directory);
  const password = superuserPassword(home);
  await endStale(home);
  await assertPortFree(port, "postgres", portOption);
  if (!existsSync(home.postgres)) {
    options.onProgress?.("initialising postgres");
    await initialise(home, binaries, launcher, password);
  }
  checkDataVersion(home);
  const server = await startServer(options, binaries, launcher);
  try {
    const adminUrl = `postgres://${superuser}:${password}@127.0.0.1:${port}/postgres`;
    await untilReady(adminUrl, server, logOf(home));
    const own = { database: "countersign", role: "countersign", password: secretOf(home, "postgres-countersign") };
    const url = await provisionDatabase(adminUrl, own);
    return { url, adminUrl, stop: server.stop };
  } catch (error) {
    await server.stop();
    throw error;
  }
}

function logOf(home: Home): string {
  return join(home.logs, "postgres.log");
}

function superuserPassword(home: Home): string {
  if (existsSync(home.postgres) && !existsSync(join(home.secrets, "postgres-superuser"))) {
    throw new DevError("postgres_failed", `the password of \`${home.postgres}\` is missing from \`${home.secrets}\``, {
      hint: "restore secrets/postgres-superuser, or start with another COUNTERSIGN_HOME",
    });
  }
  return secretOf(home, "postgres-superuser");
}

/**
 * Ends a server that a killed parent left behind on this data directory. When the pid in `postmaster.pid` is dead or names
 * another program by now, the file is stale: Postgres itself would refuse to start in the second case.
 */
async function endStale(home: Home): Promise<void> {
  const pidFile = join(home.postgres, "postmaster.pid");
  const pid = readPid(pidFile);
  if (pid === undefined) return;
  await stopStale(pidFile, ["postgres", home.postgres], stopSteps);
  if (!isAlive(pid)) rmSync(join(home.run, "postgres.pid"), { force: true });
}

/** `initdb` into a directory beside, then a rename: an interrupted first start leaves nothing half-made. */
async function initialise(
  home: Home,
  binaries: PostgresBinaries,
  launcher: PostgresLauncher,
  password: string,
): Promise<void> {
  const draft = `${home.postgres}.initialising`;
  const passwordFile = `${draft}.password`;
  rmSync(draft, { recursive: true, force: true });
  makePostgresDirectory(draft, launcher);
  writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 });
  launcher.give(passwordFile);
  try {
    const { command, args } = launcher.wrap(binaries.initdb, [
      `--pgdata=${draft}`,
      `--username=${superuser}`,
      `--pwfile=${passwordFile}`,
      "--auth=scram-sha-256",
      "--encoding=UTF8",
      "--locale=C",
      "--locale-provider=builtin",
      "--builtin-locale=C.UTF-8",
    ]);
    await runLogged(command, args, launcher, logOf(home));
  } finally {
    rmSync(passwordFile, { force: true });
  }
  renameSync(draft, home.postgres);
}

function runLogged(command: string, args: readonly string[], user: PostgresLauncher, logFile: string): Promise<void> {
  const log = openSync(logFile, "a", 0o600);
  const { uid, gid } = user;
  const ids = uid === undefined || gid === undefined ? {} : { uid, gid };
  return new Promise<void>((resolve, reject) => {
    const child = spawn(command, [...args], { env: serverEnvironment(), stdio: ["ignore", log, log], ...ids });
    child.once("error", reject);
    child.once("exit", (code) => {
      if (code === 0) resolve();
      else reject(failed(`postgres could not be initialised (initdb exited with ${code})`, logFile));
    });
  }).finally(() => closeSync(log));
}

/** A data directory is bound to Postgres' major version. */
function checkDataVersion(home: Home): void {
  const found = readFileSync(join(home.postgres, "PG_VERSION"), "utf8").trim();
  if (found === "18") return;
  throw new DevError("postgres_failed", `\`${home.postgres}\` holds data of postgres ${found}, expected 18`, {
    hint: "move the data with pg_dump and pg_restore, or start with another COUNTERSIGN_HOME",
  });
}

function startServer(
  options: PostgresOptions,
  binaries: PostgresBinaries,
  launcher: PostgresLauncher,
): Promise<OwnedChild> {
  const { home, port } = options;
  const settings = Object.entries({ ...defaultSettings, ...options.settings });
  const flags = settings.flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  return startChild({
    ...launcher.wrap(binaries.postgres, ["-D", home.postgres, "-p", String(port), ...flags]),
    env: serverEnvironment(),
    logFile: logOf(home),
    pidFile: join(home.run, "postgres.pid"),
    stopSteps,
    uid: launcher.uid,
    gid: launcher.gid,
    onExit: options.onExit,
  });
}

/** Nothing of this process's environment: it may hold keys, and `COPY … PROGRAM` would see them. */
function serverEnvironment(): NodeJS.ProcessEnv {
  return { PATH: process.env["PATH"], LC_ALL: "C", TZ: "UTC" };
}

async function untilReady(adminUrl: string, server: OwnedChild, logFile: string): Promise<void> {
  let ended = false;
  void server.exited.then(() => (ended = true));
  // Recovery after a crash replays the log first: long, but it ends.
  const deadline = performance.now() + 60_000;
  for (;;) {
    const failure = await checkPostgres(adminUrl, oldestVersion).then(
      () => undefined,
      (error: unknown) => error,
    );
    if (failure === undefined) return;
    if (ended) throw failed("postgres ended while starting", logFile);
    if (performance.now() > deadline) throw failed("postgres did not answer within 60 s", logFile);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function failed(message: string, logFile: string): DevError {
  return new DevError("postgres_failed", message, { hint: `see \`${logFile}\`, which ends:\n${tailOf(logFile)}` });
}
