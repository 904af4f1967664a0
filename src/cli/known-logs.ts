import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { z } from "zod";

import type { Cli } from "./cli.ts";
import { CliError } from "./cli-error.ts";
import { homeOf } from "./settings.ts";

const knownLogs = z.record(z.string(), z.strictObject({ verifierKey: z.string(), checkpoint: z.string().optional() }));
type KnownLog = z.output<typeof knownLogs>[string];

/**
 * What this auditor knows of a log from before: its key, and the last checkpoint that was verified. Kept in `known-logs.json` of the data
 * directory, by server and log, so that a server cannot later come with another key, or with less than it had.
 */
export type LogTrust = KnownLog & { remember(checkpoint: string): void };

/** The key that is given, else the one that is known, else the server's own, which is remembered and said so. */
export async function trustIn(cli: Cli, log: string, givenKey: string | undefined): Promise<LogTrust> {
  const path = join(homeOf(cli.env), "known-logs.json");
  const name = `${cli.connection.url} ${log}`;
  const known = read(path)[name];
  const remember = (entry: KnownLog) => write(path, { ...read(path), [name]: entry });
  if (givenKey !== undefined) {
    const checkpoint = known?.verifierKey === givenKey ? known.checkpoint : undefined;
    return {
      verifierKey: givenKey,
      ...present(checkpoint),
      remember: (latest) => remember({ verifierKey: givenKey, checkpoint: latest }),
    };
  }
  const verifierKey = known?.verifierKey ?? (await firstKey(cli, log, path));
  if (known === undefined) remember({ verifierKey });
  return {
    verifierKey,
    ...present(known?.checkpoint),
    remember: (latest) => remember({ verifierKey, checkpoint: latest }),
  };
}

async function firstKey({ client, terminal }: Cli, log: string, path: string): Promise<string> {
  const { verifierKey } = await client.verifierKey({ params: { log } });
  terminal.note(`the key of log ${log} is taken from the server this once, and kept in ${path}:`);
  terminal.note(`  ${verifierKey}`);
  terminal.note("  compare it with what its operator published, or give yours with --verifier-key");
  return verifierKey;
}

function present(checkpoint: string | undefined): { checkpoint?: string } {
  return checkpoint === undefined ? {} : { checkpoint };
}

function read(path: string): z.output<typeof knownLogs> {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return {};
  }
  try {
    return knownLogs.parse(JSON.parse(text));
  } catch (cause) {
    throw new CliError("environment", `\`${path}\` cannot be read`, {
      cause,
      hint: "restore it: it is what you trust logs by",
    });
  }
}

function write(path: string, logs: z.output<typeof knownLogs>): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const fresh = `${path}.${process.pid}`;
  writeFileSync(fresh, `${JSON.stringify(logs, undefined, 2)}\n`, { mode: 0o600 });
  renameSync(fresh, path);
}
