import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { faultText, parseFaults } from "../../../src/faults/index.ts";
import type { Fault, FaultPoint } from "../../../src/faults/index.ts";
import type { ChildOptions, Rearming } from "./child.ts";

const program = fileURLToPath(new URL("./child.ts", import.meta.url));
const restartMs = 300;

/** A process that is started again whenever it ends, as a service manager would, and with what is left of its faults. */
export type Supervised = {
  /** How often it was started. */
  readonly starts: () => number;
  /** Has what is to happen from now on be that of `log`, also where the process is being started again just now. */
  rearm(log: FaultLog): Promise<void>;
  signal(signal: NodeJS.Signals): void;
  /** Asks it to end, and lets it end; by force where it does not. */
  stop(): Promise<void>;
};

/** What the processes of one role noted of the points that they came to. */
export class FaultLog {
  readonly path: string;
  readonly #faults: readonly Fault[];

  constructor(folder: string, role: string, faults: readonly Fault[]) {
    this.path = join(folder, `${role}.hits`);
    this.#faults = faults;
  }

  #lines(): readonly string[] {
    return existsSync(this.path)
      ? readFileSync(this.path, "utf8")
          .split("\n")
          .filter((line) => line !== "")
      : [];
  }

  /** How often each point was come to. */
  hits(): ReadonlyMap<FaultPoint, number> {
    const counts = new Map<FaultPoint, number>();
    for (const line of this.#lines()) {
      const point = line.split(":")[0] as FaultPoint;
      counts.set(point, (counts.get(point) ?? 0) + 1);
    }
    return counts;
  }

  /** The faults that happened, each once. */
  struck(): readonly Fault[] {
    const seen = new Set(this.#lines());
    return this.#faults.filter((fault) => [...seen].some((line) => isOf(line, fault)));
  }

  /** What to arm the next process with. */
  left(): readonly Fault[] {
    const struck = new Set(this.struck());
    return this.#faults.filter((fault) => fault.hit === 0 || !struck.has(fault));
  }
}

function isOf(line: string, fault: Fault): boolean {
  const [struck] = parseFaults(line) ?? [];
  return struck?.point === fault.point && struck.kind === fault.kind && (fault.hit === 0 || struck.hit === fault.hit);
}

/** None outlives whoever watches. */
const running = new Set<ChildProcess>();
const ends = new WeakMap<ChildProcess, Promise<void>>();
let watching = false;

function arming(log: FaultLog): Rearming {
  const faults = log.left().map(faultText).join(",");
  return { COUNTERSIGN_FAULT: faults === "" ? "none" : faults, COUNTERSIGN_FAULT_LOG: log.path };
}

function start(options: ChildOptions, log: FaultLog): ChildProcess {
  const { PATH, HOME, TEST_LOG, XDG_CACHE_HOME } = process.env;
  const child = spawn(process.execPath, [program], {
    env: {
      ...Object.fromEntries(
        Object.entries({ PATH, HOME, TEST_LOG, XDG_CACHE_HOME }).filter(([, value]) => value !== undefined),
      ),
      // Read and stripped of types once, not by every process.
      NODE_COMPILE_CACHE: join(options.home, "..", "compiled"),
      CHILD_OPTIONS: JSON.stringify(options),
      ...arming(log),
    },
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  if (!watching) process.once("exit", () => running.forEach((one) => one.kill("SIGKILL")));
  watching = true;
  running.add(child);
  // A process that has just been killed cannot be told anything.
  child.on("error", () => undefined);
  ends.set(
    child,
    new Promise((resolve) => {
      child.once("exit", () => {
        running.delete(child);
        resolve();
      });
    }),
  );
  return child;
}

async function ended(child: ChildProcess): Promise<void> {
  await ends.get(child);
}

export function supervise(options: ChildOptions, first: FaultLog): Supervised {
  let log = first;
  let stopping = false;
  let starts = 0;
  let child = begin();
  function begin(): ChildProcess {
    starts += 1;
    const started = start(options, log);
    void ended(started).then(async () => {
      await sleep(restartMs);
      if (!stopping && child === started) child = begin();
    });
    return started;
  }
  return {
    starts: () => starts,
    async rearm(next) {
      log = next;
      const armed = new Promise<void>((resolve) => child.once("message", () => resolve()));
      if (child.connected) child.send(arming(log), () => undefined);
      await Promise.race([armed, ended(child)]);
    },
    signal: (signal) => void child.kill(signal),
    async stop() {
      stopping = true;
      // A stopped one would never hear it.
      child.kill("SIGCONT");
      child.kill("SIGTERM");
      await Promise.race([ended(child), sleep(8_000, undefined, { ref: false })]);
      child.kill("SIGKILL");
      await ended(child);
    },
  };
}

/** Runs a process to its end. Returns whether it ended well. */
export async function runOnce(options: ChildOptions, log: FaultLog): Promise<boolean> {
  const child = start(options, log);
  await ended(child);
  return child.exitCode === 0;
}
