import { rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { freePort, resolveHome, startPostgres, startTemporal } from "../dev/index.ts";
import type { ShutdownStack } from "../dev/index.ts";
import { CliError } from "./cli-error.ts";

export type ForkWorld = {
  readonly databaseUrl: string;
  readonly temporal: { readonly address: string; readonly namespace: string };
  /** Aborted, with the reason, when one of the servers ends. */
  readonly broken: AbortSignal;
};

/** Nothing in it has to survive the fork. */
const postgresSettings = { fsync: "off", synchronous_commit: "off", full_page_writes: "off" };

/**
 * A Postgres and a Temporal that live as long as the fork does, in a folder of their own that is removed with them: what is in no database
 * of the deployment cannot be counted, shown or signed there. Added to `stack`.
 */
export async function startForkWorld(
  stack: ShutdownStack,
  env: NodeJS.ProcessEnv,
  signal: AbortSignal,
  onProgress: (line: string) => void,
): Promise<ForkWorld> {
  const folder = await mkdtemp(join(tmpdir(), "countersign-fork-"));
  // Also where a second Ctrl-C ends the process at once.
  const remove = (): void => rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  process.once("exit", remove);
  stack.add("the fork's folder", remove, 10_000);
  const home = resolveHome({ COUNTERSIGN_HOME: folder });
  const broken = new AbortController();
  const onExit = (name: string) => () =>
    broken.abort(new CliError("environment", `the fork's ${name} ended unexpectedly`));
  const [postgresPort, temporalPort] = await Promise.all([freePort(), freePort()]);
  const postgres = await startPostgres({
    home,
    port: postgresPort,
    settings: postgresSettings,
    onExit: onExit("Postgres"),
  });
  stack.add("the fork's Postgres", () => postgres.stop(), 20_000);
  signal.throwIfAborted();
  const temporal = await startTemporal({
    home,
    port: temporalPort,
    env,
    onProgress,
    onExit: onExit("Temporal"),
    signal,
  });
  stack.add("the fork's Temporal", () => temporal.stop(), 20_000);
  return {
    databaseUrl: postgres.url,
    temporal: { address: temporal.address, namespace: "default" },
    broken: broken.signal,
  };
}
