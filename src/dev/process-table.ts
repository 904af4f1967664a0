import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** Whether `pid` runs (also when it is somebody else's process). A zombie counts as dead. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
  return procStat(pid)?.state !== "Z";
}

/** When `pid` started, as an opaque string: pid and start together name a process, since pids are reused. */
export function startOf(pid: number): string | undefined {
  return procStat(pid)?.start ?? ps(pid, "lstart=");
}

/** The command line of `pid`, its arguments joined by spaces. */
export function commandLineOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
  } catch {
    return ps(pid, "command=");
  }
}

/** Waits until `pid` is gone. Returns false when it still runs after `timeoutMs`. */
export async function waitUntilGone(pid: number, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while (isAlive(pid)) {
    if (performance.now() > deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  return true;
}

/** Fields 3 and 22 of proc_pid_stat(5). The second field, the name, may hold spaces and parentheses. */
function procStat(pid: number): { readonly state: string; readonly start: string } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { state: fields[0] ?? "", start: fields[19] ?? "" };
  } catch {
    return undefined;
  }
}

function ps(pid: number, column: string): string | undefined {
  if (process.platform === "linux" || process.platform === "win32") return undefined;
  try {
    const line = execFileSync("ps", ["-o", column, "-p", String(pid)], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    return line.trim() === "" ? undefined : line.trim();
  } catch {
    return undefined;
  }
}
