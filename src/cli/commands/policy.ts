import { InvalidArgumentError } from "commander";
import type { Command } from "commander";

import type { PolicyDirectory, PolicyProblem, PolicyWarning } from "../../policy/index.ts";
import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../cli-error.ts";
import { agentsOf } from "../policy-sets.ts";
import { counted, safe } from "../terminal.ts";
import { addPolicyActivationCommands } from "./policy-activate.ts";
import { addPolicyBacktestCommands } from "./policy-backtest.ts";
import { addPolicyDiffCommand } from "./policy-diff.ts";
import { addPolicyExplainCommand } from "./policy-explain.ts";
import { addPolicyShadowCommands } from "./policy-shadow.ts";

export function addPolicyCommands(program: Command): void {
  const policy = program.command("policy").description("what agents may do, in Cedar");
  policy
    .command("check <dir>")
    .description(
      "find what is wrong with a pack, and what looks wrong; its tools are those of its cases.yaml, or of a team",
    )
    .option("--team <team>", "check against the tools of the team's agents")
    .option("--strict", "end in 1 on warnings too")
    .option(
      "--symcc",
      "prove that no policy fails while it is evaluated, with `cedar symcc` and cvc5 where they are installed",
    )
    .action((dir: string, flags: CheckFlags, command: Command) => check(cliOf(command), dir, flags));
  policy
    .command("test <dir>")
    .description("decide the cases of a pack's cases.yaml, and say which policies no case reaches")
    .option("--min-coverage <percent>", "end in 1 where cases reach fewer of the policies", percent)
    .action((dir: string, flags: { minCoverage?: number }, command: Command) =>
      test(cliOf(command), dir, flags.minCoverage),
    );
  addPolicyExplainCommand(policy);
  addPolicyDiffCommand(policy);
  addPolicyBacktestCommands(policy);
  addPolicyShadowCommands(policy);
  addPolicyActivationCommands(policy);
  policy
    .command("show <team>")
    .description("the policies in force for a team")
    .action((team: string, _flags, command: Command) => show(cliOf(command), team));
}

function percent(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && value >= 0 && value <= 100) return value;
  throw new InvalidArgumentError("expected a percentage from 0 to 100");
}

type CheckFlags = { readonly team?: string; readonly strict?: true; readonly symcc?: true };

async function check(cli: Cli, dir: string, flags: CheckFlags): Promise<void> {
  const { checkPolicySet, inReadingOrder, lintPolicies } = await import("../../policy/index.ts");
  const pack = await readPack(dir);
  if ("problems" in pack) return sayUnreadable(cli, pack.problems);
  const { document, sources, tools: ofCases, unread } = pack;
  const team = flags.team === undefined ? undefined : await agentsOf(cli, flags.team);
  const tools = team?.tools ?? ofCases;
  const found = checkPolicySet(document, tools, sources);
  const errors = found.filter((problem) => problem.severity === "error");
  // What looks wrong is no news where something is.
  const problems = inReadingOrder(
    errors.length > 0 ? found : [...found, ...unread, ...lintPolicies(document, tools, sources, team)],
  );
  for (const problem of problems) await sayProblem(cli, problem);
  cli.terminal.say(
    [
      counted(document.policies.length, "policy", "policies"),
      counted(errors.length, "error"),
      counted(problems.length - errors.length, "warning"),
    ].join(", "),
  );
  if (tools.length === 0)
    cli.terminal.say(
      `  ${cli.terminal.colors.dim("no tools are known, so none can be named: give --team, or describe them in cases.yaml")}`,
    );
  const { neverErrors } = await import("../policy-proofs.ts");
  const proofs = flags.symcc === true && errors.length === 0 ? await neverErrors(cli, document, tools) : undefined;
  cli.terminal.result({
    policies: document.policies.length,
    problems,
    ...(proofs === undefined ? {} : { symcc: proofs }),
  });
  const refuted = proofs?.proofs.some(({ result }) => result.status === "refuted") ?? false;
  const isStrict = flags.strict === true && problems.length > 0;
  if (errors.length > 0 || refuted || isStrict) process.exitCode = 1;
}

