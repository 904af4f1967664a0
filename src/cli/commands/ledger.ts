import { InvalidArgumentError } from "commander";
import type { Command } from "commander";

import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../cli-error.ts";
import { followOrRefute, growthProblem, trustIn } from "../known-logs.ts";
import { safe } from "../terminal.ts";
import { addLedgerKeyCommands } from "./ledger-keys.ts";
import { addWitnessCommand } from "./ledger-witness.ts";

type LogFlags = { readonly log?: string; readonly verifierKey?: string };
type CheckpointFlags = LogFlags & { readonly witness: readonly string[]; readonly quorum?: number };
type ProofFlags = LogFlags & { readonly size?: number; readonly from?: number };

export function addLedgerCommands(program: Command): void {
  const ledger = program.command("ledger").description("the signed, append-only log of a team");
  ledger
    .command("list")
    .description("the server's logs, how far they are signed, and which are not signed any more")
    .action((_flags, command: Command) => list(cliOf(command)));
  ledger
    .command("checkpoint")
    .description("the latest checkpoint, its signature verified")
    .option("--log <team>", "whose log")
    .option("--verifier-key <key>", "the log's key, as its operator published it")
    .option("--witness <key>", "a witness's key that has to have cosigned it; repeatable", collected, [])
    .option("--quorum <n>", "how many of the witnesses; default: all", size)
    .action((flags: CheckpointFlags, command: Command) => checkpoint(cliOf(command), flags));
  ledger
    .command("proof [index]")
    .description("prove that the entry at INDEX is in the log, or with --from that the log only grew")
    .option("--log <team>", "whose log")
    .option("--verifier-key <key>", "the log's key, as its operator published it")
    .option("--from <size>", "an older size: prove that it is a prefix", size)
    .option("--size <size>", "of which tree; default: that of the latest checkpoint", size)
    .action((index: string | undefined, flags: ProofFlags, command: Command) => proof(cliOf(command), index, flags));
  addWitnessCommand(ledger);
  addLedgerKeyCommands(ledger);
}

async function checkpoint(cli: Cli, flags: CheckpointFlags): Promise<void> {
  const log = await logOf(cli, flags.log);
  const { note, head } = await openLatest(cli, log, flags.verifierKey, flags.witness.length > 0);
  const cosignatures = await cosignaturesIn(note, flags);
  // The note alone, byte for byte: it is what an auditor keeps.
  cli.terminal.write(note);
  cli.terminal.note(`signature verified: log ${head.origin} has ${head.size} entries`);
  for (const { witness, at } of cosignatures) cli.terminal.note(`cosigned by ${witness} at ${at}`);
  cli.terminal.result({
    log,
    checkpoint: note,
    size: head.size,
    root: Buffer.from(head.root).toString("hex"),
    verified: true,
    cosignatures,
  });
}

/** Whoever asks for witnesses takes nothing that too few of them cosigned. */
async function cosignaturesIn(
  note: string,
  { witness, quorum = witness.length }: CheckpointFlags,
): Promise<readonly { readonly witness: string; readonly at: string }[]> {
  const { cosignatureTime, parseCosignerKey, parseNote } = await import("../../ledger/proof/index.ts");
  const { text, signatures } = parseNote(note);
  const found = witness.map(parseCosignerKey).flatMap((key) => {
    const signed = signatures.find((one) => one.name === key.name && one.keyId === key.keyId);
    if (signed === undefined || !key.verify(Buffer.from(text), signed.signature)) return [];
    const time = cosignatureTime(signed.signature) ?? 0;
    return [{ witness: key.name, at: new Date(time * 1_000).toISOString() }];
  });
  const known = new Set(found.map((one) => one.witness));
  if (known.size >= quorum) return found;
  throw new CliError(
    "refuted",
    `the checkpoint is cosigned by ${known.size} of the ${quorum} witnesses that are needed`,
    {
      hint: "the newest checkpoint may be seconds old: try again; if it stays so, the log hides something from its witnesses",
    },
  );
}

async function proof(cli: Cli, index: string | undefined, flags: ProofFlags): Promise<void> {
  const log = await logOf(cli, flags.log);
  if ((index === undefined) === (flags.from === undefined)) {
    throw new CliError("usage", "proof of what? Give an entry's INDEX, or --from SIZE", {
      hint: "countersign ledger proof 0 --log TEAM",
    });
  }
  return index === undefined ? consistency(cli, log, flags) : inclusion(cli, log, indexOf(index), flags);
}

