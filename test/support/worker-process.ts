import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { createModelProvider, priceOf } from "../../src/providers/index.ts";
import { payloadKeysOf } from "../../src/store/index.ts";
import { startWorker } from "../../src/temporal/index.ts";

type ProcessOptions = {
  readonly address: string;
  readonly namespace: string;
  readonly taskQueue: string;
  readonly databaseUrl: string;
  readonly modelUrl: string;
  readonly toolRoots: readonly string[];
};

/** A worker in a process of its own, so that it can be killed as a machine's failure would. */
export function spawnWorker(options: ProcessOptions): {
  kill(signal: NodeJS.Signals): void;
  readonly ended: Promise<void>;
} {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url)], {
    env: { ...process.env, WORKER_OPTIONS: JSON.stringify(options) },
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
  await startWorker({
    temporal: options,
    taskQueue: options.taskQueue,
    databaseUrl: options.databaseUrl,
    keys: payloadKeysOf(Buffer.alloc(32, 7)),
    provider: createModelProvider({ baseUrl: options.modelUrl, apiKey: "scripted", timeoutMs: 10_000 }),
    priceOf: (name) => priceOf(name),
    toolRoots: options.toolRoots,
    logger: pino({ level: "silent" }),
  });
}
