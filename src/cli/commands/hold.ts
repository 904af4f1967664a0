import type { Command } from "commander";

import type { HoldView } from "../../api/index.ts";
import type { RunId } from "../../core/ids.ts";
import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../cli-error.ts";
import { localTime, safe } from "../terminal.ts";
import { nameOf, targetOf } from "./erase.ts";

type HoldFlags = { readonly run?: RunId; readonly reason: string };
type ListFlags = { readonly run?: RunId; readonly all?: true };

const holdId = /^hold_[0-9A-Z]{26}$/;

export function addHoldCommands(program: Command): void {
  const hold = program.command("hold").description("legal holds: while one stands, nothing of whom it is on is erased");
  hold
    .command("place [subject]")
    .description("keep a person's contents, or one run's")
    .option("--run <run>", "one run, instead of a subject")
    .requiredOption("--reason <text>", "why: a case, say; it stays in the ledger")
    .action((subject: string | undefined, flags: HoldFlags, command: Command) => place(cliOf(command), subject, flags));
  hold
    .command("lift [target]")
    .description("lift a hold: by its id, or the only one on a SUBJECT or --run")
    .option("--run <run>", "the hold on one run")
    .requiredOption("--reason <text>", "why")
    .action((target: string | undefined, flags: HoldFlags, command: Command) => lift(cliOf(command), target, flags));
  hold
    .command("list [subject]")
    .description("holds that stand: all, or those that keep a SUBJECT or --run")
    .option("--run <run>", "those that keep one run")
    .option("--all", "also those that were lifted")
    .action((subject: string | undefined, flags: ListFlags, command: Command) => list(cliOf(command), subject, flags));
}

async function place({ client, terminal }: Cli, subject: string | undefined, flags: HoldFlags): Promise<void> {
  const target = targetOf(subject, flags.run);
  const answer = await client.placeHold({ body: { ...target, reason: flags.reason } });
  const { hold, runs } = answer;
  terminal.say(`${nameOf(target)} is held: ${hold.id}; it keeps ${runs} ${runs === 1 ? "run" : "runs"} now`);
  if (runs === 0) {
    terminal.note(
      "warning: no run is for such a subject, so the hold keeps nothing yet. A subject is the `--subject-id`",
    );
    terminal.note(`  of runs, letter by letter. Was it misspelt? countersign hold lift ${hold.id} --reason TEXT`);
  }
  terminal.result(answer);
}

async function lift({ client, terminal }: Cli, named: string | undefined, flags: HoldFlags): Promise<void> {
  const isHold = named !== undefined && holdId.test(named) && flags.run === undefined;
  const target = isHold ? { hold: named } : targetOf(named, flags.run);
  const answer = await client.liftHold({ body: { ...target, reason: flags.reason } });
  terminal.say(`${answer.hold.id} is lifted`);
  terminal.result(answer);
}

async function list({ client, terminal }: Cli, subject: string | undefined, flags: ListFlags): Promise<void> {
  const named = subject !== undefined || flags.run !== undefined;
  if (named && flags.all === true) throw new CliError("usage", "--all goes with no subject and no run");
  const target = named ? targetOf(subject, flags.run) : flags.all === true ? { all: true } : {};
  const page = await client.listHolds({ body: target });
  if (page.holds.length === 0) terminal.say("no hold stands");
  for (const one of page.holds) terminal.say(lineOf(one));
  terminal.result(page);
}

function lineOf({ id, on, run, reason, placedBy, placedAt, liftedBy, liftedAt }: HoldView): string {
  const lifted = liftedAt === null ? "" : `, lifted by ${liftedBy ?? ""} at ${localTime(liftedAt)}`;
  const what = on === "run" ? (run ?? "") : "a subject";
  return `${id} on ${what}: ${safe(reason)} (${placedBy}, ${localTime(placedAt)}${lifted})`;
}
