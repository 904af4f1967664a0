import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { freePort } from "../../src/dev/index.ts";

export const project = fileURLToPath(new URL("../../", import.meta.url));
const main = join(project, "src/cli/main.ts");

type Environment = Readonly<Record<string, string>>;
export type Outcome = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

/** What of this process's environment the program may see: nothing that would lead it to servers of the person who runs the tests. */
function environment(own: Environment): Record<string, string> {
  const { PATH = "", HOME = "", XDG_CACHE_HOME } = process.env;
  return { PATH, HOME, ...(XDG_CACHE_HOME === undefined ? {} : { XDG_CACHE_HOME }), ...own };
}

export type Program = {
  readonly pid: number;
  readonly stdout: () => string;
  readonly stderr: () => string;
  readonly ended: Promise<Outcome>;
  kill(signal: NodeJS.Signals): void;
  /** Resolves when stdout has `text`; rejects with all that was printed where the program ends before, or takes too long. */
  says(text: string, timeoutMs?: number): Promise<void>;
};

/** The real program in a process of its own, as `npx countersign` starts it. */
export function launch(args: readonly string[], env: Environment, input?: string): Program {
  const child = spawn(process.execPath, [main, ...args], {
    cwd: project,
    env: environment(env),
    stdio: ["pipe", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  let look = (): void => undefined;
  child.stdout.on("data", (chunk: Buffer) => {
    stdout += chunk.toString();
    look();
  });
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  // A program that does not read its input may end before it is written.
  child.stdin.on("error", () => undefined);
  child.stdin.end(input ?? "");
  const ended = new Promise<Outcome>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, stdout, stderr }));
  });
  return {
    pid: child.pid ?? 0,
    stdout: () => stdout,
    stderr: () => stderr,
    ended,
    kill: (signal) => void child.kill(signal),
    async says(text, timeoutMs = 60_000) {
      const said = new Promise<true>((resolve) => {
        look = () => stdout.includes(text) && resolve(true);
        look();
      });
      const late = new Promise<false>((resolve) => setTimeout(() => resolve(false), timeoutMs).unref());
      if (!(await Promise.race([said, ended.then(() => stdout.includes(text)), late])))
        throw new Error(`the program did not say \`${text}\`:\n${stdout}\n${stderr}`);
    },
  };
}

/** Runs a command to its end. */
export function countersign(args: readonly string[], env: Environment, input?: string): Promise<Outcome> {
  return launch(args, env, input).ended;
}

/** Runs a program of ours to its end, with its output going into `stdout`: a file's descriptor, or a pipe that nobody reads. */
export function runInto(
  stdout: number | "unread",
  program: string,
  args: readonly string[],
  env: Environment,
): Promise<Omit<Outcome, "stdout">> {
  const child = spawn(process.execPath, [join(project, program), ...args], {
    cwd: project,
    env: environment(env),
    stdio: ["ignore", stdout === "unread" ? "pipe" : stdout, "pipe"],
  });
  child.stdout?.destroy();
  let stderr = "";
  child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, stderr }));
  });
}

/** The one JSON document of a command's stdout. */
export function documentOf<Document>({ stdout }: Outcome): Document {
  return JSON.parse(stdout) as Document;
}

export type ReportedError = { readonly code: string; readonly message: string; readonly hint?: string };

export function errorIn(outcome: Outcome): ReportedError {
  return documentOf<{ error: ReportedError }>(outcome).error;
}

export type TestHome = {
  readonly root: string;
  readonly ports: {
    readonly api: number;
    readonly temporal: number;
    readonly temporalUi: number;
    readonly postgres: number;
  };
  /** COUNTERSIGN_HOME. */
  readonly env: { readonly COUNTERSIGN_HOME: string };
  /** `dev` on this home and its ports. */
  dev(options?: { readonly args?: readonly string[]; readonly env?: Environment }): Program;
  /** The embedded servers' process ids, from their pid files. */
  servers(): Promise<readonly number[]>;
  /** Ends all that runs on this home, and removes it. */
  remove(): Promise<void>;
};

/** A data directory of the test's own, with ports that nobody has. */
export async function createTestHome(): Promise<TestHome> {
  const root = await mkdtemp(join(tmpdir(), "countersign-e2e-"));
  const [api, temporal, temporalUi, postgres] = await Promise.all([freePort(), freePort(), freePort(), freePort()]);
  const ports = { api, temporal, temporalUi, postgres };
  const env = { COUNTERSIGN_HOME: root };
  const started: Program[] = [];
  const servers = async (): Promise<readonly number[]> => {
    const files = await readdir(join(root, "run")).catch(() => []);
    return Promise.all(files.map(async (file) => Number.parseInt(await readFile(join(root, "run", file), "utf8"), 10)));
  };
  return {
    root,
    ports,
    env,
    dev(options = {}) {
      const flags = Object.entries({
        "--port": api,
        "--temporal-port": temporal,
        "--temporal-ui-port": temporalUi,
        "--postgres-port": postgres,
      }).flatMap(([flag, port]) => [flag, String(port)]);
      const program = launch(["dev", ...flags, ...(options.args ?? [])], { ...env, ...options.env });
      started.push(program);
      return program;
    },
    servers,
    async remove() {
      for (const program of started) program.kill("SIGKILL");
      await Promise.all(started.map((program) => program.ended));
      for (const pid of await servers()) if (isAlive(pid)) process.kill(pid, "SIGKILL");
      await rm(root, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
    },
  };
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

export function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ port, host: "127.0.0.1" });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
