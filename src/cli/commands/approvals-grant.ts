import type { Command } from "commander";

import type { GrantView } from "../../api/index.ts";
import { grantIdPattern } from "../../core/ids.ts";
import type { ApprovalId, GrantId } from "../../core/ids.ts";
import type { Json } from "../../core/json.ts";
import { digestOf } from "../../store/canonical.ts";
import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../cli-error.ts";
import { localTime, safe } from "../terminal.ts";
import { positive } from "./run.ts";

type ProposeFlags = {
  readonly where: readonly string[];
  readonly uses: number;
  readonly sum?: string;
  readonly for: string;
};
type DecideFlags = { readonly key?: string; readonly reason: string; readonly yes?: true };

const units: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

export function addGrantCommands(approvals: Command): void {
  const grant = approvals
    .command("grant")
    .description("approvals given in advance: for one tool and target, within bounds");
  grant
    .command("propose <approval>")
    .description("propose to allow calls like this request's; its approvers decide")
    .option(
      "--where <argument=value>",
      "what an argument has to be: NAME=VALUE, NAME=*@DOMAIN or NAME=PREFIX*; at least one, repeat it",
      (value: string, before: readonly string[]) => [...before, value],
      [],
    )
    .requiredOption("--uses <n>", "how often at most", positive)
    .option("--sum <argument=max>", "what an integer argument may sum up to")
    .option("--for <time>", "how long: 30m, 8h or 7d", "7d")
    .action((id: ApprovalId, flags: ProposeFlags, command: Command) => propose(cliOf(command), id, flags));
  grant
    .command("list")
    .description("standing grants, newest first")
    .option("--team <team>")
    .option("--limit <n>", "how many", positive, 20)
    .option("--cursor <cursor>", "`next` of the page before")
    .action((flags: { team?: string; limit: number; cursor?: string }, command: Command) =>
      list(cliOf(command), flags),
    );
  grant
    .command("show <grant>")
    .description("all that it says, and how much of it was used")
    .action((id: string, _flags, command: Command) => show(cliOf(command), grantId(id)));
  for (const decision of ["approve", "deny"] as const) {
    grant
      .command(`${decision} <grant>`)
      .description(decision === "approve" ? "agree to it, signed with your key" : "refuse it, signed with your key")
      .option("--key <file>", "your Ed25519 key, PEM (COUNTERSIGN_KEY_FILE)")
      .option("--reason <text>", "why", "")
      .option("--yes", "do not ask")
      .action((id: string, flags: DecideFlags, command: Command) =>
        decide(cliOf(command), grantId(id), decision, flags),
      );
  }
  grant
    .command("revoke <grant>")
    .description("end it at once")
    .requiredOption("--reason <text>", "why")
    .action((id: string, { reason }: { reason: string }, command: Command) =>
      revoke(cliOf(command), grantId(id), reason),
    );
}

async function propose({ reviewer, terminal }: Cli, request: ApprovalId, flags: ProposeFlags): Promise<void> {
  if (flags.where.length === 0) throw new CliError("usage", "for which target? give --where ARGUMENT=VALUE");
  const where = Object.fromEntries(flags.where.map((text) => targetOf(text)));
  const { grant } = await reviewer.proposeGrant({
    body: {
      request,
      where,
      maxUses: flags.uses,
      expiresAt: new Date(Date.now() + durationOf(flags.for)).toISOString(),
      ...(flags.sum === undefined ? {} : { sum: sumOf(flags.sum) }),
    },
  });
  describe(terminal.say, grant);
  terminal.say(`its approvers decide with: countersign approvals grant approve ${grant.id}`);
  terminal.result({ grant });
}

async function list(
  { reviewer, terminal }: Cli,
  query: { team?: string; limit: number; cursor?: string },
): Promise<void> {
  const page = await reviewer.listGrants({ query });
  if (page.grants.length === 0) terminal.say("no standing grants; propose one: countersign approvals grant propose ID");
  else
    terminal.table(
      ["grant", "team", "agent", "tool", "state", "used", "sum", "until"],
      page.grants.map((one) => [
        one.id,
        one.team,
        one.agent,
        one.tool,
        one.state,
        `${one.uses} of ${one.maxUses}`,
        one.maxSum === null ? "" : `${one.sum} of ${one.maxSum}`,
        localTime(one.expiresAt),
      ]),
    );
  if (page.next !== null) terminal.say(`more: countersign approvals grant list --cursor ${page.next}`);
  terminal.result(page);
}

