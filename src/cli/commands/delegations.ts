import type { Command } from "commander";

import type { ResponseOf } from "../../api/index.ts";
import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { localTime, safe } from "../terminal.ts";
import { timeOf } from "../times.ts";
import { positive } from "./run.ts";

type DelegateFlags = {
  readonly from?: string;
  readonly until: string;
  readonly team?: string;
  readonly tool?: string;
  readonly maxAmount?: number;
  readonly reason: string;
};
type ListFlags = { readonly of?: string; readonly all?: true; readonly limit: number; readonly cursor?: string };
type Delegation = ResponseOf<"listDelegations">["delegations"][number];

/** Who decides while somebody is away: below `approvals`. */
export function addDelegationCommands(approvals: Command): void {
  approvals
    .command("delegate <person>")
    .description(
      "let somebody decide where you may, for a time: under their own name, with your groups, never for others again",
    )
    .requiredOption(
      "--until <time>",
      "until just before then: 2026-03-31, 2026-03-31T18:00, or 90m, 8h, 14d from its beginning",
    )
    .option("--from <time>", "from then on, as when you will be out of office; default: now")
    .option("--team <team>", "only for this team's agents")
    .option("--tool <tool>", "only for this tool")
    .option("--max-amount <n>", "only where the policy names an amount (@amount), and up to this", positive)
    .option("--reason <text>", "why, for those who find it", "away")
    .action((person: string, flags: DelegateFlags, command: Command) => delegate(cliOf(command), person, flags));
  approvals
    .command("delegations")
    .description("who decides for whom, now and later")
    .option("--of <person>", "from or to them")
    .option("--all", "those that have ended too")
    .option("--limit <n>", "how many", positive, 20)
    .option("--cursor <cursor>", "`next` of the page before")
    .action((flags: ListFlags, command: Command) => list(cliOf(command), flags));
  approvals
    .command("undelegate <delegation>")
    .description("end a delegation for decisions to come; what was decided by it stays")
    .action((id: string, _flags, command: Command) => undelegate(cliOf(command), id));
}

async function delegate({ reviewer, terminal }: Cli, person: string, flags: DelegateFlags): Promise<void> {
  const { from, until, ...limits } = flags;
  const begins = from === undefined ? undefined : timeOf(from, "--from", new Date());
  const ends = timeOf(until, "--until", begins ?? new Date());
  const body = {
    delegate: person,
    until: ends.toISOString(),
    ...(begins === undefined ? {} : { from: begins.toISOString() }),
    ...limits,
  };
  const answer = await reviewer.delegate({ body });
  terminal.say(lineOf(answer.delegation));
  terminal.say(`end it: countersign approvals undelegate ${answer.delegation.id}`);
  terminal.result(answer);
}

async function list({ reviewer, terminal }: Cli, { of, all, limit, cursor }: ListFlags): Promise<void> {
  const page = await reviewer.listDelegations({
    query: {
      limit,
      ...(of === undefined ? {} : { principal: of }),
      ...(all === undefined ? {} : { all: "true" }),
      ...(cursor === undefined ? {} : { cursor }),
    },
  });
  if (page.delegations.length === 0) terminal.say("nobody decides for anybody else");
  for (const one of page.delegations) terminal.say(`${one.id}  ${one.state}: ${lineOf(one)}`);
  if (page.next !== null) terminal.say(`more: countersign approvals delegations --cursor ${page.next}`);
  terminal.result(page);
}

async function undelegate({ reviewer, terminal }: Cli, id: string): Promise<void> {
  const answer = await reviewer.undelegate({ params: { delegation: id } });
  terminal.say(answer.changed ? `ended: ${lineOf(answer.delegation)}` : "it was ended before");
  terminal.result(answer);
}

function lineOf({ delegator, delegate: to, team, tool, maxAmount, from, until, reason }: Delegation): string {
  const limits = [
    ...(tool === null ? [] : [`tool ${tool}`]),
    ...(team === null ? [] : [`team ${team}`]),
    ...(maxAmount === null ? [] : [`amounts up to ${maxAmount}`]),
  ];
  const only = limits.length === 0 ? "" : `, only ${limits.join(", ")}`;
  return `${to} decides for ${delegator} from ${localTime(from)} until ${localTime(until)}${only} (${safe(reason)})`;
}
