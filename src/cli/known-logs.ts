import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { z } from "zod";

import { ApiError } from "../api/index.ts";
import type { Checkpoint } from "../ledger/index.ts";
import { makeFolder } from "../store/make-folder.ts";
import type { Cli } from "./cli.ts";
import { CliError } from "./cli-error.ts";
import { homeOf } from "./settings.ts";

const knownLogs = z.record(z.string(), z.strictObject({ verifierKey: z.string(), checkpoint: z.string().optional() }));
type KnownLog = z.output<typeof knownLogs>[string];

/**
 * What this auditor knows of a log from before: its key, and the last checkpoint that was verified. Kept in `known-logs.json` of the data
 * directory, by server and log, so that a server cannot later come with another key, or with less than it had.
 */
export type LogTrust = {
  readonly verifierKey: string;
  /** The checkpoint that was remembered. It was verified then, so it needs no signature now, whatever the key is by now. */
  readonly remembered: Checkpoint | undefined;
  /**
   * Why the log of this newer checkpoint, whose signature was verified, did not grow out of what is remembered and of `pinned`; nothing where it
   * did: then it is remembered, with the key.
   */
  follow(note: string, pinned?: readonly Checkpoint[]): Promise<readonly string[]>;
};

/** The key that is given, else the one that is known, else the server's own, which is remembered and said so. */
export async function trustIn(cli: Cli, log: string, givenKey: string | undefined): Promise<LogTrust> {
  const { parseCheckpoint, parseNote } = await import("../ledger/proof/index.ts");
  const path = join(homeOf(cli.env), "known-logs.json");
  const name = `${cli.connection.url} ${log}`;
  const known = read(path)[name];
  const remember = (entry: KnownLog) => write(path, { ...read(path), [name]: entry });
  const verifierKey = givenKey ?? known?.verifierKey ?? (await firstKey(cli, log, path));
  if (known === undefined && givenKey === undefined) remember({ verifierKey });
  if (known !== undefined && known.verifierKey !== verifierKey)
    cli.terminal.note(`log ${log} was verified with another key before: it has to go on from there under this one`);
  const remembered = known?.checkpoint === undefined ? undefined : parseCheckpoint(parseNote(known.checkpoint).text);
  return {
    verifierKey,
    remembered,
    async follow(note, pinned = []) {
      const newer = parseCheckpoint(parseNote(note).text);
      const problems: string[] = [];
      for (const older of remembered === undefined ? pinned : [remembered, ...pinned]) {
        const problem = await growthProblem(cli, log, older, newer);
        if (problem !== undefined) problems.push(problem);
      }
      if (problems.length === 0) remember({ verifierKey, checkpoint: note });
      return problems;
    },
  };
}

/** The logs of this server that were verified before. */
export function logsKnown(cli: Cli): readonly string[] {
  const server = `${cli.connection.url} `;
  return Object.entries(read(join(homeOf(cli.env), "known-logs.json"))).flatMap(([name, { checkpoint }]) =>
    name.startsWith(server) && checkpoint !== undefined ? [name.slice(server.length)] : [],
  );
}

/** Throws `refuted` where the log did not grow out of what is known of it. */
export async function followOrRefute(trust: LogTrust, log: string, note: string): Promise<void> {
  const [problem] = await trust.follow(note);
  if (problem === undefined) return;
  throw new CliError("refuted", `log \`${log}\` is not what it was when it was last verified: ${problem}`, {
    hint: "keep known-logs.json of your data directory: the checkpoint in it is your evidence. Its operator owes an explanation",
  });
}

/** Why the tree of `newer` does not begin with that of `older` (RFC 6962 §2.1.4), by the server's proof. */
export async function growthProblem(
  { client }: Pick<Cli, "client">,
  log: string,
  older: Checkpoint,
  newer: Checkpoint,
): Promise<string | undefined> {
  const { ProofError, verifyConsistency } = await import("../ledger/proof/index.ts");
  if (older.origin !== newer.origin) return `it is \`${newer.origin}\` now, and was \`${older.origin}\``;
  if (newer.size < older.size) return `it has ${newer.size} entries, and had ${older.size}: it was rolled back`;
  const [from, to] = [older.size, newer.size];
  if (from === 0) return undefined;
  try {
    const proof = from === to ? [] : (await client.consistencyProof({ params: { log }, query: { from, to } })).proof;
    const hashes = proof.map((hash) => Buffer.from(hash, "hex"));
    verifyConsistency({ from, to, fromRoot: older.root, toRoot: newer.root, proof: hashes });
    return undefined;
  } catch (error) {
    // A server that is away has said nothing; one that has no such proof has.
    if (!(error instanceof ProofError) && !(error instanceof ApiError && error.status === 404)) throw error;
    return `its ${to} entries did not grow out of the ${from} of before: it was rewritten (${error.message})`;
  }
}

async function firstKey({ client, terminal }: Cli, log: string, path: string): Promise<string> {
  const { verifierKey } = await client.verifierKey({ params: { log } });
  terminal.note(`the key of log ${log} is taken from the server this once, and kept in ${path}:`);
  terminal.note(`  ${verifierKey}`);
  terminal.note("  compare it with what its operator published, or give yours with --verifier-key");
  return verifierKey;
}

function read(path: string): z.output<typeof knownLogs> {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return {};
    throw unreadable(path, cause);
  }
  try {
    return knownLogs.parse(JSON.parse(text));
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

function unreadable(path: string, cause: unknown): CliError {
  return new CliError("environment", `\`${path}\` cannot be read`, {
    cause,
    hint: "restore it: it is what you trust logs by",
  });
}

function write(path: string, logs: z.output<typeof knownLogs>): void {
  makeFolder(dirname(path), 0o700);
  const fresh = `${path}.${process.pid}`;
  writeFileSync(fresh, `${JSON.stringify(logs, undefined, 2)}\n`, { mode: 0o600 });
  renameSync(fresh, path);
}
