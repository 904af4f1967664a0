import { Option } from "commander";
import type { Command } from "commander";

import type { ApprovalDetail } from "../../api/index.ts";
import { codeOf } from "../../core/errors.ts";
import type { ApprovalId } from "../../core/ids.ts";
import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../cli-error.ts";
import { brief, localTime, safe } from "../terminal.ts";
import { addDelegationCommands } from "./delegations.ts";
import { noticeLines } from "../notice-lines.ts";
import { addReportCommand } from "./approvals-report.ts";
import { positive } from "./run.ts";

const states = ["pending", "approved", "denied", "expired", "cancelled", "consumed", "outcome_unknown"] as const;
type State = (typeof states)[number];

type DecideFlags = { readonly key?: string; readonly reason: string; readonly yes?: true };
type ListFlags = {
  readonly team?: string;
  readonly state: State | "all";
  readonly limit: number;
  readonly cursor?: string;
};

export function addApprovalCommands(program: Command): void {
  const approvals = program.command("approvals").description("what policies hold back for people to decide");
  approvals
    .command("list")
    .description("approval requests, newest first")
    .option("--team <team>")
    .addOption(new Option("--state <state>").choices([...states, "all"]).default("pending"))
    .option("--limit <n>", "how many", positive, 20)
    .option("--cursor <cursor>", "`next` of the page before")
    .action((flags: ListFlags, command: Command) => list(cliOf(command), flags));
  approvals
    .command("show <approval>")
    .description("what would be done, and who must agree")
    .action((id: ApprovalId, _flags, command: Command) => show(cliOf(command), id));
  addReportCommand(approvals);
  for (const decision of ["approve", "deny"] as const) {
    approvals
      .command(`${decision} <approval>`)
      .description(decision === "approve" ? "agree, signed with your key" : "refuse, signed with your key")
      .option("--key <file>", "your Ed25519 key, PEM (COUNTERSIGN_KEY_FILE)")
      .option("--reason <text>", decision === "approve" ? "why" : "why; it is told to the agent", "")
      .option("--yes", "do not ask")
      .action((id: ApprovalId, flags: DecideFlags, command: Command) => decide(cliOf(command), id, decision, flags));
  }
  addDelegationCommands(approvals);
}

async function list({ reviewer, terminal }: Cli, flags: ListFlags): Promise<void> {
  const { state, ...rest } = flags;
  const page = await reviewer.listApprovals({ query: { ...rest, ...(state === "all" ? {} : { state }) } });
  if (page.approvals.length === 0) {
    terminal.say(
      state === "pending"
        ? "nothing waits for approval; decided ones: countersign approvals list --state all"
        : "no such requests",
    );
  } else {
    terminal.table(
      ["approval", "team", "action", "state", "needs", "expires", "asked for by"],
      page.approvals.map((approval) => [
        approval.id,
        approval.team,
        brief(approval.name, 40),
        approval.state,
        approval.requirements.map(neededText).join(", "),
        localTime(approval.expiresAt),
        approval.requestedBy,
      ]),
    );
    if (page.next !== null) terminal.say(`more: countersign approvals list --cursor ${page.next}`);
    terminal.say("read one: countersign approvals show ID");
  }
  terminal.result(page);
}

async function show({ reviewer, terminal }: Cli, id: ApprovalId): Promise<void> {
  const detail = await reviewer.showApproval({ params: { approval: id } });
  describe(terminal.say, detail);
  if (detail.state === "pending") {
    if (detail.requirements.some(({ signed }) => signed !== undefined))
      terminal.say(`approve with your passkey: ${detail.page}`);
    else terminal.say(`decide: countersign approvals approve ${id}`);
    terminal.say(`    or: countersign approvals deny ${id} --reason "…"`);
  }
  terminal.result(detail);
}

