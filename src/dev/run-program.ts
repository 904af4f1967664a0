import { spawn } from "node:child_process";
import { DevError } from "./errors.ts";

export type ProgramResult = { readonly code: number | null; readonly output: string };

/**
 * Runs a program to its end and returns its exit code and the last 16 KiB of what it printed. `signal` ends it with all of
 * its own children (it leads a process group) and throws `aborted`.
 */
export async function runProgram(
  command: string,
  args: readonly string[],
  options: { readonly env: NodeJS.ProcessEnv; readonly signal?: AbortSignal | undefined },
): Promise<ProgramResult> {
  const { env, signal } = options;
  throwIfAborted(signal);
  const child = spawn(command, [...args], { env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  const collect = (chunk: Buffer): void => {
    output = (output + chunk.toString("utf8")).slice(-16_384);
  };
  child.stdout.on("data", collect);
  child.stderr.on("data", collect);
  const killGroup = (): void => {
    if (child.pid === undefined) return;
    try {
      process.kill(-child.pid, "SIGKILL");
    } catch {
      // The group is gone already.
    }
  };
  signal?.addEventListener("abort", killGroup);
  process.once("exit", killGroup);
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", resolve);
    });
    throwIfAborted(signal);
    return { code, output };
  } finally {
    signal?.removeEventListener("abort", killGroup);
    process.removeListener("exit", killGroup);
  }
}

export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new DevError("aborted", "interrupted");
}
