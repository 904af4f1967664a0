import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { cacheFolder } from "../../src/dev/cache-folder.ts";
import { createModelProvider, priceOf } from "../../src/providers/index.ts";
import { payloadKeysOf, sha256 } from "../../src/store/index.ts";
import { startWorker } from "../../src/temporal/index.ts";

type ProcessOptions = {
  readonly address: string;
  readonly namespace: string;
  readonly taskQueue: string;
  readonly databaseUrl: string;
  readonly modelUrl: string;
  readonly toolRoots: readonly string[];
  /** The file of the workflow code. */
  readonly bundle: string;
};

/** A worker in a process of its own, so that it can be killed as a machine's failure would. */
export function spawnWorker(options: ProcessOptions): {
  kill(signal: NodeJS.Signals): void;
  readonly ended: Promise<void>;
} {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url)], {
    env: {
      ...process.env,
      NODE_COMPILE_CACHE: cacheFolder(process.env, "compiled"),
      WORKER_OPTIONS: JSON.stringify(options),
    },
    stdio: ["ignore", "ignore", "inherit"],
  });
  return {
    kill: (signal) => void child.kill(signal),
    ended: new Promise((resolve) => child.once("exit", () => resolve())),
  };
}

const given = process.env["WORKER_OPTIONS"];
if (given !== undefined && process.argv[1] === fileURLToPath(import.meta.url)) {
  const options = JSON.parse(given) as ProcessOptions;
  const code = await readFile(options.bundle, "utf8");
  const worker = await startWorker({
    temporal: options,
    taskQueue: options.taskQueue,
    databaseUrl: options.databaseUrl,
    keys: payloadKeysOf(Buffer.alloc(32, 7)),
    provider: createModelProvider({ baseUrl: options.modelUrl, apiKey: "scripted", timeoutMs: 10_000 }),
    priceOf: (name) => priceOf(name),
    toolRoots: options.toolRoots,
    logger: pino({ level: "silent" }),
    bundle: { code, digest: sha256(code) },
  });
  process.once("SIGTERM", () => void worker.stop().then(() => process.exit(0)));
}
