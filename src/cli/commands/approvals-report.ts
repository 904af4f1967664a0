import type { Command } from "commander";

import type { ResponseOf } from "../../api/index.ts";
import { isBudgetPolicy } from "../../core/budget.ts";
import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { brief, localTime, safe } from "../terminal.ts";
import { sinceOf } from "../times.ts";
import { positive } from "./run.ts";

type Flags = {
  readonly team: string;
  readonly since?: string;
  readonly samples: number;
  readonly limit: number;
  readonly cursor?: string;
};
type Report = ResponseOf<"reportApprovals">;

export function addReportCommand(approvals: Command): void {
  approvals
    .command("report")
    .description(
      "what asking people costs: how often, how long, what is always approved, and how it could be asked less",
    )
    .requiredOption("--team <team>")
    .option("--since <time>", "requests opened since then: 30d, 12h, or 2026-11-01; default: 30d")
    .option("--samples <n>", "approvals before a narrower policy is proposed, at least 5", positive, 20)
    .option("--limit <n>", "how many policies", positive, 50)
    .option("--cursor <cursor>", "`next` of the page before")
    .action((flags: Flags, command: Command) => report(cliOf(command), flags));
}

async function report({ reviewer, terminal }: Cli, { since, ...rest }: Flags): Promise<void> {
  const query = { ...rest, ...(since === undefined ? {} : { since: sinceOf(since, new Date()) }) };
  const found = await reviewer.reportApprovals({ query });
  terminal.say(`team ${found.team}, requests since ${localTime(found.since)}`);
  if (found.policies.length === 0) terminal.say("nobody was asked anything");
  else sayPolicies(terminal, found.policies);
  if (found.next !== null)
    terminal.say(`more: countersign approvals report --team ${found.team} --cursor ${found.next}`);
  if (found.reviewers.length > 0) sayReviewers(terminal, found.reviewers);
  for (const one of found.candidates) sayCandidate(terminal, found.team, one);
  terminal.result(found);
}

function sayPolicies(terminal: Cli["terminal"], policies: Report["policies"]): void {
  terminal.table(
    ["policy", "asked", "approved", "denied", "expired", "open", "median", "9 in 10", "under 3 s"],
    policies.map((one) => [
      safe(one.policy),
      String(one.asked),
      share(one.approved, one.approved + one.denied),
      String(one.denied),
      share(one.expired, one.asked),
      String(one.pending),
      duration(one.medianMs),
      duration(one.p90Ms),
      share(one.quick, one.decisions),
    ]),
  );
}

function sayReviewers(terminal: Cli["terminal"], reviewers: Report["reviewers"]): void {
  terminal.say("");
  terminal.table(
    ["reviewer", "decisions", "approved", "median", "under 3 s"],
    reviewers.map(({ reviewer, decisions, approved, medianMs, quick }) => [
      safe(reviewer),
      String(decisions),
      share(approved, decisions),
      duration(medianMs),
      share(quick, decisions),
    ]),
  );
}

function sayCandidate(
  { say }: Cli["terminal"],
  team: string,
  { policy, tool, approved, narrowing }: Report["candidates"][number],
): void {
  say(`\n${safe(policy)} asked about ${safe(tool)} and was approved every time, ${approved} times`);
  if (narrowing.status === "none") say(`  no narrower policy is proposed: ${brief(narrowing.reason, 200)}`);
  else {
    say(
      "  proposed, in force nowhere; put it into the team's pack, then `policy check`, `policy diff` and `policy backtest`:",
    );
    for (const line of safe(narrowing.text).split("\n")) say(`    ${line}`);
    if (narrowing.open.length > 0) say(`  it leaves these to be anything: ${narrowing.open.map(safe).join(", ")}`);
  }
  // More room in a budget is given each time.
  if (!isBudgetPolicy(policy))
    say(
      `  or let two people grant such calls ahead, for a time: countersign approvals grant propose --team ${safe(team)} --tool ${safe(tool)} --policy ${safe(policy)} --agent …`,
    );
}

/** `12 (60 %)`. */
function share(part: number, whole: number): string {
  return whole === 0 ? String(part) : `${part} (${Math.round((part / whole) * 100)} %)`;
}

function duration(ms: number | null): string {
  if (ms === null) return "";
  const seconds = ms / 1_000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  if (seconds < 3_600) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${(seconds / 3_600).toFixed(1)} h` : `${(seconds / 86_400).toFixed(1)} d`;
}
