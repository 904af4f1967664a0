import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import {
  createShutdownStack,
  freePort,
  resolveHome,
  startPostgres,
  startTemporal,
  untilInterrupted,
} from "../src/dev/index.ts";

export type BenchServers = {
  readonly databaseUrl: string;
  readonly temporal: { readonly address: string; readonly namespace: string };
  stop(): Promise<void>;
};

type Print = (line: string) => void;

/** Postgres and Temporal as `npm start` runs them, in a directory of their own that is removed at the end. */
export async function startServers(print: Print): Promise<BenchServers> {
  const { home, stack, databaseUrl } = await startDatabase(print);
  const temporal = await startTemporal({ home, port: await freePort(), env: process.env, onProgress: print });
  stack.add("Temporal", () => temporal.stop(), 20_000);
  return {
    databaseUrl,
    temporal: { address: temporal.address, namespace: "default" },
    stop: async () => void (await stack.run()),
  };
}

/** Postgres alone, in the same way. */
export async function startPostgresAlone(print: Print): Promise<{ readonly url: string; stop(): Promise<void> }> {
  const { stack, databaseUrl } = await startDatabase(print);
  return { url: databaseUrl, stop: async () => void (await stack.run()) };
}

async function startDatabase(print: Print) {
  const folder = await mkdtemp(join(tmpdir(), "countersign-bench-"));
  const home = resolveHome({ COUNTERSIGN_HOME: folder });
  const stack = createShutdownStack();
  stack.add("folder", () => rm(folder, { recursive: true, force: true }), 10_000);
  // Whoever ends a bench early is left no servers.
  void untilInterrupted().then(async () => {
    await stack.run();
    process.exit(130);
  });
  const postgres = await startPostgres({ home, port: await freePort(), onProgress: print });
  stack.add("Postgres", () => postgres.stop(), 20_000);
  return { home, stack, databaseUrl: postgres.url };
}
