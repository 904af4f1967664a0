import type { Command } from "commander";

import { lineDiff } from "../../core/line-diff.ts";
import type { CaseChange, PolicySetDiff, PolicyTool } from "../../policy/index.ts";
import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../cli-error.ts";
import { distinctTools, policySetNamed, toolsOf } from "../policy-sets.ts";
import type { NamedSet } from "../policy-sets.ts";
import { counted, safe } from "../terminal.ts";
import { sinceOf } from "../times.ts";
import { backtest, sayReport } from "./policy-backtest.ts";

type Flags = { readonly team?: string; readonly since?: string; readonly symcc?: true };

export function addPolicyDiffCommand(policy: Command): void {
  policy
    .command("diff <set> <other>")
    .description(
      "which policies differ between two sets, and which decisions: on the packs' cases, and on a team's recorded runs. A set is a pack's directory, a digest, or a team's name",
    )
    .option("--team <team>", "decide the recorded runs of this team under both sets")
    .option("--since <time>", "only decisions since then: 30d, 12h, or 2026-11-01")
    .option("--symcc", "prove whether the other set only narrows, with `cedar symcc` and cvc5 where they are installed")
    .action((set: string, other: string, flags: Flags, command: Command) => diff(cliOf(command), set, other, flags));
}

async function diff(cli: Cli, set: string, other: string, flags: Flags): Promise<void> {
  const { diffPolicySets } = await import("../../policy/index.ts");
  const { terminal } = cli;
  const begins = flags.since === undefined ? {} : { since: sinceOf(flags.since, new Date()) };
  const before = await policySetNamed(cli, set, flags.team);
  const after = await policySetNamed(cli, other, flags.team);
  const team = flags.team ?? before.team ?? after.team;
  if (team === undefined && flags.since !== undefined)
    throw new CliError("usage", "--since needs --team: whose recorded runs?");
  const policies = diffPolicySets(before.document, after.document);
  sayPolicies(cli, policies, before, after);
  const cases = await changedCases(before, after);
  sayCases(cli, cases);
  const decisions =
    team === undefined
      ? undefined
      : await backtest(cli, {
          team,
          document: after.document,
          against: before.document,
          ...begins,
        });
  if (decisions === undefined) terminal.say("recorded runs: not asked about; give --team");
  else sayReport(terminal, decisions, begins.since);
  const proofs = flags.symcc === true ? await prove(cli, before, after, team) : undefined;
  terminal.result({
    policies,
    cases,
    decisions: decisions ?? null,
    ...(proofs === undefined ? {} : { symcc: proofs }),
  });
}

function sayPolicies({ terminal }: Cli, diffs: PolicySetDiff, before: NamedSet, after: NamedSet): void {
  const { colors, say } = terminal;
  const { added, removed, changed, reformatted, unchanged, history } = diffs;
  say(`${before.label} → ${after.label}`);
  const lines = (text: string, sign: string) => text.split("\n").map((line) => `${sign} ${safe(line)}`);
  for (const { text } of removed) say(`${colors.red(lines(text, "-").join("\n"))}\n`);
  for (const { text } of added) say(`${colors.green(lines(text, "+").join("\n"))}\n`);
  for (const { id, before: old, after: now } of changed) {
    say(safe(id));
    for (const { mark, line } of lineDiff(old.split("\n"), now.split("\n"))) {
      const paint = mark === "-" ? colors.red : mark === "+" ? colors.green : String;
      say(paint(`${mark} ${safe(line)}`));
    }
    say();
  }
  const other = reformatted.length === 0 ? "" : `, ${reformatted.length} only written otherwise`;
  say(
    `${counted(added.length, "policy", "policies")} added, ${removed.length} removed, ${changed.length} changed, ${unchanged} unchanged${other}`,
  );
  if (history.length > 0) say(`counted otherwise: ${history.map(safe).join(", ")}`);
}

/** Each pack's cases with its own tools; of cases with one name, those of the other set count. */
async function changedCases(before: NamedSet, after: NamedSet): Promise<readonly CaseChange[] | null> {
  const { diffCases } = await import("../../policy/index.ts");
  const { pack: old } = before;
  const { pack: fresh } = after;
  if (old === undefined && fresh === undefined) return null;
  const again = new Set(fresh?.cases.map(({ name }) => name));
  const left = old?.cases.filter(({ name }) => !again.has(name)) ?? [];
  return [
    ...diffCases(before.document, after.document, old?.tools ?? [], left),
    ...diffCases(before.document, after.document, fresh?.tools ?? [], fresh?.cases ?? []),
  ];
}

function sayCases({ terminal }: Cli, cases: readonly CaseChange[] | null): void {
  if (cases === null) {
    terminal.say("cases: neither set is a pack's directory, so there are none");
    return;
  }
  for (const { name, kind, from, to, cause } of cases) {
    const why = cause === "" ? "nothing permitted it before" : safe(cause);
    terminal.say(`  ${kind.replace("_", " ")}: ${safe(name)}: ${from.outcome} → ${to.outcome} (${why})`);
  }
  terminal.say(`${counted(cases.length, "case")} ${cases.length === 1 ? "is" : "are"} decided otherwise`);
}

async function prove(cli: Cli, before: NamedSet, after: NamedSet, team: string | undefined) {
  const { change } = await import("../policy-proofs.ts");
  const ofPacks = [before.pack, after.pack].flatMap((pack) => pack?.tools ?? []);
  const tools: readonly PolicyTool[] = team === undefined ? ofPacks : await toolsOf(cli, team);
  return change(cli, before.document, after.document, distinctTools(tools));
}