async function inclusion(cli: Cli, log: string, index: number, flags: ProofFlags): Promise<void> {
  const { hexOf, leafHash, verifyInclusion } = await import("../../ledger/proof/index.ts");
  const { head } = await openLatest(cli, log, flags.verifierKey);
  const of = flags.size ?? head.size;
  const [{ entries }, answer] = await Promise.all([
    cli.client.entries({ params: { log }, query: { from: index, limit: 1 } }),
    cli.client.inclusionProof({ params: { log }, query: { index, size: of } }),
  ]);
  const leaf = Buffer.from(entries[0]?.leaf ?? "", "utf8");
  const hashes = answer.proof.map((hash) => Buffer.from(hash, "hex"));
  // Only the checkpoint's own root is signed: a proof to another size is shown, and not judged.
  const verified = of === head.size;
  if (verified) verifyInclusion({ index, size: of, leafHash: leafHash(leaf), proof: hashes, root: head.root });
  for (const hash of answer.proof) cli.terminal.say(hash);
  cli.terminal.say(
    verified
      ? `entry ${index} is in the signed tree of ${of} entries`
      : `proof to size ${of}; the checkpoint has ${head.size}: not verified`,
  );
  cli.terminal.result({ log, index, size: of, leafHash: hexOf(leafHash(leaf)), proof: answer.proof, verified });
}

async function consistency(cli: Cli, log: string, flags: ProofFlags): Promise<void> {
  const { head } = await openLatest(cli, log, flags.verifierKey);
  const from = flags.from ?? 1;
  const to = flags.size ?? head.size;
  const answer = await cli.client.consistencyProof({ params: { log }, query: { from, to } });
  for (const hash of answer.proof) cli.terminal.say(hash);
  cli.terminal.say(`proof from size ${from} to ${to}; verify it with the checkpoint that you kept of size ${from}`);
  cli.terminal.result({ log, from, to, proof: answer.proof });
}

/**
 * The latest checkpoint, signed and grown out of the last one that was verified here; with `cosigned`, the one that the server publishes as
 * cosigned, which may be older than that, and has to be of the same log.
 */
async function openLatest(cli: Cli, log: string, key: string | undefined, cosigned = false) {
  const note = await noteOf(cli, log, false);
  // Only now: nothing is remembered of a log that is not there.
  const trust = await trustIn(cli, log, key);
  const latest = await opened(log, note, trust.verifierKey);
  await followOrRefute(trust, log, latest.note);
  if (!cosigned) return latest;
  const published = await opened(log, await noteOf(cli, log, true), trust.verifierKey);
  const [older, newer] =
    published.head.size <= latest.head.size ? [published.head, latest.head] : [latest.head, published.head];
  const problem = await growthProblem(cli, log, older, newer);
  if (problem === undefined) return published;
  throw new CliError("refuted", `the cosigned checkpoint of log \`${log}\` is not of the latest one's log: ${problem}`);
}

async function noteOf({ client }: Cli, log: string, cosigned: boolean): Promise<string> {
  const query = cosigned ? { cosigned: "true" } : {};
  return (await client.checkpoint({ params: { log }, query })).checkpoint;
}

async function opened(log: string, note: string, verifierKey: string) {
  const { openCheckpoint, parseVerifierKey } = await import("../../ledger/proof/index.ts");
  try {
    return { note, head: openCheckpoint(note, parseVerifierKey(verifierKey)) };
  } catch (cause) {
    throw new CliError("refuted", `the checkpoint of log \`${log}\` is not signed by its key`, {
      cause,
      hint: "either the key you pinned is not this log's, or somebody else signs for it",
    });
  }
}

async function list({ client, terminal }: Cli): Promise<void> {
  const { logs } = await client.listLogs({});
  if (logs.length === 0) terminal.say("no log has begun; register an agent, and its team's log begins");
  for (const { log, size: entries, signed, stopped } of logs) {
    terminal.say(`${safe(log)}  ${entries} entries, ${signed} of them signed`);
    if (stopped !== null) terminal.say(`  ${terminal.colors.red("not signed any more")}: ${safe(stopped)}`);
  }
  terminal.result({ logs });
}

async function logOf({ client }: Cli, log: string | undefined): Promise<string> {
  if (log !== undefined) return log;
  const { agents } = await client.listAgents({});
  const teams = [...new Set(agents.map((agent) => agent.team))];
  const [team] = teams;
  if (team !== undefined && teams.length === 1) return team;
  throw new CliError("usage", "whose log? Give --log TEAM", {
    hint: teams.length === 0 ? "there are no agents yet" : `teams: ${teams.join(", ")}`,
  });
}

export function collected(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

function size(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError("expected a whole number from 1");
  return value;
}

function indexOf(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new CliError("usage", `\`${text}\` is not an index`);
  return value;
}
