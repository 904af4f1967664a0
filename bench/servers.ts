import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { createShutdownStack, freePort, resolveHome, startPostgres, startTemporal } from "../src/dev/index.ts";

export type BenchServers = {
  readonly databaseUrl: string;
  readonly temporal: { readonly address: string; readonly namespace: string };
  stop(): Promise<void>;
};

/** Postgres and Temporal as `npm start` runs them, in a directory of their own that is removed at the end. */
export async function startServers(print: (line: string) => void): Promise<BenchServers> {
  const folder = await mkdtemp(join(tmpdir(), "countersign-bench-"));
  const home = resolveHome({ COUNTERSIGN_HOME: folder });
  const stack = createShutdownStack();
  stack.add("folder", () => rm(folder, { recursive: true, force: true }), 10_000);
  const postgres = await startPostgres({ home, port: await freePort(), onProgress: print });
  stack.add("Postgres", () => postgres.stop(), 20_000);
  const temporal = await startTemporal({ home, port: await freePort(), env: process.env, onProgress: print });
  stack.add("Temporal", () => temporal.stop(), 20_000);
  return {
    databaseUrl: postgres.url,
    temporal: { address: temporal.address, namespace: "default" },
    stop: async () => void (await stack.run()),
  };
}

/** Postgres alone, in the same way. */
export async function startPostgresAlone(
  print: (line: string) => void,
): Promise<{ readonly url: string; stop(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), "countersign-bench-"));
  const home = resolveHome({ COUNTERSIGN_HOME: folder });
  const stack = createShutdownStack();
  stack.add("folder", () => rm(folder, { recursive: true, force: true }), 10_000);
  const postgres = await startPostgres({ home, port: await freePort(), onProgress: print });
  stack.add("Postgres", () => postgres.stop(), 20_000);
  return { url: postgres.url, stop: async () => void (await stack.run()) };
}
