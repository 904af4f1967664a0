import { CommanderError } from "commander";
import type { Command } from "commander";

import { exitCodeOf, reportOf } from "./cli-error.ts";
import { exitCodeAfter, guardOutput } from "./output.ts";
import { buildProgram } from "./program.ts";
import { createTerminal, safe } from "./terminal.ts";

/** Runs one command, as a shell gives it. Resolves to the exit code: 0 done, 1 refused or refuted, 2 usage or surroundings. */
export async function runCommandLine(argv: readonly string[]): Promise<number> {
  const json = argv.includes("--json");
  const program = buildProgram();
  prepare(program, json);
  guardOutput();
  try {
    await program.parseAsync([...argv]);
    return exitCodeAfter(Number(process.exitCode ?? 0));
  } catch (error) {
    return exitCodeAfter(explain(error, json, !argv.includes("--no-color")));
  }
}

/** Errors come back to `runCommandLine`, and what commander prints of them is left to it. */
function prepare(command: Command, json: boolean): void {
  command.exitOverride();
  if (json) command.configureOutput({ writeErr: () => undefined });
  for (const inner of command.commands) prepare(inner, json);
}

function explain(error: unknown, json: boolean, color: boolean): number {
  const terminal = createTerminal({ json, color });
  if (error instanceof CommanderError) {
    // Help and version are not errors, and the rest has been printed.
    if (error.exitCode === 0) return 0;
    terminal.result({ error: { code: "usage", message: error.message.replace(/^error: /, ""), hint: "see --help" } });
    return 2;
  }
  const report = reportOf(error);
  terminal.result({ error: report });
  if (!json) {
    const { red, dim } = terminal.colors;
    terminal.note(`${red("error")}: ${safe(report.message)} ${dim(`(${report.code})`)}`);
    if (report.hint !== undefined) terminal.note(`  ${safe(report.hint)}`);
  }
  if (process.env["COUNTERSIGN_DEBUG"] === "1") console.error(error);
  return exitCodeOf(error);
}
