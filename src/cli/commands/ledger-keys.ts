import { join } from "node:path";

import type { Command } from "commander";

import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { homeOf } from "../settings.ts";

export function addLedgerKeyCommands(ledger: Command): void {
  const key = ledger
    .command("key")
    .description("the key that logs are signed with, in the data directory of the server");
  key
    .command("rotate")
    .description("make a new key; until `key retire`, the old one signs beside it")
    .action((_flags, command: Command) => rotate(cliOf(command)));
  key
    .command("retire")
    .description("leave only the newest key: do it when every auditor has the new one")
    .action((_flags, command: Command) => retire(cliOf(command)));
}

async function rotate({ env, terminal }: Cli): Promise<void> {
  const { rotateKey } = await import("../../ledger/index.ts");
  const path = keyFileOf(env);
  await rotateKey(path);
  terminal.say(`made a new key in ${path}; the old one signs beside it`);
  terminal.say(
    "  restart every server, so that it signs with both: each log then tells the new key in an entry of its own",
  );
  terminal.say("  give auditors the new verifier key; then: countersign ledger key retire, and restart again");
  terminal.result({ path, rotated: true });
}

async function retire({ env, terminal }: Cli): Promise<void> {
  const { retireKeys } = await import("../../ledger/index.ts");
  const path = keyFileOf(env);
  const retired = await retireKeys(path);
  terminal.say(
    retired === 0
      ? `nothing to retire: ${path} has one key`
      : `retired ${retired} key(s) of ${path}; restart every server`,
  );
  terminal.result({ path, retired });
}

function keyFileOf(env: NodeJS.ProcessEnv): string {
  return join(homeOf(env), "secrets", "ledger.pem");
}
