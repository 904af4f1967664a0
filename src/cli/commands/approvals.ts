import { Option } from "commander";
import type { Command } from "commander";

import type { ApprovalDetail } from "../../api/index.ts";
import { codeOf } from "../../core/errors.ts";
import type { ApprovalId } from "../../core/ids.ts";
import { approvalStates } from "../../core/states.ts";
import type { ApprovalState } from "../../core/states.ts";
import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { describeWhole, wantedText } from "../approval-text.ts";
import { CliError } from "../cli-error.ts";
import { brief, localTime } from "../terminal.ts";
import { addAskCommands } from "./approvals-ask.ts";
import { decideMany, requestsLike } from "./approvals-batch.ts";
import { addEditCommand } from "./approvals-edit.ts";
import { addGrantCommands } from "./approvals-grant.ts";
import { addResolveCommand, listOpenOutcomes } from "./approvals-resolve.ts";
import { addDelegationCommands } from "./delegations.ts";
import { addReportCommand } from "./approvals-report.ts";
import { positive } from "./run.ts";

type DecideFlags = { readonly like?: ApprovalId; readonly key?: string; readonly reason: string; readonly yes?: true };
type ListFlags = {
  readonly team?: string;
  readonly state: ApprovalState | "all";
  readonly limit: number;
  readonly cursor?: string;
};

export function addApprovalCommands(program: Command): void {
  const approvals = program.command("approvals").description("what policies hold back for people to decide");
  approvals
    .command("list")
    .description("approval requests, newest first")
    .option("--team <team>")
    .addOption(new Option("--state <state>").choices([...approvalStates, "all"]).default("pending"))
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
      .command(`${decision} [approvals...]`)
      .description(`${decision === "approve" ? "agree" : "refuse"}, signed with your key; each of several on its own`)
      .option("--like <approval>", "it, and what waits for the same people by the same policies, for the same tool")
      .option("--key <file>", "your Ed25519 key, PEM (COUNTERSIGN_KEY_FILE)")
      .option("--reason <text>", decision === "approve" ? "why" : "why; it is told to the agent", "")
      .option("--yes", "do not ask")
      .action((ids: ApprovalId[], flags: DecideFlags, command: Command) =>
        decideAll(cliOf(command), ids, decision, flags),
      );
  }
  addEditCommand(approvals);
  addAskCommands(approvals);
  addResolveCommand(approvals);
  addDelegationCommands(approvals);
  addGrantCommands(approvals);
}

async function list(cli: Cli, flags: ListFlags): Promise<void> {
  const { reviewer, terminal } = cli;
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
      ["approval", "team", "action", "with", "state", "needs", "expires", "asked for by"],
      page.approvals.map((approval) => [
        approval.id,
        approval.team,
        brief(approval.name, 40),
        brief(approval.call ?? "", 60),
        approval.unanswered ? `${approval.state}, asked` : approval.state,
        wantedText(approval.requirements),
        localTime(approval.expiresAt),
        approval.requestedBy,
      ]),
    );
    if (page.next !== null) terminal.say(`more: countersign approvals list --cursor ${page.next}`);
    terminal.say("read one: countersign approvals show ID");
  }
  // They are part of the inbox, and few.
  const outcomes = state === "pending" && rest.cursor === undefined ? await listOpenOutcomes(cli, rest.team) : [];
  terminal.result({ ...page, outcomes });
}

async function show({ reviewer, terminal }: Cli, id: ApprovalId): Promise<void> {
  const detail = await reviewer.showApproval({ params: { approval: id } });
  describeWhole(terminal.say, detail);
  if (detail.state === "pending") {
    if (detail.requirements.some(({ signed }) => signed !== undefined))
      terminal.say(`approve with your passkey: ${detail.page}`);
    else terminal.say(`decide: countersign approvals approve ${id}`);
    terminal.say(`    or: countersign approvals deny ${id} --reason "…"`);
    terminal.say(`    or: countersign approvals ask ${id} "…"`);
    if (detail.call !== null && !detail.requirements.some(({ signed }) => signed !== undefined))
      terminal.say(`    or: countersign approvals edit ${id} --set NAME=VALUE`);
  }
  terminal.result(detail);
}

/** Whose group a requirement is of, the server knows; where all of them ask for a passkey, no key file can do. */
function assertKeyWillDo({ requirements, page, state }: ApprovalDetail): void {
  if (state === "pending" && requirements.every(({ signed }) => signed !== undefined)) throw passkeyNeeded(page);
}

function passkeyNeeded(page: string): CliError {
  const text = "the policy takes approvals signed with a passkey only, and this command signs with a key file";
  return new CliError("passkey_needed", text, { hint: `approve it in a browser: ${page}` });
}

async function decideAll(
  cli: Cli,
  given: readonly ApprovalId[],
  decision: "approve" | "deny",
  flags: DecideFlags,
): Promise<void> {
  const alike = flags.like === undefined ? [] : await requestsLike(cli, flags.like);
  const ids = [...new Set([...given, ...alike])];
  const [only, ...more] = ids;
  if (only === undefined) throw new CliError("usage", "which? give one or more ids, or --like ID");
  return more.length === 0 && flags.like === undefined
    ? decide(cli, only, decision, flags)
    : decideMany(cli, ids, decision, flags);
}

async function decide(cli: Cli, id: ApprovalId, decision: "approve" | "deny", flags: DecideFlags): Promise<void> {
  const { reviewer, terminal } = cli;
  const { readPrivateKey, signDecision } = await import("../sign-decision.ts");
  const detail = await reviewer.showApproval({ params: { approval: id } });
  describeWhole(terminal.json ? terminal.note : terminal.say, detail);
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
