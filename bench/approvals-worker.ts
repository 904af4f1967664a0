import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";

import { pino } from "pino";

import type { ModelProvider } from "../src/providers/index.ts";
import { payloadKeysOf } from "../src/store/index.ts";
import { startWorker } from "../src/temporal/index.ts";
import type { BenchServers } from "./servers.ts";

export type WorkerOptions = {
  readonly servers: Pick<BenchServers, "databaseUrl" | "temporal">;
  readonly taskQueue: string;
  readonly key: string;
  readonly maxCachedWorkflows: number;
  readonly requestsPerRun: number;
};

/** Bytes, after a collection. */
export type WorkerMemory = { readonly rss: number; readonly heapUsed: number; readonly cachedWorkflows: number };

/** A worker in a process of its own, so that its memory is nobody else's. */
export async function forkWorker(options: WorkerOptions) {
  const child = fork(fileURLToPath(import.meta.url), [], {
    execArgv: ["--expose-gc"],
    // Temporal's core writes warnings of a busy machine to the output, which is the table's.
    stdio: ["ignore", "ignore", "inherit", "ipc"],
    env: { ...process.env, BENCH_WORKER: JSON.stringify(options) },
  });
  const answers: ((memory: WorkerMemory) => void)[] = [];
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const failed = ended.then(() => {
    throw new Error("the worker ended by itself");
  });
  failed.catch(() => undefined);
  child.on("message", (memory) => answers.shift()?.(memory as WorkerMemory));
  const answer = () => Promise.race([new Promise<WorkerMemory>((resolve) => answers.push(resolve)), failed]);
  await answer();
  return {
    measure(): Promise<WorkerMemory> {
      const measured = answer();
      child.send("measure");
      return measured;
    },
    async stop(): Promise<void> {
      child.send("stop");
      await ended;
    },
  };
}

/** Asks for the tool so many times at once, and then says that it is done. */
const modelThatAsks = (times: number): ModelProvider => ({
  async complete({ messages }) {
    const usage = { input: 100, cachedInput: 0, output: 20, reasoning: 0 };
    const user = messages[1];
    const thing = user?.role === "user" ? user.content : "";
    if (messages.some(({ role }) => role === "tool"))
      return { content: "done", toolCalls: [], finishReason: "stop", usage };
    const toolCalls = Array.from({ length: times }, (_, index) => ({
      id: `call_${index}`,
      name: "touch",
      arguments: JSON.stringify({ thing: `${thing} ${index}` }),
    }));
    return { content: "", toolCalls, finishReason: "tool_calls", usage };
  },
});

async function main({ servers, taskQueue, key, maxCachedWorkflows, requestsPerRun }: WorkerOptions): Promise<void> {
  const worker = await startWorker({
    temporal: servers.temporal,
    taskQueue,
    databaseUrl: servers.databaseUrl,
    keys: payloadKeysOf(Buffer.from(key, "hex")),
    provider: modelThatAsks(requestsPerRun),
    priceOf: () => ({ inputPerMillion: 1, cachedInputPerMillion: 1, outputPerMillion: 1 }),
    toolRoots: [fileURLToPath(new URL(".", import.meta.url))],
    maxCachedWorkflows,
    logger: pino({ level: "warn" }),
  });
  const memory = (): WorkerMemory => {
    for (let round = 0; round < 3; round += 1) globalThis.gc?.();
    const { rss, heapUsed } = process.memoryUsage();
    return { rss, heapUsed, cachedWorkflows: worker.cachedWorkflows() };
  };
  process.on("message", (message) => {
    if (message === "measure") process.send?.(memory());
    else void worker.stop().then(() => process.exit(0));
  });
  // The bench was ended: nobody else would end this.
  process.on("disconnect", () => process.exit(1));
  process.send?.(memory());
}

const given = process.env["BENCH_WORKER"];
if (given !== undefined && process.argv[1] === fileURLToPath(import.meta.url))
  await main(JSON.parse(given) as WorkerOptions);