/** What keeps policies from being read at all, whole: an error shows one of them. */
async function readPack(dir: string): Promise<PolicyDirectory | { readonly problems: readonly PolicyProblem[] }> {
  const { loadPolicyDirectory, PolicyError } = await import("../../policy/index.ts");
  try {
    return await loadPolicyDirectory(dir);
  } catch (error) {
    if (error instanceof PolicyError && error.problems.length > 0) return { problems: error.problems };
    throw error;
  }
}

async function sayUnreadable(cli: Cli, problems: readonly PolicyProblem[]): Promise<void> {
  for (const problem of problems) await sayProblem(cli, problem);
  cli.terminal.say(`the pack cannot be read: ${counted(problems.length, "error")}`);
  cli.terminal.result({ policies: null, problems });
  process.exitCode = 1;
}

async function sayProblem({ terminal }: Cli, problem: PolicyProblem | PolicyWarning): Promise<void> {
  const { formatProblem } = await import("../../policy/index.ts");
  const paint = problem.severity === "error" ? terminal.colors.red : terminal.colors.yellow;
  terminal.say(`${paint(problem.severity)}: ${safe(formatProblem(problem))}`);
  if ("hint" in problem) terminal.say(`  ${terminal.colors.dim(safe(problem.hint))}`);
}

async function test(cli: Cli, dir: string, minCoverage: number | undefined): Promise<void> {
  const { terminal } = cli;
  const { runCases } = await import("../../policy/index.ts");
  const pack = await readPack(dir);
  if ("problems" in pack) return sayUnreadable(cli, pack.problems);
  const { document, tools, cases } = pack;
  if (cases.length === 0) {
    throw new CliError("usage", `there are no cases in \`${dir}/cases.yaml\`, so nothing was tested`, {
      hint: "policies/README.md says how to write them",
    });
  }
  const { results, uncovered } = runCases(document, tools, cases);
  const failed = results.filter((result) => !result.passed);
  for (const result of failed) {
    terminal.say(`${terminal.colors.red("failed")}: cases.yaml:${result.line}: ${safe(result.name)}`);
    for (const difference of result.differences) terminal.say(`  ${safe(difference)}`);
  }
  for (const { name, line, warnings } of results)
    for (const warning of warnings)
      terminal.say(`${terminal.colors.yellow("warning")}: cases.yaml:${line}: ${safe(name)}: ${safe(warning)}`);
  for (const id of uncovered) terminal.say(`${terminal.colors.yellow("warning")}: no case is decided by ${id}`);
  const policies = document.policies.length;
  // Rounded down: 100 % is every policy.
  const coverage = policies === 0 ? 100 : Math.floor(((policies - uncovered.length) / policies) * 1_000) / 10;
  const isShort = minCoverage !== undefined && coverage < minCoverage;
  const wanted = isShort ? terminal.colors.red(`, expected at least ${minCoverage} %`) : "";
  terminal.say(`${results.length - failed.length} passed, ${failed.length} failed`);
  terminal.say(
    `${coverage} % of ${counted(policies, "policy", "policies")} ${policies === 1 ? "is" : "are"} reached by a case${wanted}`,
  );
  terminal.result({
    passed: results.length - failed.length,
    failed: failed.length,
    coverage: { percent: coverage, policies, reached: policies - uncovered.length },
    uncovered,
    results,
  });
  if (failed.length > 0 || isShort) process.exitCode = 1;
}

async function show({ client, terminal }: Cli, team: string): Promise<void> {
  const active = await client.showPolicies({ params: { team } });
  terminal.say(`policy set ${active.policySet} of team ${team}, by ${active.by ?? "?"}`);
  if (active.guard !== null) {
    terminal.say(`guarded: an activation needs ${active.guard.quorum} of group ${active.guard.approvers}`);
  }
  for (const fact of active.document.history ?? []) terminal.say(`counts ${safe(fact.name)} per ${fact.per}`);
  for (const { text } of active.document.policies) terminal.say(`\n${safe(text)}`);
  terminal.result(active);
}
