import { Option } from "commander";
import type { Command } from "commander";

import type { KeyView, ResponseOf } from "../../api/index.ts";
import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../cli-error.ts";
import { localTime, safe } from "../terminal.ts";
import { positive } from "./run.ts";

const states = ["proposed", "active", "revoked"] as const;

type ListFlags = {
  readonly principal?: string;
  readonly state?: (typeof states)[number];
  readonly limit: number;
  readonly cursor?: string;
};
type EnrolFlags = { readonly key?: string; readonly for?: string };
type KeyPage = ResponseOf<"listKeys">;
type YesFlags = { readonly yes?: true };

export function addKeyCommands(program: Command): void {
  const keys = program.command("keys").description("what reviewers sign decisions with: key files and passkeys");
  keys
    .command("list")
    .description("keys, newest first")
    .option("--principal <id>", "of one person")
    .addOption(new Option("--state <state>").choices(states))
    .option("--limit <n>", "how many", positive, 20)
    .option("--cursor <cursor>", "`next` of the page before")
    .action((flags: ListFlags, command: Command) => list(cliOf(command), flags));
  keys
    .command("enrol")
    .description(
      "propose the public half of a key file as yours; passkeys are enrolled in a browser, at /keys of the server",
    )
    .option("--key <file>", "your Ed25519 key, PEM (COUNTERSIGN_KEY_FILE); made if it is not there")
    .option("--for <id>", "whose it is, such as a service's; as an admin")
    .action((flags: EnrolFlags, command: Command) => enrol(cliOf(command), flags));
  keys
    .command("confirm <key>")
    .description("confirm that a proposed key is its owner's, as an admin who is neither that nor who proposed it")
    .option("--yes", "do not ask")
    .action((key: string, flags: YesFlags, command: Command) => confirm(cliOf(command), key, flags));
  keys
    .command("revoke <key>")
    .description("end a key for good: grants that rest on it hold no more; yours, or as an admin anybody's")
    .option("--yes", "do not ask")
    .action((key: string, flags: YesFlags, command: Command) => revoke(cliOf(command), key, flags));
}

async function list({ client, terminal }: Cli, flags: ListFlags): Promise<void> {
  const page = await client.listKeys({ query: { ...flags } });
  if (page.keys.length === 0) terminal.say("no such keys; propose yours: countersign keys enrol --key FILE");
  else {
    terminal.table(
      ["key", "of", "kind", "state", "enrolled by"],
      page.keys.map((key) => [key.keyId, key.principal, kindOf(key), stateOf(key), enrolledBy(key)]),
    );
    if (page.next !== null) terminal.say(`more: countersign keys list --cursor ${page.next}`);
  }
  terminal.result(page);
}

async function enrol({ connection, client, reviewer, terminal }: Cli, flags: EnrolFlags): Promise<void> {
  const file = flags.key ?? connection.keyFile;
  if (file === undefined) {
    throw new CliError("environment", "no key to enrol", { hint: "give --key FILE, or set COUNTERSIGN_KEY_FILE" });
  }
  const [{ privateKeyIn }, { readPrivateKey }, { publicKeyOf }] = await Promise.all([
    import("../key-file.ts"),
    import("../sign-decision.ts"),
    import("../../approvals/index.ts"),
  ]);
  privateKeyIn(file);
  const publicKey = publicKeyOf(readPrivateKey(file));
  // For others as who may; one's own as who signs.
  const answer = await (flags.for === undefined ? reviewer : client).proposeKey({
    body: { publicKey, ...(flags.for === undefined ? {} : { principal: flags.for }) },
  });
  const { key, added } = answer;
  terminal.say(`${added ? "proposed" : `known before, ${stateOf(key)}`}: ${key.keyId}, as ${key.principal}'s`);
  if (key.state === "proposed")
    terminal.say(`it counts when an admin, who is somebody else, has run: countersign keys confirm ${key.keyId}`);
  terminal.result(answer);
}

async function confirm({ client, terminal }: Cli, start: string, { yes }: YesFlags): Promise<void> {
  const say = terminal.json ? terminal.note : terminal.say;
  const found = await find(client, start);
  say(`${found.keyId}`);
  say(`  ${kindOf(found)} of ${found.principal}, proposed by ${found.addedBy} at ${localTime(found.addedAt)}`);
  await assertSure(terminal, yes, `Is it ${found.principal}'s own? Ask them`);
  const answer = await client.confirmKey({ params: { key: found.keyId } });
  terminal.say(
    answer.confirmed ? `confirmed: ${found.principal} signs with it from now on` : "it was confirmed before",
  );
  terminal.result(answer);
}

async function revoke({ client, reviewer, terminal }: Cli, start: string, { yes }: YesFlags): Promise<void> {
  const found = await find(client, start);
  await assertSure(terminal, yes, `Revoke the key ${found.keyId} of ${found.principal}, for good?`);
  const me = await reviewer.whoAmI({});
  const answer = await (me.id === found.principal ? reviewer : client).revokeKey({ params: { key: found.keyId } });
  terminal.say(answer.revoked ? "revoked; grants that rest on it hold no more" : "it was revoked before");
  terminal.result(answer);
}

/** The one key whose id begins so. */
async function find(client: Cli["client"], start: string): Promise<KeyView> {
  if (!/^[0-9a-f]{8,64}$/.test(start)) {
    throw new CliError(
      "usage",
      `\`${safe(start)}\` is no key: a key is 64 hexadecimal digits, or the first 8 or more`,
      {
        hint: "see: countersign keys list",
      },
    );
  }
  const found: KeyView[] = [];
  for (let cursor: string | null | undefined; cursor !== null;) {
    const page: KeyPage = await client.listKeys({ query: { limit: 200, ...(cursor === undefined ? {} : { cursor }) } });
    found.push(...page.keys.filter(({ keyId }) => keyId.startsWith(start)));
    cursor = page.next;
  }
  const [key, ...others] = found;
  if (key === undefined)
    throw new CliError("key_not_found", `there is no key ${start}`, { hint: "see: countersign keys list" });
  if (others.length === 0) return key;
  throw new CliError("usage", `${found.length} keys begin with ${start}`, { hint: "give more digits of it" });
}

async function assertSure(terminal: Cli["terminal"], yes: true | undefined, question: string): Promise<void> {
  if (yes === true || (await terminal.confirm(question))) return;
  throw new CliError("not_confirmed", "nothing was changed", {
    hint: terminal.interactive ? "answer y to go on" : "make sure of it, then add --yes",
  });
}

function kindOf({ kind }: KeyView): string {
  return kind === "webauthn" ? "passkey" : "key file";
}

function stateOf({ state, revokedAt, confirmedAt }: KeyView): string {
  if (state === "revoked") return `revoked ${localTime(revokedAt ?? "")}`;
  return state === "active" ? `since ${localTime(confirmedAt ?? "")}` : "proposed";
}

function enrolledBy({ addedBy, confirmedBy, bootstrap }: KeyView): string {
  if (bootstrap) return `${addedBy} (first key)`;
  return confirmedBy === null ? addedBy : `${addedBy}, confirmed by ${confirmedBy}`;
}
