import type { Command } from "commander";

import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../cli-error.ts";
import { refusedAtItsPlace, setLine, wholeDigest } from "../policy-sets.ts";
import { localTime, safe, shortDigest } from "../terminal.ts";
import { positive } from "./run.ts";

type ActivateFlags = { readonly team: string; readonly digest?: string };

export function addPolicyActivationCommands(policy: Command): void {
  policy
    .command("activate [dir]")
    .description("put a pack, or a set that was in force before, in force for a team from the next decision on")
    .requiredOption("--team <team>")
    .option("--digest <digest>", "instead of a pack: a set of `policy history`, at least 8 digits of it")
    .action((dir: string | undefined, flags: ActivateFlags, command: Command) => activate(cliOf(command), dir, flags));
  policy
    .command("history <team>")
    .description("what was put in force for a team, by whom and when, and what waits for approval")
    .action((team: string, _flags, command: Command) => history(cliOf(command), team));
  policy
    .command("guard <team>")
    .description(
      "have activations of a team's policies approved by people first; only an admin changes a guard that is set",
    )
    .option("--group <group>", "whose members approve")
    .option("--quorum <n>", "how many of them", positive, 1)
    .option("--off", "nobody's approval is needed any more")
    .action((team: string, flags: GuardFlags, command: Command) => guard(cliOf(command), team, flags));
  policy
    .command("approve-activation <id>")
    .description("approve an activation that waits, as a member of the group that guards the team's policies")
    .requiredOption("--team <team>")
    .action((id: string, flags: { team: string }, command: Command) => approve(cliOf(command), id, flags.team));
}

async function activate(cli: Cli, dir: string | undefined, flags: ActivateFlags): Promise<void> {
  const { client, terminal } = cli;
  const { team, digest } = flags;
  if ((dir === undefined) === (digest === undefined))
    throw new CliError("usage", "which policies? Give a pack's directory or --digest");
  const pack = dir === undefined ? undefined : await packIn(dir);
  const body =
    pack === undefined ? { digest: await wholeDigest(client, digest ?? "", team) } : { document: pack.document };
  const activated = await client.activatePolicies({ params: { team }, body }).catch(async (error: unknown) => {
    throw await refusedAtItsPlace(cli, error, pack, team);
  });
  for (const warning of activated.warnings) terminal.say(`${terminal.colors.yellow("warning")}: ${safe(warning)}`);
  const what = setLine(activated.policySet, activated.policies);
  if (activated.pending !== null) {
    const { id, quorum, approvers } = activated.pending;
    terminal.say(`${what} wait for ${quorum} of group ${approvers}, and are not in force for team ${team} yet`);
    terminal.say(`  a member approves with: countersign policy approve-activation ${id} --team ${team}`);
    terminal.say(`  what it changes: ${diffCommand(team, activated.policySet)}`);
  } else {
    terminal.say(
      activated.changed ? `${what} are in force for team ${team}` : `${what} were in force for team ${team} already`,
    );
  }
  await warnOfNobody(cli, team);
  terminal.result(activated);
}

/** A misspelt team is a team as any other, without agents. */
async function warnOfNobody({ client, terminal }: Cli, team: string): Promise<void> {
  const { agents } = await client.listAgents({});
  if (agents.some((agent) => agent.team === team)) return;
  terminal.note(`warning: team ${team} has no agents yet; is the name misspelt? See countersign agent list`);
}

async function packIn(dir: string) {
  const { loadPolicyDirectory } = await import("../../policy/index.ts");
  return loadPolicyDirectory(dir);
}

async function history({ client, terminal }: Cli, team: string): Promise<void> {
  const found = await client.policyHistory({ params: { team } });
  if (found.activations.length === 0)
    terminal.say(`nothing was ever put in force for team ${team}; teams with agents: countersign agent list`);
  else {
    terminal.table(
      ["when", "policy set", "policies", "by", "approved as"],
      found.activations.map(({ at, policySet, policies, by, proposal }) => [
        localTime(at),
        shortDigest(policySet),
        String(policies),
        by,
        proposal === null ? "" : String(proposal),
      ]),
    );
  }
  for (const { id, policySet, by, quorum, approvers, approvedBy } of found.proposals) {
    terminal.say(
      `waits: ${id}, ${shortDigest(policySet)} proposed by ${by}; ${approvedBy.length} of ${quorum} of group ${approvers} have approved`,
    );
    terminal.say(`  what it changes: ${diffCommand(team, policySet)}`);
  }
  terminal.result(found);
}

/** What somebody who approves has to have seen. */
function diffCommand(team: string, policySet: string): string {
  return `countersign policy diff ${team} ${shortDigest(policySet)} --team ${team}`;
}

type GuardFlags = { readonly group?: string; readonly quorum: number; readonly off?: true };

async function guard(cli: Cli, team: string, { group, quorum, off }: GuardFlags): Promise<void> {
  const { client, terminal } = cli;
  if ((group === undefined) === (off === undefined)) throw new CliError("usage", "give --group GROUP, or --off");
  const body = group === undefined ? {} : { guard: { approvers: group, quorum } };
  const answer = await client.guardPolicies({ params: { team }, body });
  terminal.say(
    answer.guard === null
      ? `activations of team ${team} need nobody's approval`
      : `activations of team ${team} need ${answer.guard.quorum} of group ${answer.guard.approvers}`,
  );
  if (answer.guard !== null) await warnOfNobody(cli, team);
  const { members, voided } = answer;
  if (answer.guard !== null && members !== null && members < answer.guard.quorum)
    terminal.note(
      `warning: ${members === 1 ? "one person is" : `${members} people are`} in group ${answer.guard.approvers}: nothing can be activated until ${answer.guard.quorum} are`,
    );
  for (const id of voided)
    terminal.note(`activation ${id} waited under the guard of before, and is dropped: activate its policies again`);
  terminal.result(answer);
}

async function approve({ client, terminal }: Cli, id: string, team: string): Promise<void> {
  if (!/^\d{1,15}$/.test(id)) throw new CliError("usage", `\`${id}\` is not the number of a proposed activation`);
  const answer = await client.approveActivation({ params: { team, proposal: id } });
  const { state, policySet, approvedBy, quorum } = answer.proposal;
  terminal.say(
    state === "in_force"
      ? `${shortDigest(policySet)} is in force for team ${team}`
      : `approved; ${quorum - approvedBy.length} more are needed`,
  );
  terminal.result(answer);
}
