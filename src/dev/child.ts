import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import { commandLineOf, isAlive, waitUntilGone } from "./process-table.ts";

/** One rung of stopping a process: the signal, and how long it gets before the next one. */
export type StopStep = { readonly signal: NodeJS.Signals; readonly waitMs: number };

export type ChildExit = { readonly code: number | null; readonly signal: NodeJS.Signals | null };

export type ChildOptions = {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly logFile: string;
  /** Where the pid is kept while the process runs, for `stopStale` of a later start. */
  readonly pidFile: string;
  readonly stopSteps: readonly StopStep[];
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  /** Called when the process ends without `stop` having been called. */
  readonly onExit?: ((exit: ChildExit) => void) | undefined;
};

export type OwnedChild = {
  readonly pid: number;
  readonly exited: Promise<ChildExit>;
  readonly stop: () => Promise<void>;
};

const running = new Map<ChildProcess, NodeJS.Signals>();
const maxLogBytes = 10 * 1024 * 1024;

/**
 * Starts a server that belongs to this process. It gets a session of its own, so that Ctrl-C reaches only this process,
 * which then stops its children in order. When this process exits in any way it can notice, the child is signalled;
 * after a SIGKILL of this process the child lives on, and the next start ends it with `stopStale`.
 */
export async function startChild(options: ChildOptions): Promise<OwnedChild> {
  const log = openLog(options.logFile);
  const child = spawn(options.command, [...options.args], {
    env: options.env,
    detached: true,
    stdio: ["ignore", log, log],
    ...(options.uid === undefined ? {} : { uid: options.uid }),
    ...(options.gid === undefined ? {} : { gid: options.gid }),
  });
  closeSync(log);
  const pid = await spawned(child);
  writeFileSync(options.pidFile, `${pid}\n`, { mode: 0o600 });
  signalOnExit(child, options.stopSteps[0]?.signal ?? "SIGTERM");

  let stopping = false;
  const exited = new Promise<ChildExit>((resolve) => {
    child.once("exit", (code, signal) => {
      running.delete(child);
      rmSync(options.pidFile, { force: true });
      resolve({ code, signal });
      if (!stopping) options.onExit?.({ code, signal });
    });
  });
  const stop = async (): Promise<void> => {
    stopping = true;
    for (const step of options.stopSteps) {
      if (!running.has(child)) return;
      child.kill(step.signal);
      await Promise.race([exited, sleep(step.waitMs)]);
    }
    if (!running.has(child)) return;
    child.kill("SIGKILL");
    await exited;
  };
  return { pid, exited, stop };
}

/**
 * Ends the process that an earlier, killed parent left behind under `pidFile`, if its command line still holds every one of
 * `marks`; a pid that now names something else is left alone. Returns whether one was ended.
 */
export async function stopStale(
  pidFile: string,
  marks: readonly string[],
  steps: readonly StopStep[],
): Promise<boolean> {
  const pid = readPid(pidFile);
  if (pid === undefined) return false;
  const isOurs = (): boolean => {
    const commandLine = isAlive(pid) ? commandLineOf(pid) : undefined;
    return commandLine !== undefined && marks.every((mark) => commandLine.includes(mark));
  };
  const found = isOurs();
  for (const step of [...steps, { signal: "SIGKILL", waitMs: 5_000 } as const]) {
    if (!isOurs()) break;
    process.kill(pid, step.signal);
    if (await waitUntilGone(pid, step.waitMs)) break;
  }
  rmSync(pidFile, { force: true });
  return found;
}

/** The pid on the first line of `file` (Postgres' own `postmaster.pid` begins with it too). */
export function readPid(file: string): number | undefined {
  if (!existsSync(file)) return undefined;
  const pid = Number.parseInt(readFileSync(file, "utf8"), 10);
  return Number.isInteger(pid) && pid > 1 ? pid : undefined;
}

/** The last lines of a log, for an error's hint. */
export function tailOf(file: string, lines = 5): string {
  if (!existsSync(file)) return "";
  return readFileSync(file, "utf8").trimEnd().split("\n").slice(-lines).join("\n");
}

function openLog(file: string): number {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  if (existsSync(file) && statSync(file).size > maxLogBytes) renameSync(file, `${file}.1`);
  return openSync(file, "a", 0o600);
}

function spawned(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("spawn", () => resolve(child.pid ?? 0));
  });
}

function signalOnExit(child: ChildProcess, signal: NodeJS.Signals): void {
  if (running.size === 0) process.once("exit", signalAll);
  running.set(child, signal);
}

function signalAll(): void {
  for (const [child, signal] of running) child.kill(signal);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
