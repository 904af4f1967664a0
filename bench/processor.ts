import { readdirSync, readFileSync } from "node:fs";
import { loadavg } from "node:os";

import type { Pool } from "../src/store/index.ts";

/** What a piece of work took. `nodeMs` and `postgresMs` are processor time: other work on the machine takes little of it away. */
export type Spent = {
  readonly wallMs: number;
  readonly nodeMs: number;
  /** Undefined where there is no /proc to read it from; so is the other. */
  readonly postgresMs: number | undefined;
  /** Of the processes that replay runs. */
  readonly childrenMs: number | undefined;
  /** Processes that wanted to run, over the last minute. */
  readonly load: number;
};

/** Clock ticks a second in /proc: 100 on every Linux that Node runs on. */
const tickMs = 10;

/** Measures work of this process and of the Postgres that `pool` reaches, on the same machine. */
export async function createMeter(
  pool: Pool,
): Promise<<Result>(work: () => Promise<Result>) => Promise<Spent & { result: Result }>> {
  const { rows } = await pool.query<{ pid: number }>("select pg_backend_pid() as pid");
  const server = rows[0] === undefined ? undefined : statOf(rows[0].pid)?.parent;
  return async (work) => {
    const [start, node, postgres, children] = [performance.now(), process.cpuUsage(), postgresMs(server), replayMs()];
    const result = await work();
    const { user, system } = process.cpuUsage(node);
    const [after, childrenAfter] = [postgresMs(server), replayMs()];
    return {
      result,
      wallMs: performance.now() - start,
      nodeMs: (user + system) / 1_000,
      postgresMs: postgres === undefined || after === undefined ? undefined : after - postgres,
      childrenMs: childrenAfter - children,
      load: loadavg()[0] ?? Number.NaN,
    };
  };
}

/** Of the server, its processes now, and those that have ended. */
function postgresMs(server: number | undefined): number | undefined {
  if (server === undefined) return undefined;
  const all = readdirSync("/proc").flatMap((name) => (/^\d+$/.test(name) ? (statOf(Number(name)) ?? []) : []));
  const ticks = all.reduce((sum, { pid, parent, own, children }) => {
    if (pid === server) return sum + own + children;
    return parent === server ? sum + own : sum;
  }, 0);
  return ticks * tickMs;
}

function replayMs(): number {
  const own = readdirSync("/proc").flatMap((name) => {
    const stat = /^\d+$/.test(name) ? statOf(Number(name)) : undefined;
    return stat?.parent === process.pid && commandOf(stat.pid).includes("replay-process") ? [stat.own] : [];
  });
  return own.reduce((sum, ticks) => sum + ticks, 0) * tickMs;
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return "";
  }
}

type Stat = { readonly pid: number; readonly parent: number; readonly own: number; readonly children: number };

function statOf(pid: number): Stat | undefined {
  try {
    // The name, in brackets, may hold anything; what is wanted comes after it.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ").map(Number) ?? [];
    const [, parent = 0] = fields;
    const [user = 0, system = 0, userOfChildren = 0, systemOfChildren = 0] = fields.slice(11, 15);
    return { pid, parent, own: user + system, children: userOfChildren + systemOfChildren };
  } catch {
    return undefined;
  }
}
