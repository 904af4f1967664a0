import { InvalidArgumentError } from "commander";
import type { Command } from "commander";

import { effectClasses } from "../../core/action.ts";
import type { EffectClass } from "../../core/action.ts";
import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../cli-error.ts";
import { safe } from "../terminal.ts";

type Effects = { readonly [effect in EffectClass]?: number };
type SetFlags = {
  readonly days?: number;
  readonly forever?: true;
  readonly effect: Effects;
  readonly reason: string;
  readonly dryRun?: true;
};

export function addRetentionCommands(program: Command): void {
  const retention = program
    .command("retention")
    .description("how long contents of closed runs are kept; the server erases them then, unless they are held");
  retention
    .command("set <team>")
    .description("set it for a TEAM, from now on and for what is there already")
    .option("--days <n>", "days after a run's end", days)
    .option("--forever", "keep them")
    .option(
      "--effect <effect=days>",
      `instead, of runs that had such effects (${effectClasses.join(", ")}), the longest counting; repeat it`,
      addEffect,
      {},
    )
    .requiredOption("--reason <text>", "why")
    .option("--dry-run", "only tell which runs' contents would be erased under it now")
    .action((team: string, flags: SetFlags, command: Command) => set(cliOf(command), team, flags));
  retention
    .command("list")
    .description("what is set, and how many runs are past it now")
    .action((_flags, command: Command) => list(cliOf(command)));
}

/** The most that the server tells of, and a screen takes. */
const dueShown = 1_000;
const runsShown = 20;

function days(text: string): number {
  if (!/^\d{1,5}$/.test(text)) throw new InvalidArgumentError("Expected a whole number of days.");
  return Number(text);
}

function addEffect(text: string, before: Effects): Effects {
  const [name = "", count = "", ...rest] = text.split("=");
  const effect = effectClasses.find((known) => known === name);
  if (effect === undefined || rest.length > 0)
    throw new InvalidArgumentError(`Expected EFFECT=DAYS, with one of ${effectClasses.join(", ")}.`);
  return { ...before, [effect]: days(count) };
}

async function set({ client, terminal }: Cli, team: string, flags: SetFlags): Promise<void> {
  if ((flags.days === undefined) === (flags.forever === undefined))
    throw new CliError("usage", "how long? Give --days N or --forever");
  const answer = await client.setRetention({
    body: {
      team,
      days: flags.days ?? null,
      effects: { ...flags.effect },
      reason: flags.reason,
      ...(flags.dryRun === true ? { dryRun: true } : {}),
    },
  });
  if (!answer.set) {
    const { due } = answer;
    terminal.say(
      `contents of ${team} would be kept ${lengthOf(flags.days ?? null, flags.effect)}; nothing was set, nothing is erased`,
    );
    terminal.say(
      `${due.length === dueShown ? `${dueShown} or more` : due.length} runs are past that now, and not held`,
    );
    for (const run of due.slice(0, runsShown)) terminal.say(`  ${run}`);
    if (due.length > runsShown) terminal.say(`  … and ${due.length - runsShown} more (--json has them)`);
    return terminal.result(answer);
  }
  terminal.say(`contents of ${team} are kept ${lengthOf(flags.days ?? null, flags.effect)}`);
  if (flags.days !== undefined)
    terminal.say("the server erases what is past it within minutes: countersign retention list");
  terminal.result(answer);
}

async function list({ client, terminal }: Cli): Promise<void> {
  const page = await client.listRetentions({});
  if (page.retentions.length === 0) terminal.say("no team has set any: contents are kept until somebody erases them");
  for (const { team, days: count, effects, due, by, reason } of page.retentions) {
    const past = due === 0 ? "" : `; ${due === dueShown ? `${dueShown} or more` : due} runs are past it`;
    terminal.say(`${team}: kept ${lengthOf(count, effects)}${past} (${by}: ${safe(reason)})`);
  }
  terminal.result(page);
}

function lengthOf(count: number | null, effects: { readonly [effect: string]: number | undefined }): string {
  if (count === null) return "for ever";
  const others = Object.entries(effects).map(([effect, longer]) => `${longer} days with ${effect} effects`);
  return [`for ${count} days`, ...others].join(", ");
}