async function show({ reviewer, terminal }: Cli, id: GrantId): Promise<void> {
  const { grant } = await reviewer.showGrant({ params: { grant: id } });
  describe(terminal.say, grant);
  terminal.result({ grant });
}

async function decide(cli: Cli, id: GrantId, decision: "approve" | "deny", flags: DecideFlags): Promise<void> {
  const { reviewer, terminal } = cli;
  const { readPrivateKey, signStatementOf } = await import("../sign-decision.ts");
  const { readGrant, renderGrant } = await import("../../approvals/index.ts");
  const { grant, statement } = await reviewer.showGrant({ params: { grant: id } });
  const document = readGrant(grant.document);
  if (document === undefined) throw new CliError("incomplete", "this grant says something that is not known here");
  // What is signed is what is shown: the text is made here, from the document whose digest is signed.
  describe(terminal.json ? terminal.note : terminal.say, { ...grant, rendered: renderGrant(document) });
  const privateKey = readPrivateKey(flags.key ?? cli.connection.keyFile);
  if (flags.yes !== true && !(await terminal.confirm(decision === "approve" ? "Approve it?" : "Deny it?"))) {
    throw new CliError("not_confirmed", "nothing was decided", {
      hint: terminal.interactive ? "answer y to decide" : "read it above, then add --yes",
    });
  }
  const template = { ...statement, document: digestOf(grant.document as unknown as Json) };
  const { body } = await signStatementOf(reviewer, template, { decision, reason: flags.reason }, privateKey);
  const answer = await reviewer.decideGrant({ params: { grant: id }, body });
  terminal.say(`it is ${answer.grant.state}${answer.grant.state === "proposed" ? ": more people must agree" : ""}`);
  terminal.result(answer);
}

async function revoke({ reviewer, terminal }: Cli, id: GrantId, reason: string): Promise<void> {
  const answer = await reviewer.revokeGrant({ params: { grant: id }, body: { reason } });
  terminal.say(`it is revoked, after ${answer.grant.uses} uses`);
  terminal.result(answer);
}

function describe(say: (line: string) => void, grant: GrantView): void {
  say(`${grant.id}  ${grant.state}`);
  for (const line of safe(grant.rendered).trimEnd().split("\n")) say(`  ${line}`);
  say(
    `used ${grant.uses} of ${grant.maxUses} times${grant.maxSum === null ? "" : `, ${grant.sum} of ${grant.maxSum}`}`,
  );
  for (const one of grant.decidedBy)
    say(`${one.decision === "approve" ? "approved" : "denied"} by ${safe(one.reviewer)} at ${localTime(one.at)}`);
  if (grant.revokedBy !== null) say(`revoked by ${safe(grant.revokedBy)}`);
}

function targetOf(text: string): readonly [string, Json] {
  const at = text.indexOf("=");
  if (at < 1) throw new CliError("usage", `--where takes NAME=VALUE, not \`${text}\``);
  const [name, value] = [text.slice(0, at), text.slice(at + 1)];
  if (value.startsWith("*@")) return [name, { domain: value.slice(2).toLowerCase() }];
  if (value.endsWith("*")) return [name, { prefix: value.slice(0, -1) }];
  return [
    name,
    { equals: /^(?:true|false|-?\d{1,15}(?:\.\d{1,6})?)$/.test(value) ? (JSON.parse(value) as Json) : value },
  ];
}

function sumOf(text: string): { argument: string; max: number } {
  const match = /^([^=]+)=(\d{1,15})$/.exec(text);
  if (match === null) throw new CliError("usage", `--sum takes ARGUMENT=MAX, not \`${text}\``);
  return { argument: match[1] ?? "", max: Number(match[2]) };
}

function durationOf(text: string): number {
  const match = /^([1-9]\d{0,4})([mhd])$/.exec(text);
  if (match === null) throw new CliError("usage", `--for takes 30m, 8h or 7d, not \`${text}\``);
  return Number(match[1]) * (units[match[2] ?? ""] ?? 0);
}

function grantId(text: string): GrantId {
  if (!grantIdPattern.test(text)) throw new CliError("usage", `\`${text}\` is not a grant id`);
  return text as GrantId;
}
