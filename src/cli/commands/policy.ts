import type { Command } from "commander";

import type { ToolDefinition } from "../../core/release.ts";
import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../cli-error.ts";
import { safe, shortDigest } from "../terminal.ts";

export function addPolicyCommands(program: Command): void {
  const policy = program.command("policy").description("what agents may do, in Cedar");
  policy
    .command("check <dir>")
    .description("find what is wrong with a pack; its tools are those of its cases.yaml, or of a team")
    .option("--team <team>", "check against the tools of the team's agents")
    .action((dir: string, flags: { team?: string }, command: Command) => check(cliOf(command), dir, flags.team));
  policy
    .command("test <dir>")
    .description("decide the cases of a pack's cases.yaml")
    .action((dir: string, _flags, command: Command) => test(cliOf(command), dir));
  policy
    .command("activate <dir>")
    .description("put a pack in force for a team, from the next decision on")
    .requiredOption("--team <team>")
    .action((dir: string, flags: { team: string }, command: Command) => activate(cliOf(command), dir, flags.team));
  policy
    .command("show <team>")
    .description("the policies in force for a team")
    .action((team: string, _flags, command: Command) => show(cliOf(command), team));
}

async function check(cli: Cli, dir: string, team: string | undefined): Promise<void> {
  const { checkPolicySet, formatProblem, loadPolicyDirectory } = await import("../../policy/index.ts");
  const { document, sources, tools } = await loadPolicyDirectory(dir);
  const problems = checkPolicySet(document, team === undefined ? tools : await toolsOf(cli, team), sources);
  const errors = problems.filter((problem) => problem.severity === "error");
  for (const problem of problems) cli.terminal.say(`${problem.severity}: ${safe(formatProblem(problem))}`);
  cli.terminal.say(
    `${document.policies.length} policies, ${errors.length} errors, ${problems.length - errors.length} warnings`,
  );
  cli.terminal.result({ policies: document.policies.length, problems });
  if (errors.length > 0) process.exitCode = 1;
}

async function toolsOf({ client }: Cli, team: string): Promise<readonly ToolDefinition[]> {
  const { agents } = await client.listAgents({});
  const own = agents.filter((agent) => agent.team === team);
  if (own.length === 0)
    throw new CliError("usage", `team \`${team}\` has no agents`, { hint: "see `countersign agent list`" });
  const details = await Promise.all(own.map((agent) => client.showAgent({ params: agent })));
  const tools = details.flatMap((detail) => detail.production?.document.tools ?? []);
  return [...new Map(tools.map((tool) => [tool.name, tool])).values()];
}

async function test({ terminal }: Cli, dir: string): Promise<void> {
  const { loadPolicyDirectory, runCases } = await import("../../policy/index.ts");
  const { document, tools, cases } = await loadPolicyDirectory(dir);
  if (cases.length === 0) terminal.say(`no cases in ${dir}/cases.yaml; policies/README.md says how to write them`);
  const { results, uncovered } = runCases(document, tools, cases);
  const failed = results.filter((result) => !result.passed);
  for (const result of failed) {
    terminal.say(`${terminal.colors.red("failed")}: ${safe(result.name)}`);
    for (const difference of result.differences) terminal.say(`  ${safe(difference)}`);
  }
  for (const id of uncovered) terminal.say(`${terminal.colors.yellow("warning")}: no case is decided by ${id}`);
  terminal.say(`${results.length - failed.length} passed, ${failed.length} failed`);
  terminal.result({ passed: results.length - failed.length, failed: failed.length, uncovered, results });
  if (failed.length > 0) process.exitCode = 1;
}

async function activate({ client, terminal }: Cli, dir: string, team: string): Promise<void> {
  const { loadPolicyDirectory } = await import("../../policy/index.ts");
  const { document } = await loadPolicyDirectory(dir);
  const activated = await client.activatePolicies({ params: { team }, body: { document } });
  for (const warning of activated.warnings) terminal.say(`${terminal.colors.yellow("warning")}: ${safe(warning)}`);
  const what = `${activated.policies} policies (${shortDigest(activated.policySet)})`;
  terminal.say(
    activated.changed ? `${what} are in force for team ${team}` : `${what} were in force for team ${team} already`,
  );
  terminal.result(activated);
}

async function show({ client, terminal }: Cli, team: string): Promise<void> {
  const active = await client.showPolicies({ params: { team } });
  terminal.say(`policy set ${active.policySet} of team ${team}, by ${active.by ?? "?"}`);
  for (const { text } of active.document.policies) terminal.say(`\n${safe(text)}`);
  terminal.result(active);
}
