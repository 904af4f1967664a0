import type { Command } from "commander";

import type { ResponseOf } from "../../api/index.ts";
import type { RunId } from "../../core/ids.ts";
import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../cli-error.ts";
import { safe } from "../terminal.ts";

type EraseFlags = { readonly run?: RunId; readonly reason?: string; readonly dryRun?: true; readonly yes?: true };

export function addEraseCommand(program: Command): void {
  program
    .command("erase [subject]")
    .description("destroy the key of a person's contents, or of one run's, for good; the ledger still verifies")
    .option("--run <run>", "the contents of one run, instead of a subject's")
    .option("--reason <text>", "why; it stays in the ledger, so it should name nobody", "asked for")
    .option("--dry-run", "only tell what would be erased, and what stands against it")
    .option("--yes", "do not ask")
    .action((subject: string | undefined, flags: EraseFlags, command: Command) =>
      eraseContents(cliOf(command), subject, flags),
    );
}

/** A subject or `--run`, and not both. */
export function targetOf(subject: string | undefined, run: RunId | undefined): { subject?: string; run?: RunId } {
  if ((subject === undefined) === (run === undefined))
    throw new CliError("usage", "of whom? Give a SUBJECT (the --subject-id of runs) or --run RUN");
  return { ...(subject === undefined ? {} : { subject }), ...(run === undefined ? {} : { run }) };
}

export function nameOf({ subject, run }: { readonly subject?: string; readonly run?: string }): string {
  return run ?? `subject ${safe(subject ?? "")}`;
}

async function eraseContents(cli: Cli, subject: string | undefined, flags: EraseFlags): Promise<void> {
  const { client, terminal } = cli;
  const target = targetOf(subject, flags.run);
  const body = { ...target, reason: flags.reason ?? "asked for" };
  const found = await client.erase({ body: { ...body, dryRun: true } });
  const say = terminal.json ? terminal.note : terminal.say;
  const would = flags.dryRun === true ? "would be erased" : "to be erased";
  say(`${nameOf(target)}: ${counted(found)} ${would}${found.before === 0 ? "" : `, ${found.before} runs were before`}`);
  for (const obstacle of found.obstacles) say(`  refused while ${safe(obstacle)}`);
  if (flags.dryRun === true) {
    warnOfOlder(cli, found);
    return terminal.result(found);
  }
  if (found.runs > 0 && found.obstacles.length === 0) await confirm(cli, flags);
  // Whatever stands against it is refused here, by the server.
  const done = await client.erase({ body });
  terminal.say(
    done.erased ? `erased: ${counted(done)}, and in the log of ${done.teams.join(", ")}` : "nothing was left to erase",
  );
  if (done.erased) terminal.say("backups of the database hold the key still: they have to go in their own time");
  warnOfOlder(cli, done);
  terminal.result(done);
}

async function confirm({ terminal }: Cli, { yes }: EraseFlags): Promise<void> {
  if (yes === true || (await terminal.confirm("Erase it? Nobody can bring it back."))) return;
  throw new CliError("not_confirmed", "nothing was erased", {
    hint: terminal.interactive ? "answer y to erase it" : "look at it with --dry-run, then add --yes",
  });
}

function counted({ runs, payloads }: ResponseOf<"erase">): string {
  return `${payloads} contents of ${runs} ${runs === 1 ? "run" : "runs"}`;
}

/** Who asked for an erasure must not believe that all is gone. */
function warnOfOlder({ terminal }: Cli, { older }: ResponseOf<"erase">): void {
  if (older === 0) return;
  terminal.note(`${older} older runs are under the deployment's key, and their contents cannot be erased one by one`);
  process.exitCode = 1;
}
