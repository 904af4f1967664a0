import { constants } from "node:os";

import type { Command } from "commander";
import { z } from "zod";

import { codeOf } from "../../core/errors.ts";
import { runIdPattern } from "../../core/ids.ts";
import type { RunId } from "../../core/ids.ts";
import { readYamlDocument } from "../case-file.ts";
import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../cli-error.ts";
import { evidenceSource } from "../evidence-source.ts";
import { readText } from "../read-text.ts";
import { isOfOneRun } from "../run-records.ts";
import { runsBegun } from "../run-selection.ts";
import { brief, safe } from "../terminal.ts";
import { sinceOf } from "../times.ts";
import pkg from "../../../package.json" with { type: "json" };

type ExportFlags = {
  readonly output: string;
  readonly since?: string;
  readonly until?: string;
  readonly agent?: string;
  readonly case?: string;
  readonly payloads?: true;
  readonly wholeLog?: true;
  readonly code?: true;
  readonly pinned: readonly string[];
  readonly force?: true;
};

/** A case: what an auditor looks into, and which runs belong to it. */
const caseFile = z.strictObject({
  id: z.string().min(1).max(200).optional(),
  title: z.string().max(500).optional(),
  note: z.string().max(20_000).optional(),
  runs: z.array(z.string().regex(runIdPattern, "expected a run id")).min(1).max(100_000),
});

export function addExportCommand(audit: Command): void {
  audit
    .command("export [runs...]")
    .description("write an evidence bundle: what an outsider needs to verify runs without any server")
    .requiredOption("-o, --output <dir>", "the bundle's folder, which must not exist yet")
    .option("--since <time>", "closed runs that began since then: 30d, 12h, or 2026-11-01")
    .option("--until <time>", "of these, those that began before then")
    .option("--agent <agent>", "closed runs of TEAM/NAME")
    .option("--case <file>", "a case: YAML or JSON with id, title, note and runs")
    .option("--payloads", "include contents; each read of them is recorded in the ledger")
    .option("--whole-log", "include every entry of the runs' logs, and not only the runs' own")
    .option("--code", "include the workflow code that the runs ran")
    .option(
      "--pinned <file>",
      "a checkpoint kept from before: prove that the log grew out of it; may be repeated",
      add,
      [],
    )
    .option("--force", "replace a bundle that is there already")
    .action((runs: string[], flags: ExportFlags, command: Command) => exportRuns(cliOf(command), runs, flags));
}

async function exportRuns(cli: Cli, given: readonly string[], flags: ExportFlags): Promise<void> {
  const about = flags.case === undefined ? undefined : await readCase(flags.case);
  const runs = await runsOf(cli, given, about?.runs ?? [], flags);
  const [{ exportBundle }, { parsePin }, { untilInterrupted }] = await Promise.all([
    import("../../audit/index.ts"),
    import("../../audit/offline/index.ts"),
    import("../../dev/index.ts"),
  ]);
  // What is written so far goes with the process.
  void untilInterrupted().then((signal) => process.exit(128 + constants.signals[signal]));
  const progress = progressOn(cli);
  const leftOut: { readonly run: RunId; readonly why: string }[] = [];
  const leaveOut = (run: RunId, error: unknown): boolean => {
    if (!isOfOneRun(error) && codeOf(error) !== "bundle_unreadable") return false;
    const why = error instanceof Error ? error.message : String(error);
    leftOut.push({ run, why });
    cli.terminal.note(`${run} is left out: ${safe(why)}`);
    return true;
  };
  const done = await exportBundle(evidenceSource(cli.client), {
    runs,
    directory: flags.output,
    force: flags.force === true,
    contents: flags.payloads === true,
    wholeLogs: flags.wholeLog === true,
    code: flags.code === true,
    about: about === undefined ? undefined : headOf(about),
    pinned: flags.pinned.map((file) => parsePin(readText(file), file).note),
    generator: { name: "countersign", version: pkg.version },
    now: new Date(),
    // Whoever names a run wants that one.
    ...(given.length > 0 ? {} : { leaveOut }),
    onProgress: progress,
  });
  cli.terminal.say(`${done.runs} runs, ${done.entries} ledger entries, ${done.files} files: ${done.directory}`);
  cli.terminal.say("  read it:   report.html in it, with any browser");
  cli.terminal.say("  verify it: countersign verify DIR --trust trust.json");
  if (flags.payloads !== true)
    cli.terminal.say("  contents are withheld, so decisions cannot be made again: --payloads includes them");
  cli.terminal.result({ ...done, contents: flags.payloads === true ? "included" : "withheld", leftOut });
  // The bundle holds what it says, and less than was asked for.
  if (leftOut.length > 0) process.exitCode = 1;
}

async function runsOf(
  cli: Cli,
  given: readonly string[],
  ofCase: readonly string[],
  flags: ExportFlags,
): Promise<readonly RunId[]> {
  const named = [...new Set([...given, ...ofCase])];
  const wrong = named.find((run) => !runIdPattern.test(run));
  if (wrong !== undefined)
    throw new CliError("usage", `\`${wrong}\` is not a run's id`, { hint: "countersign run list" });
  const selecting = flags.since !== undefined || flags.until !== undefined || flags.agent !== undefined;
  if (named.length > 0 && selecting)
    throw new CliError("usage", "give runs, or a selection with --since, --until and --agent, not both");
  if (named.length > 0) return named as RunId[];
  if (!selecting) {
    throw new CliError("usage", "export what? Give RUNs, --since TIME, --agent TEAM/NAME or --case FILE", {
      hint: "countersign run list",
    });
  }
  return closedRuns(cli, flags);
}

async function closedRuns(cli: Cli, { since, until, agent }: ExportFlags): Promise<readonly RunId[]> {
  const [team, name, ...rest] = agent?.split("/") ?? [];
  if (agent !== undefined && (team === undefined || name === undefined || rest.length > 0))
    throw new CliError("usage", `\`${agent}\` is not TEAM/NAME`);
  const now = new Date();
  const at = (text: string | undefined) => (text === undefined ? undefined : sinceOf(text, now));
  const found: RunId[] = [];
  let open = 0;
  for await (const run of runsBegun(cli, { team, agent: name, since: at(since), until: at(until) })) {
    if (run.closedAt === null) open += 1;
    else found.push(run.id);
  }
  if (open > 0) cli.terminal.note(`${open} runs are still at work, and left out`);
  if (found.length === 0) {
    throw new CliError("usage", "no closed run fits", { hint: "countersign run list tells which there are" });
  }
  return found.toReversed();
}

type CaseFile = z.output<typeof caseFile>;

async function readCase(path: string): Promise<CaseFile> {
  const parsed = caseFile.safeParse(readYamlDocument(readText(path), path));
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const where = brief(issue?.path.join(".") ?? "", 100);
  throw new CliError("usage", `\`${path}\`: \`${where}\`: ${brief(issue?.message ?? "", 200)}`, {
    hint: "a case has `runs`, and may have `id`, `title` and `note`",
  });
}

function headOf({ id, title, note }: CaseFile) {
  return {
    ...(id === undefined ? {} : { id }),
    ...(title === undefined ? {} : { title }),
    ...(note === undefined ? {} : { note }),
  };
}

/** On a terminal only, at most twice a second. */
function progressOn({ terminal }: Cli): (line: string) => void {
  let last = 0;
  return (line) => {
    const now = Date.now();
    if (!terminal.interactive || now - last < 500) return;
    last = now;
    terminal.note(`  ${safe(line)}`);
  };
}

function add(file: string, before: readonly string[]): readonly string[] {
  return [...before, file];
}
