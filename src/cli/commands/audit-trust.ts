import { existsSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";

import type { Command } from "commander";

import type { Approver, Trust } from "../../audit/offline/index.ts";
import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../cli-error.ts";
import { checkpointOf, leavesOf } from "../evidence-source.ts";
import { safe } from "../terminal.ts";
import { makeFolder } from "../../store/make-folder.ts";

type TrustFlags = { readonly output: string; readonly log?: readonly string[]; readonly force?: true };

export function addTrustCommands(audit: Command): void {
  const trust = audit.command("trust").description("whom an auditor trusts, for `countersign verify`");
  trust
    .command("init")
    .description("make a first trust file from a server: its logs' keys and its enrolled reviewers, to be compared")
    .option("-o, --output <file>", "where it is written", "trust.json")
    .option("--log <team...>", "whose logs; default: every team's")
    .option("--force", "replace a file that is there already")
    .action((flags: TrustFlags, command: Command) => init(cliOf(command), flags));
}

async function init(cli: Cli, { output, log, force }: TrustFlags): Promise<void> {
  const { terminal, client } = cli;
  if (existsSync(output) && force !== true) {
    throw new CliError("usage", `\`${output}\` exists already`, {
      hint: "it is what you trust by: compare before you replace it with --force",
    });
  }
  const { enrolmentLog, trustFormat, trustText } = await import("../../audit/offline/index.ts");
  const teams = log ?? [...new Set((await client.listAgents({})).agents.map(({ team }) => team))];
  if (teams.length === 0)
    throw new CliError("usage", "no team has a log yet", { hint: "register an agent, and its log begins" });
  const names = [...new Set([...teams, enrolmentLog])].toSorted();
  const keys = await Promise.all(
    names.map(async (name) => (await client.verifierKey({ params: { log: name } })).verifierKey),
  );
  const approvers = await enrolled(cli, enrolmentLog, keys[names.indexOf(enrolmentLog)] ?? "");
  const trust: Trust = {
    format: trustFormat,
    logs: Object.fromEntries(names.map((name, place) => [name, { verifierKeys: [keys[place] ?? ""] }])),
    approvers: [...approvers],
  };
  write(output, trustText(trust), force === true);
  terminal.say(
    `${output}: ${names.length} logs, ${approvers.length} reviewers' keys, as ${cli.connection.url} gave them`,
  );
  for (const [place, name] of names.entries()) terminal.say(`  log ${name}  ${safe(keys[place] ?? "")}`);
  for (const { principal, keyId } of approvers) terminal.say(`  ${safe(principal)}  ${keyId}`);
  terminal.note(
    "this is the server's own word: compare each line with what its operator and reviewers tell you another way,",
  );
  terminal.note("then keep the file where the operator cannot change it. Groups and witnesses are for you to add.");
  terminal.result({ file: output, logs: trust.logs, approvers });
}

function write(path: string, text: string, force: boolean): void {
  try {
    makeFolder(dirname(resolve(path)));
    writeFileSync(path, text, { flag: force ? "w" : "wx", mode: 0o600 });
  } catch (cause) {
    throw new CliError("environment", `\`${path}\` cannot be written`, { cause, hint: "give another file: -o FILE" });
  }
}

/** Every key that was ever enrolled, by the log whose checkpoint its own key signed. Revocations are in the log. */
async function enrolled({ client }: Cli, log: string, verifierKey: string): Promise<readonly Approver[]> {
  const { openCheckpoint, parseVerifierKey, rootOf, leafHash, equalHashes, scanEntry } =
    await import("../../ledger/proof/index.ts");
  const note = await checkpointOf(client, log);
  if (note === undefined) return [];
  const { size, root } = openCheckpoint(note, parseVerifierKey(verifierKey));
  const leaves: Buffer[] = [];
  for await (const leaf of leavesOf(client, log, size)) leaves.push(Buffer.from(leaf, "utf8"));
  if (!equalHashes(rootOf(leaves.map((leaf) => leafHash(leaf))), root)) {
    throw new CliError("refuted", "the log of enrolments does not have its signed root", {
      hint: "the server's database was changed: do not trust what it says",
    });
  }
  return leaves
    .map((leaf) => scanEntry(leaf))
    .filter(({ kind }) => kind === "approver.key.added")
    .map(({ facts }) => ({
      principal: String(facts["principal"]),
      keyId: String(facts["keyId"]),
      publicKey: String(facts["publicKey"]),
    }));
}
