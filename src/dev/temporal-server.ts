import { connect } from "node:net";
import { join } from "node:path";
import { Connection } from "@temporalio/client";
import { startChild, stopStale, tailOf } from "./child.ts";
import type { ChildExit, OwnedChild, StopStep } from "./child.ts";
import { DevError } from "./errors.ts";
import { createHome } from "./home.ts";
import type { Home } from "./home.ts";
import { assertPortFree } from "./ports.ts";
import { throwIfAborted } from "./run-program.ts";
import { findTemporal } from "./temporal-binary.ts";

export type SearchAttributeType = "Text" | "Keyword" | "Int" | "Double" | "Bool" | "Datetime" | "KeywordList";

export type TemporalOptions = {
  readonly home: Home;
  /** The port of 127.0.0.1 for gRPC. */
  readonly port: number;
  /** The port of 127.0.0.1 for Temporal's own web UI; without it there is none. */
  readonly uiPort?: number | undefined;
  /** TEMPORAL_ADDRESS: a server to use instead. Only that something listens there is checked, since it may want TLS and a key. */
  readonly address?: string | undefined;
  /** A namespace beside `default`. */
  readonly namespace?: string | undefined;
  readonly searchAttributes?: Readonly<Record<string, SearchAttributeType>>;
  /** More of its dynamic configuration, by key; values as JSON. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Where PATH, HOME, XDG_CACHE_HOME and Go's variables are read. */
  readonly env: NodeJS.ProcessEnv;
  readonly onProgress?: ((line: string) => void) | undefined;
  /** Cancels the search, the build and the wait for the server. */
  readonly signal?: AbortSignal | undefined;
  /** Called when the server ends without `stop`. */
  readonly onExit?: ((exit: ChildExit) => void) | undefined;
};

export type RunningTemporal = {
  /** `host:port` of the gRPC frontend. */
  readonly address: string;
  readonly uiUrl: string | undefined;
  stop(): Promise<void>;
};

const stopSteps: readonly StopStep[] = [{ signal: "SIGTERM", waitMs: 10_000 }];

/** Without these, a step waits for poll timers: 105 ms for a lone one, 12 ms with them. */
const dynamicConfig: Readonly<Record<string, string>> = {
  "system.enableActivityEagerExecution": "true",
  "history.transferProcessorMaxPollRPS": "100000",
  "history.transferProcessorMaxPollHostRPS": "100000",
};

/**
 * WAL with NORMAL survives the death of the process; a power cut may take the last commits. What was decided is safe all the
 * same: the decision is in Postgres before the activity that acts on it returns.
 */
const sqlitePragmas: Readonly<Record<string, string>> = { journal_mode: "WAL", synchronous: "NORMAL" };

/**
 * Starts a Temporal server whose state is in `home`, and returns when its namespace answers.
 * Throws DevError: `temporal_missing`, `temporal_unreachable`, `temporal_failed`, `port_taken`, `aborted`.
 */
export async function startTemporal(options: TemporalOptions): Promise<RunningTemporal> {
  if (options.address !== undefined && options.address !== "") {
    await checkListening(options.address);
    return { address: options.address, uiUrl: undefined, stop: async () => undefined };
  }
  const { home, port, uiPort } = options;
  createHome(home);
  const binary = await findTemporal(options);
  await stopStale(pidFileOf(home), ["server start-dev", databaseOf(home)], stopSteps);
  await assertPortFree(port, "temporal", "--temporal-port or COUNTERSIGN_TEMPORAL_PORT");
  if (uiPort !== undefined)
    await assertPortFree(uiPort, "temporal's web UI", "--temporal-ui-port or COUNTERSIGN_TEMPORAL_UI_PORT");
  throwIfAborted(options.signal);
  const server = await startChild({
    command: binary.path,
    args: serverArguments(options),
    env: { PATH: options.env["PATH"], HOME: home.root },
    logFile: logOf(home),
    pidFile: pidFileOf(home),
    stopSteps,
    onExit: options.onExit,
  });
  const address = `127.0.0.1:${port}`;
  try {
    await untilReady(address, server, options);
  } catch (error) {
    await server.stop();
    throw error;
  }
  return { address, uiUrl: uiPort === undefined ? undefined : `http://127.0.0.1:${uiPort}`, stop: server.stop };
}

function serverArguments({
  home,
  port,
  uiPort,
  namespace,
  searchAttributes,
  settings,
}: TemporalOptions): readonly string[] {
  const pairs = (flag: string, values: Readonly<Record<string, string>>): readonly string[] =>
    Object.entries(values).flatMap(([name, value]) => [flag, `${name}=${value}`]);
  return [
    ...["server", "start-dev", "--ip", "127.0.0.1", "--port", String(port)],
    ...["--db-filename", databaseOf(home), "--namespace", namespace ?? "default"],
    ...(uiPort === undefined ? ["--headless"] : ["--ui-port", String(uiPort)]),
    ...["--log-format", "json", "--log-level", "warn", "--color", "never"],
    ...pairs("--dynamic-config-value", { ...dynamicConfig, ...settings }),
    ...pairs("--sqlite-pragma", sqlitePragmas),
    ...pairs("--search-attribute", searchAttributes ?? {}),
  ];
}

function databaseOf(home: Home): string {
  return join(home.temporal, "temporal.db");
}

function pidFileOf(home: Home): string {
  return join(home.run, "temporal.pid");
}

function logOf(home: Home): string {
  return join(home.logs, "temporal.log");
}

async function untilReady(address: string, server: OwnedChild, options: TemporalOptions): Promise<void> {
  let ended = false;
  void server.exited.then(() => (ended = true));
  const deadline = performance.now() + 30_000;
  while (!(await answers(address, options.namespace ?? "default"))) {
    throwIfAborted(options.signal);
    if (ended) throw failed("temporal ended while starting", logOf(options.home));
    if (performance.now() > deadline) throw failed("temporal did not answer within 30 s", logOf(options.home));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function answers(address: string, namespace: string): Promise<boolean> {
  const connection = await Connection.connect({ address, connectTimeout: 2_000 }).catch(() => undefined);
  if (connection === undefined) return false;
  try {
    await connection.workflowService.describeNamespace({ namespace });
    return true;
  } catch {
    return false;
  } finally {
    await connection.close();
  }
}

function failed(message: string, logFile: string): DevError {
  return new DevError("temporal_failed", message, { hint: `see \`${logFile}\`, which ends:\n${tailOf(logFile)}` });
}

function checkListening(address: string): Promise<void> {
  const [, host, port] = /^\[?(.+?)\]?:(\d+)$/.exec(address) ?? [];
  const hint = "check TEMPORAL_ADDRESS (host:port), or unset it to use the embedded server";
  if (host === undefined || port === undefined) {
    throw new DevError("temporal_unreachable", `expected host:port in TEMPORAL_ADDRESS, got \`${address}\``, { hint });
  }
  return new Promise((resolve, reject) => {
    const refuse = (reason: string): void => {
      socket.destroy();
      reject(new DevError("temporal_unreachable", `temporal does not answer at \`${address}\`: ${reason}`, { hint }));
    };
    const socket = connect({ host, port: Number(port), timeout: 5_000 });
    socket.once("connect", () => resolve(void socket.destroy()));
    socket.once("timeout", () => refuse("no answer within 5 s"));
    socket.once("error", (error: NodeJS.ErrnoException) => refuse(error.code ?? error.message));
  });
}
