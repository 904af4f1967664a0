import type { Command } from "commander";

import type { RunId } from "../../core/ids.ts";
import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../cli-error.ts";
import { concludeReports, isSome, printReport } from "../report-text.ts";
import type { Report } from "../report-text.ts";
import type { Unreadable } from "../run-records.ts";
import { addSelectionFlags, selectRuns } from "../run-selection.ts";
import type { SelectionFlags } from "../run-selection.ts";
import { addExportCommand } from "./audit-export.ts";
import { addForkCommand } from "./audit-fork.ts";
import { addTrustCommands } from "./audit-trust.ts";
import { verify } from "./audit-verify.ts";
import type { VerifyFlags } from "./audit-verify.ts";
import { collected } from "./ledger.ts";
import { localTime, safe } from "../terminal.ts";

export function addAuditCommands(program: Command): void {
  const audit = program.command("audit").description("replay runs and verify evidence, trusting nobody");
  addSelectionFlags(
    audit
      .command("replay [runs...]")
      .description("replay runs on the code they ran, and decide each step again under the policies of then"),
  ).action((runs: RunId[], flags: SelectionFlags, command: Command) => replay(cliOf(command), runs, flags));
  audit
    .command("verify [runs...]")
    .description("verify that runs are in the signed ledger; without a run, every log whole, that of people too")
    .option("--log <team>", "one log, every entry of it")
    .option("--verifier-key <key>", "the log's key, as its operator published it")
    .option(
      "--witness <key>",
      "a witness whose cosignatures count, for calls that waited for them; repeatable",
      collected,
      [],
    )
    .option(
      "--pinned <file>",
      "a checkpoint that you kept: its log must have grown out of it; repeatable",
      collected,
      [],
    )
    .action((runs: RunId[], flags: VerifyFlags, command: Command) => verify(cliOf(command), runs, flags));
  audit
    .command("timeline <run>")
    .description("a run as a person reads it: asked, decided, by whom, done")
    .action((run: RunId, _flags, command: Command) => timeline(cliOf(command), run));
  addForkCommand(audit);
  addExportCommand(audit);
  addTrustCommands(audit);
}

/** More than so many runs are told by their sum, and by those that are not verified. */
const toldOneByOne = 20;

async function replay(cli: Cli, named: readonly RunId[], flags: SelectionFlags): Promise<void> {
  const { terminal, interrupted } = cli;
  const [{ createReplayPool }, { recordsOf }] = await Promise.all([
    import("../../audit/index.ts"),
    import("../run-records.ts"),
  ]);
  const pool = createReplayPool();
  const reports: (Report & { run: RunId })[] = [];
  const begun = Date.now();
  try {
    const replayed = recordsOf<Report & { run: RunId }>(
      cli,
      selectRuns(cli, named, flags),
      async ({ record, code }) => ({ run: record.run.id, ...(await pool.replay(record, code)) }),
      unreadRun,
    );
    for await (const report of replayed) {
      reports.push(report);
      // The first are told as they come; after that, what is wrong.
      if (reports.length <= toldOneByOne || report.verdict !== "verified") printReport(terminal, report.run, report);
      if (reports.length % 100 === 0) terminal.note(`${reports.length} runs replayed`);
      if (interrupted.aborted) throw new CliError("environment", `stopped after ${reports.length} runs`);
    }
  } finally {
    pool.close();
  }
  if (!isSome(reports)) {
    throw new CliError("usage", "no run was selected, so nothing was replayed", {
      hint: "countersign run list tells which there are",
    });
  }
  if (reports.length > toldOneByOne) {
    const counted = (verdict: Report["verdict"]) => reports.filter((report) => report.verdict === verdict).length;
    const seconds = ((Date.now() - begun) / 1_000).toFixed(1);
    terminal.say(
      `${reports.length} runs in ${seconds} s: ${counted("verified")} verified, ${counted("refuted")} refuted, ${counted("incomplete")} incomplete`,
    );
  }
  concludeReports(terminal, reports, { runs: reports });
}

/** One record that cannot be had leaves its run open, and says nothing of the others. */
function unreadRun({ run, why }: Unreadable): Report & { run: RunId } {
  return { run, verdict: "incomplete", checks: [{ name: "record", status: "incomplete", detail: why }] };
}

async function timeline({ client, terminal }: Cli, run: RunId): Promise<void> {
  const { timelineOf } = await import("../../audit/index.ts");
  const entries = timelineOf(await client.runRecord({ params: { run } }));
  for (const entry of entries) {
    terminal.say(`${terminal.colors.dim(localTime(entry.at))}  ${safe(entry.title)}`);
    for (const line of entry.lines) terminal.say(`    ${safe(line).replaceAll("\n", "\n    ")}`);
  }
  terminal.result({ run, timeline: entries });
}
