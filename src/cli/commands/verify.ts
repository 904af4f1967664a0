import type { Command } from "commander";

import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { readText } from "../read-text.ts";

type VerifyFlags = { readonly trust: string; readonly pinned: readonly string[]; readonly run: readonly string[] };

export function addVerifyCommand(program: Command): void {
  program
    .command("verify <dir>")
    .description("verify an evidence bundle offline, with what you trust; no server is asked")
    .requiredOption("--trust <file>", "whom you trust: a trust file of your own, never one from the bundle")
    .option(
      "--pinned <file>",
      "a checkpoint that you kept: the log must have grown out of it; may be repeated",
      add,
      [],
    )
    .option("--run <run>", "a run that has to be in the bundle; may be repeated", add, [])
    .addHelpText("after", "\nExit codes: 0 verified, 1 refuted, 2 incomplete or not readable.")
    .action((directory: string, flags: VerifyFlags, command: Command) => verify(cliOf(command), directory, flags));
}

async function verify({ terminal }: Cli, directory: string, flags: VerifyFlags): Promise<void> {
  const { exitCodeOf, parsePin, parseTrust, reportLines, verifyEvidence } =
    await import("../../audit/offline/index.ts");
  const report = verifyEvidence({
    directory,
    trust: parseTrust(readText(flags.trust)),
    pinned: flags.pinned.map((file) => parsePin(readText(file), file).note),
    runs: flags.run,
    ...(terminal.interactive ? { onProgress: (line: string) => terminal.note(`  ${line}`) } : {}),
  });
  const { colors } = terminal;
  const paint = { verified: colors.green, refuted: colors.red, incomplete: colors.yellow }[report.verdict];
  for (const line of reportLines(report)) terminal.say(line.startsWith("RESULT") ? paint(line) : line);
  terminal.result(report);
  process.exitCode = exitCodeOf(report);
}

function add(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}
