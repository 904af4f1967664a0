import type { Command } from "commander";

import type { AuditReport } from "../../audit/index.ts";
import type { RunId } from "../../core/ids.ts";
import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../cli-error.ts";
import { trustIn } from "../known-logs.ts";
import { addSelectionFlags, selectRuns } from "../run-selection.ts";
import type { SelectionFlags } from "../run-selection.ts";
import { addExportCommand } from "./audit-export.ts";
import { addForkCommand } from "./audit-fork.ts";
import { addTrustCommands } from "./audit-trust.ts";
import { collected } from "./ledger.ts";
import { localTime, safe } from "../terminal.ts";
import type { Terminal } from "../terminal.ts";

type VerifyFlags = { readonly log?: string; readonly verifierKey?: string; readonly witness: readonly string[] };
/** `AuditReport` and the ledger's `LogReport` share this much. */
type Report = {
  readonly verdict: AuditReport["verdict"];
  readonly checks: readonly {
    readonly name: string;
    readonly status: string;
    readonly detail: string;
    readonly problems?: readonly string[];
  }[];
};

export function addAuditCommands(program: Command): void {
  const audit = program.command("audit").description("replay runs and verify evidence, trusting nobody");
  addSelectionFlags(
    audit
      .command("replay [runs...]")
      .description("replay runs on the code they ran, and decide each step again under the policies of then"),
  ).action((runs: RunId[], flags: SelectionFlags, command: Command) => replay(cliOf(command), runs, flags));
  audit
    .command("verify [runs...]")
    .description("verify that runs are in the signed ledger; without a run, whole logs")
    .option("--log <team>", "one team's log, every entry of it")
    .option("--verifier-key <key>", "the log's key, as its operator published it")
    .option(
      "--witness <key>",
      "a witness whose cosignatures count, for calls that waited for them; repeatable",
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
    const replayed = recordsOf(cli, selectRuns(cli, named, flags), async ({ record, code }) => ({
      run: record.run.id,
      ...(await pool.replay(record, code)),
    }));
    for await (const report of replayed) {
      reports.push(report);
      // The first are told as they come; after that, what is wrong.
      if (reports.length <= toldOneByOne || report.verdict !== "verified") print(terminal, report.run, report);
      if (reports.length % 100 === 0) terminal.note(`${reports.length} runs replayed`);
      if (interrupted.aborted) throw new CliError("environment", `stopped after ${reports.length} runs`);
    }
  } finally {
    pool.close();
  }
  if (reports.length === 0) terminal.say("no run was selected");
  if (reports.length > toldOneByOne) {
    const counted = (verdict: Report["verdict"]) => reports.filter((report) => report.verdict === verdict).length;
    const seconds = ((Date.now() - begun) / 1_000).toFixed(1);
    terminal.say(
      `${reports.length} runs in ${seconds} s: ${counted("verified")} verified, ${counted("refuted")} refuted, ${counted("incomplete")} incomplete`,
    );
  }
  conclude(terminal, reports, { runs: reports });
}

async function verify(cli: Cli, runs: readonly RunId[], flags: VerifyFlags): Promise<void> {
  if (runs.length === 0) return verifyLogs(cli, flags);
  const { verifyRun } = await import("../../audit/index.ts");
  const reports: (Report & { run: RunId })[] = [];
  for (const run of runs) {
    const record = await cli.client.runRecord({ params: { run } });
    const { verifierKey } = await trustIn(cli, flags.log ?? record.run.team, flags.verifierKey);
    const report = verifyRun(record, verifierKey, flags.witness);
    reports.push({ run, ...report });
    print(cli.terminal, run, report);
  }
  conclude(cli.terminal, reports, { runs: reports });
}

async function verifyLogs(cli: Cli, flags: VerifyFlags): Promise<void> {
  const { verifyLog } = await import("../../ledger/proof/index.ts");
  const logs = flags.log === undefined ? await teams(cli) : [flags.log];
  if (logs.length === 0) cli.terminal.say("no team has a log yet; register an agent, and its log begins");
  const reports: (Report & { log: string; entries: number })[] = [];
  for (const log of logs) {
    const { checkpoint } = await cli.client.checkpoint({ params: { log } });
    const trust = await trustIn(cli, log, flags.verifierKey);
    const size = Number(checkpoint.split("\n")[1]);
    const report = await verifyLog({
      entries: entriesOf(cli, log, size),
      checkpoint,
      verifierKey: trust.verifierKey,
      pinned: trust.checkpoint,
    });
    if (report.verdict === "verified") trust.remember(checkpoint);
    reports.push({ log, entries: report.entries, verdict: report.verdict, checks: report.checks });
    print(cli.terminal, `log ${log}`, report);
  }
  conclude(cli.terminal, reports, { logs: reports });
}

/** The first `size` leaves: what came after the checkpoint is not its business. */
async function* entriesOf({ client }: Cli, log: string, size: number): AsyncGenerator<Uint8Array> {
  for (let from: number | null = 0; from !== null && from < size;) {
    const page: Awaited<ReturnType<typeof client.entries>> = await client.entries({
      params: { log },
      query: { from, limit: Math.min(1_000, size - from) },
    });
    for (const { leaf } of page.entries) yield Buffer.from(leaf, "utf8");
    from = page.entries.length === 0 ? null : page.next;
  }
}

async function teams({ client }: Cli): Promise<readonly string[]> {
  const { agents } = await client.listAgents({});
  return [...new Set(agents.map((agent) => agent.team))];
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

function print(terminal: Terminal, what: string, report: Report): void {
  terminal.say(`${what}: ${painted(report.verdict, terminal)}`);
  for (const check of report.checks) {
    terminal.say(
      `  ${painted(check.status, terminal)} ${check.name}${check.detail === "" ? "" : `: ${safe(check.detail)}`}`,
    );
    for (const problem of check.problems ?? []) terminal.say(`    ${safe(problem)}`);
  }
}

function painted(status: string, { colors }: Terminal): string {
  if (status === "passed" || status === "verified") return colors.green(status);
  if (status === "erased") return colors.yellow("ERASED");
  return status === "failed" || status === "refuted" ? colors.red(status) : colors.yellow(status);
}

/** Evidence that is refuted or incomplete is not evidence: both end in 1, and the verdict says which. */
function conclude(terminal: Terminal, reports: readonly Report[], document: object): void {
  const has = (verdict: Report["verdict"]) => reports.some((report) => report.verdict === verdict);
  const verdict = has("refuted") ? "refuted" : has("incomplete") ? "incomplete" : "verified";
  terminal.result({ verdict, ...document });
  if (verdict !== "verified") process.exitCode = 1;
}
