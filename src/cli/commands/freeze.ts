import type { Command } from "commander";

import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../cli-error.ts";
import { frozenText, nameOfFrozen } from "../frozen.ts";

type TargetFlags = {
  readonly agent?: string;
  readonly tool?: string;
  readonly team?: string;
  readonly all?: true;
  readonly reason?: string;
};

export function addFreezeCommands(program: Command): void {
  const freeze = program
    .command("freeze")
    .description("stop steps before they happen, everywhere, within a second; runs wait until it is lifted");
  targets(freeze)
    .option("--reason <text>", "why, for those who find it")
    .action((flags: TargetFlags, command: Command) => change(cliOf(command), flags, true));
  freeze
    .command("list")
    .description("what is frozen")
    .action((_flags, command: Command) => list(cliOf(command)));
  targets(program.command("unfreeze").description("lift a freeze of this very target; wider ones stay"))
    .option("--reason <text>", "why", "lifted")
    .action((flags: TargetFlags, command: Command) => change(cliOf(command), flags, false));
}

function targets(command: Command): Command {
  return command
    .option("--agent <agent>", "an agent, TEAM/NAME")
    .option("--tool <tool>", "a tool, of every team or with --team of one")
    .option("--team <team>", "a whole team")
    .option("--all", "everything");
}

async function change({ client, terminal }: Cli, flags: TargetFlags, frozen: boolean): Promise<void> {
  const target = targetOf(flags, frozen ? "freeze" : "unfreeze");
  // Not required of the command itself: `freeze list` needs none.
  if (flags.reason === undefined) throw new CliError("usage", "freeze why? Give a --reason");
  const body = { ...target, reason: flags.reason };
  const { changed } = await (frozen ? client.freeze({ body }) : client.liftFreeze({ body }));
  terminal.say(`${nameOfFrozen(body)} ${stateText(frozen, changed)}`);
  terminal.result({ changed });
}

function stateText(frozen: boolean, changed: boolean): string {
  if (frozen) return changed ? "is frozen" : "is frozen already";
  return changed ? "is not frozen any more" : "was not frozen; what is: countersign freeze list";
}

function targetOf(
  { agent, tool, team, all }: TargetFlags,
  verb: "freeze" | "unfreeze",
): { team?: string; agent?: string; tool?: string } {
  const kinds = [agent !== undefined, tool !== undefined || team !== undefined, all === true].filter(Boolean).length;
  if (kinds !== 1) {
    throw new CliError("usage", `${verb} what? Give one of --agent, --tool (with --team), --team and --all`, {
      hint:
        verb === "freeze" ? "countersign freeze --team shop --reason TEXT" : "what is frozen: countersign freeze list",
    });
  }
  if (agent === undefined) return { ...(team === undefined ? {} : { team }), ...(tool === undefined ? {} : { tool }) };
  const [of, name, ...rest] = agent.split("/");
  if (of === undefined || name === undefined || rest.length > 0)
    throw new CliError("usage", `\`${agent}\` is not an agent: expected TEAM/NAME`);
  return { team: of, agent: name };
}

async function list({ client, terminal }: Cli): Promise<void> {
  const { freezes } = await client.listFreezes({ query: {} });
  if (freezes.length === 0) terminal.say("nothing is frozen");
  for (const one of freezes) terminal.say(`${frozenText(one)}`);
  terminal.result({ freezes });
}