function describe(say: (line: string) => void, detail: ApprovalDetail): void {
  say(`${detail.id}  ${detail.state}, opened ${localTime(detail.openedAt)}, expires ${localTime(detail.expiresAt)}`);
  for (const line of safe(detail.rendered).trimEnd().split("\n")) say(`  ${line}`);
  for (const one of detail.requirements) say(`needs ${neededText(one)} (policy ${one.policy})`);
  for (const one of detail.decidedBy)
    say(`${one.decision === "approve" ? "approved" : "denied"} by ${one.reviewer} at ${localTime(one.at)}`);
  if (detail.state === "pending") describeRouting(say, detail);
  for (const { kind, at } of detail.events.filter((event) => event.kind === "reminded" || event.kind === "escalated"))
    say(`${kind} at ${localTime(at)}`);
  for (const line of noticeLines(detail.notices)) say(line);
}

function describeRouting(say: (line: string) => void, { routing, requirements }: ApprovalDetail): void {
  const { people, more, barred } = routing;
  for (const { policy, quorum, approvals, groups, later } of routing.requirements) {
    say(`policy ${policy}: ${approvals} of ${quorum} so far; members of ${groups.join(" or ")} decide`);
    if (later !== null) say(`  members of ${later.groups.join(" or ")} too, from ${localTime(later.from)}`);
  }
  if (requirements.some(({ distinct }) => distinct)) say("each person counts for one of these only");
  const shown = people.map(({ id, insteadOf }) => (insteadOf === null ? id : `${id} (for ${insteadOf})`));
  say(`may decide now: ${shown.length === 0 ? "nobody" : shown.join(", ")}${more ? ", and more" : ""}`);
  const never = [...new Set(barred.map(({ person }) => person))].map((person) => {
    const why = barred.filter((one) => one.person === person).map(({ because }) => because);
    return `${person} (${why.join(", ")})`;
  });
  if (never.length > 0) say(`may not: ${never.join(", ")}`);
}

function neededText({ quorum, group, orGroups = [], signed }: ApprovalDetail["requirements"][number]): string {
  return `${quorum} of ${[group, ...orGroups].join(" or ")}${signed === undefined ? "" : `, signed with a ${signed}`}`;
}

/** Whose group a requirement is of, the server knows; where all of them ask for a passkey, no key file can do. */
function assertKeyWillDo({ requirements, page, state }: ApprovalDetail): void {
  if (state === "pending" && requirements.every(({ signed }) => signed !== undefined)) throw passkeyNeeded(page);
}

function passkeyNeeded(page: string): CliError {
  const text = "the policy takes approvals signed with a passkey only, and this command signs with a key file";
  return new CliError("passkey_needed", text, { hint: `approve it in a browser: ${page}` });
}

async function decide(cli: Cli, id: ApprovalId, decision: "approve" | "deny", flags: DecideFlags): Promise<void> {
  const { reviewer, terminal } = cli;
  const { readPrivateKey, signDecision } = await import("../sign-decision.ts");
  const detail = await reviewer.showApproval({ params: { approval: id } });
  describe(terminal.json ? terminal.note : terminal.say, detail);
  if (decision === "approve") assertKeyWillDo(detail);
  const privateKey = readPrivateKey(flags.key ?? cli.connection.keyFile);
  if (flags.yes !== true && !(await terminal.confirm(decision === "approve" ? "Approve this?" : "Deny this?"))) {
    throw new CliError("not_confirmed", "nothing was decided", {
      hint: terminal.interactive ? "answer y to decide" : "read it above, then add --yes",
    });
  }
  const answer = await signDecision(reviewer, detail, decision, flags.reason, privateKey).catch((error: unknown) => {
    throw codeOf(error) === "passkey_needed" ? passkeyNeeded(detail.page) : error;
  });
  const word = decision === "approve" ? "approved" : "denied";
  terminal.say(answer.recorded ? `${word} as ${answer.reviewer}` : `you had ${word} it before`);
  if (answer.approval.state === "pending") terminal.say("more people must agree before it happens");
  else if (!answer.woken) terminal.say("the run could not be told yet; the server tells it within seconds");
  terminal.result(answer);
}
