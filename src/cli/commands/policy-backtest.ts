import type { Command } from "commander";

import { ApiError } from "../../api/index.ts";
import type { BacktestReportView } from "../../api/index.ts";
import type { PolicySetDocument } from "../../policy/index.ts";
import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { policySetNamed } from "../policy-sets.ts";
import { counted, safe } from "../terminal.ts";
import type { Terminal } from "../terminal.ts";
import { sinceOf } from "../times.ts";

type Flags = { readonly team: string; readonly since?: string; readonly failOnChange?: true };

export function addPolicyBacktestCommands(policy: Command): void {
  policy
    .command("backtest <set>")
    .description(
      "decide every recorded decision of a team's runs again under another set: a pack's directory, or a digest",
    )
    .requiredOption("--team <team>")
    .option("--since <time>", "only decisions since then: 30d, 12h, or 2026-11-01")
    .option("--fail-on-change", "end in 1 where any call would be decided otherwise, or cannot be decided again")
    .action((set: string, flags: Flags, command: Command) => run(cliOf(command), set, flags));
}

async function run(cli: Cli, set: string, { team, since, failOnChange }: Flags): Promise<void> {
  const begins = since === undefined ? {} : { since: sinceOf(since, new Date()) };
  const { document } = await policySetNamed(cli, set, team);
  const report = await backtest(cli, { team, document, ...begins });
  sayReport(cli.terminal, report, begins.since);
  if (report.decisions === 0)
    cli.terminal.note(`warning: team ${team} has no recorded decisions there: nothing was compared`);
  cli.terminal.result(report);
  const changes = report.decisions - report.counts.unchanged - report.byTheGate;
  if (failOnChange === true && changes > 0) process.exitCode = 1;
}

export type BacktestQuestion = {
  readonly team: string;
  readonly document: PolicySetDocument;
  readonly against?: PolicySetDocument;
  readonly since?: string;
};

/** Asks the server, with progress on stderr. Ctrl-C stops the server's work too. */
export async function backtest(cli: Cli, { team, ...body }: BacktestQuestion): Promise<BacktestReportView> {
  const { interrupted, terminal } = cli;
  let tenth = 0;
  for await (const event of cli.client.backtest({ params: { team }, body }, interrupted)) {
    if (event.type === "report") return event.report;
    const now = event.total === 0 ? 0 : Math.floor((event.done / event.total) * 10);
    if (now > tenth) terminal.note(`${event.done} of ${event.total} decisions`);
    tenth = now;
  }
  throw new ApiError("stream_broken", "the backtest was stopped before it was done");
}

const told = [
  ["newly_denied", "newly denied"],
  ["newly_gated", "newly held back for people"],
  ["newly_allowed", "newly allowed"],
  ["altered", "allowed, but changed otherwise"],
] as const;

export function sayReport(terminal: Terminal, report: BacktestReportView, since?: string): void {
  const { colors, say } = terminal;
  const seconds = (report.milliseconds / 1_000).toFixed(1);
  // A time without a zone is this machine's: what was understood is said.
  const from = since === undefined ? "" : ` since ${since}`;
  say(`${counted(report.decisions, "decision")} of ${counted(report.runs, "run")}${from}, in ${seconds} s`);
  const rows = [
    ...told.map(([kind, text]) => [text, String(report.counts[kind])]),
    ["unchanged", String(report.counts.unchanged)],
    ["denied by the gate itself", String(report.byTheGate)],
    ["not decided again", String(report.lost)],
  ];
  terminal.table(["", "decisions"], rows);
  for (const [reason, count] of Object.entries(report.lostBecause))
    say(`  ${count} not decided again: ${safe(reason)}`);
  for (const [kind, text] of told) {
    if (report.counts[kind] === 0) continue;
    const causes = report.causes.filter((cause) => cause.kind === kind);
    say(
      `${colors.bold(text)}: ${causes.map(({ policy, count }) => `${policy === "" ? "nothing permitted it before" : safe(policy)} ${count}`).join(", ")}`,
    );
    for (const { run, seq, name, from, to } of report.examples.filter((example) => example.kind === kind)) {
      say(`  ${run} ${seq} ${safe(name)}: ${verdict(from)} → ${verdict(to)}`);
    }
  }
}

function verdict({ outcome, policies }: BacktestReportView["examples"][number]["from"]): string {
  const word = outcome === "require_approval" ? "needs approval" : outcome;
  return policies.length === 0 ? word : `${word} (${policies.map(safe).join(", ")})`;
}
