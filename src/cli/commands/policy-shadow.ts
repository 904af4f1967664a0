import type { Command } from "commander";

import type { ResponseOf } from "../../api/index.ts";
import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../cli-error.ts";
import { policySetNamed, refusedAtItsPlace } from "../policy-sets.ts";
import { counted, localTime, safe, shortDigest } from "../terminal.ts";

type Flags = { readonly team: string; readonly off?: true };

export function addPolicyShadowCommands(policy: Command): void {
  policy
    .command("shadow [set]")
    .description(
      "have a candidate decide beside the policies in force, without effect, and count where it differs. Without a set: show the counts. A set is a pack's directory or a digest. History facts and rates of the candidate's own are counted for it right after the decision",
    )
    .requiredOption("--team <team>")
    .option("--off", "no candidate is to decide any more")
    .action((set: string | undefined, flags: Flags, command: Command) => shadow(cliOf(command), set, flags));
}

async function shadow(cli: Cli, set: string | undefined, { team, off }: Flags): Promise<void> {
  const { client, terminal } = cli;
  if (set !== undefined && off === true) throw new CliError("usage", "give a set or --off, not both");
  if (off === true) {
    const answer = await client.shadowPolicies({ params: { team }, body: {} });
    terminal.say(`no candidate decides beside the policies of team ${team}`);
    terminal.result(answer);
    return;
  }
  if (set !== undefined && set !== "show") {
    const { document, pack } = await policySetNamed(cli, set, team);
    const answer = await client
      .shadowPolicies({ params: { team }, body: { document } })
      .catch(async (error: unknown) => {
        throw await refusedAtItsPlace(cli, error, pack, team);
      });
    terminal.say(
      `${shortDigest(answer.shadow?.policySet ?? "")} decides beside the policies of team ${team}, without effect`,
    );
    terminal.say(`  where it differs: countersign policy shadow --team ${team}`);
    terminal.result(answer);
    return;
  }
  const answer = await client.showShadow({ params: { team } });
  sayCounts(cli, answer);
  terminal.result(answer);
}

function sayCounts({ terminal }: Cli, { team, shadow: candidate, counts }: ResponseOf<"showShadow">): void {
  if (candidate === null) {
    terminal.say(`no candidate decides beside the policies of team ${team}`);
    return;
  }
  const sum = (those: typeof counts) => those.reduce((total, { count }) => total + count, 0);
  const [total, otherwise] = [sum(counts), sum(counts.filter(({ kind }) => kind !== "unchanged"))];
  terminal.say(
    `${shortDigest(candidate.policySet)}, set by ${candidate.by} at ${localTime(candidate.at)}: ${counted(total, "decision")}, ${otherwise} of them otherwise`,
  );
  if (total === 0) return;
  terminal.table(
    ["difference", "policy", "call", "decisions", "last"],
    counts.map(({ kind, policy, name, count, lastAt }) => [
      kind.replace("_", " "),
      safe(policy),
      safe(name),
      String(count),
      localTime(lastAt),
    ]),
  );
}
