import type { Command } from "commander";

import { checkHome, checkKeys, checkNode, checkPostgres, checkServer, checkTemporal } from "../checks.ts";
import type { Finding } from "../checks.ts";
import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { safe } from "../terminal.ts";

export function addDoctorCommand(program: Command): void {
  program
    .command("doctor")
    .description("look at what Countersign needs, and say what to do")
    .action((_flags, command: Command) => doctor(cliOf(command)));
}

async function doctor(cli: Cli): Promise<void> {
  const found = await Promise.all([
    checkHome(cli),
    checkPostgres(cli),
    checkTemporal(cli),
    checkKeys(cli),
    checkServer(cli),
  ]);
  const findings: readonly Finding[] = [checkNode(), ...found.flat()];
  const { terminal } = cli;
  const { colors } = terminal;
  const marks = { ok: colors.green("ok     "), warning: colors.yellow("warning"), failed: colors.red("failed ") };
  for (const finding of findings) {
    terminal.say(`${marks[finding.status]} ${finding.name}: ${safe(finding.detail)}`);
    if (finding.todo !== undefined) terminal.say(`        ${safe(finding.todo)}`);
  }
  terminal.result({ findings });
  if (findings.some((finding) => finding.status === "failed")) process.exitCode = 2;
}
