import type { Command } from "commander";

import type { ApiClient, ResponseOf, StandingGrantView } from "../../api/index.ts";
import type { ApprovalId } from "../../core/ids.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import type { StandingTerms, Target } from "../../core/standing-grant.ts";
import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../cli-error.ts";
import { brief, localTime, safe } from "../terminal.ts";
import { timeOf } from "../times.ts";
import { valueOf } from "./approvals-edit.ts";
import { positive } from "./run.ts";

type SignFlags = { readonly key?: string; readonly yes?: true };
type ProposeFlags = SignFlags & {
  readonly team?: string;
  readonly agent?: string;
  readonly tool?: string;
  readonly policy: readonly string[];
  readonly target: readonly string[];
  readonly without: readonly string[];
  readonly unconstrained: readonly string[];
  readonly uses: number;
  readonly sum?: string;
  readonly from?: string;
  readonly until: string;
  readonly reason: string;
};
type ListFlags = {
  readonly team?: string;
  readonly agent?: string;
  readonly tool?: string;
  readonly all?: true;
  readonly limit: number;
  readonly cursor?: string;
};
type Detail = ResponseOf<"showStanding">;

const repeated = (value: string, before: readonly string[]): readonly string[] => [...before, value];
const signing = (command: Command): Command =>
  command.option("--key <file>", "your Ed25519 key, PEM (COUNTERSIGN_KEY_FILE)").option("--yes", "do not ask");

/** Approvals that are given ahead: below `approvals`. */
export function addGrantCommands(approvals: Command): void {
  const grants = approvals
    .command("grant")
    .description("approvals given ahead: for one tool of one agent, to targets, so often, for a time");
  signing(
    grants
      .command("propose [approval]")
      .description("propose one, from a request or on its own; it counts once two people at least have approved it")
      .option("--team <team>", "without a request: whose agent")
      .option("--agent <agent>", "without a request")
      .option("--tool <tool>", "without a request")
      .option("--policy <id>", "without a request: the policy that asks; repeat it where several do", repeated, [])
      .option(
        "--target <name[=value]>",
        "what an argument has to be: JSON or text, a pattern where it has a `*`; of a request, NAME alone is its value",
        repeated,
        [],
      )
      .option("--without <name>", "an argument that must not be given", repeated, [])
      .option("--unconstrained <name>", "an argument that may be anything; all have to be named", repeated, [])
      .requiredOption("--uses <n>", "for how many calls", positive)
      .option("--sum <name=max>", "what a whole number may add up to, in all calls together")
      .option("--from <time>", "from then on; default: now")
      .requiredOption(
        "--until <time>",
        "until just before then: 2026-03-31, 2026-03-31T18:00, or 90m, 8h, 14d; 90 days at most",
      )
      .requiredOption("--reason <text>", "why, for those who approve it"),
  ).action((request: ApprovalId | undefined, flags: ProposeFlags, command: Command) =>
    propose(cliOf(command), request, flags),
  );
  signing(grants.command("approve <grant>").description("agree to a proposed one, signed with your key")).action(
    (id: string, flags: SignFlags, command: Command) => approve(cliOf(command), id, flags),
  );
  grants
    .command("list")
    .description("those that can be used or approved, newest first")
    .option("--team <team>")
    .option("--agent <agent>")
    .option("--tool <tool>")
    .option("--all", "those that can be used no more too")
    .option("--limit <n>", "how many", positive, 20)
    .option("--cursor <cursor>", "`next` of the page before")
    .action((flags: ListFlags, command: Command) => list(cliOf(command), flags));
  grants
    .command("show <grant>")
    .description("its terms, who approved it, and how much of it was used")
    .action((id: string, _flags, command: Command) => show(cliOf(command), id));
  grants
    .command("revoke <grant>")
    .description("end it before the next step, or withdraw a proposal; what was done by it stays")
    .action((id: string, _flags, command: Command) => revoke(cliOf(command), id));
}

async function propose(cli: Cli, request: ApprovalId | undefined, flags: ProposeFlags): Promise<void> {
  const { reviewer } = cli;
  const now = new Date();
  const begins = flags.from === undefined ? undefined : timeOf(flags.from, "--from", now);
  const args = request === undefined ? {} : await argumentsOf(reviewer, request);
  const body = {
    ...aboutOf(request, flags),
    targets: targetsOf(flags, args),
    unconstrained: [...flags.unconstrained],
    uses: flags.uses,
    ...(flags.sum === undefined ? {} : { sum: sumOf(flags.sum) }),
    ...(begins === undefined ? {} : { from: begins.toISOString() }),
    until: timeOf(flags.until, "--until", begins ?? now).toISOString(),
    reason: flags.reason,
  };
  const draft = await reviewer.draftStanding({ body });
  const signed = await sign(cli, draft, flags, "Propose this, with your approval?", "nothing was proposed");
  const answer = await reviewer.proposeStanding({
    body: { ...signed, terms: draft.terms as unknown as Json, ...(request === undefined ? {} : { request }) },
  });
  sayApproved(cli, answer, "proposed");
}

async function approve(cli: Cli, id: string, flags: SignFlags): Promise<void> {
  const detail = await cli.reviewer.showStanding({ params: { grant: id } });
  const { grant, approvals, statement } = detail;
  const say = cli.terminal.json ? cli.terminal.note : cli.terminal.say;
  for (const one of approvals) say(approvedBy(one));
  const signed = await sign(cli, { terms: grant.terms, statement }, flags, "Approve this?", "nothing was approved");
  sayApproved(cli, await cli.reviewer.approveStanding({ params: { grant: id }, body: signed }), "approved");
}

/** What is signed is the digest of the terms on the screen, so that a server that shows others gets a statement that it cannot use. */
async function sign(
  { reviewer, terminal, connection }: Cli,
  { terms, statement }: Pick<Detail, "statement"> & { readonly terms: StandingGrantView["terms"] },
  flags: SignFlags,
  question: string,
  refused: string,
) {
  const { readPrivateKey, signStatementOf } = await import("../sign-decision.ts");
  const { readTerms, termsDigest } = await import("../../approvals/index.ts");
  const shown = readTerms(terms);
  if (shown === undefined)
    throw new CliError("usage", "these terms are of a later version", { hint: "update countersign" });
  const say = terminal.json ? terminal.note : terminal.say;
  await describe(say, shown);
  const privateKey = readPrivateKey(flags.key ?? connection.keyFile);
  if (flags.yes !== true && !(await terminal.confirm(question))) {
    throw new CliError("not_confirmed", refused, {
      hint: terminal.interactive ? "answer y to do it" : "read it above, then add --yes",
    });
  }
  const { team, agent, tool } = shown;
  const own = { ...statement, team, agent, tool, terms: termsDigest(shown) };
  return (await signStatementOf(reviewer, own, {}, privateKey)).body;
}

async function describe(say: (line: string) => void, terms: StandingTerms): Promise<void> {
  const { renderTerms } = await import("../../approvals/index.ts");
  for (const line of renderTerms(terms)) say(`  ${safe(line)}`);
}

function sayApproved({ terminal }: Cli, answer: Detail, done: string): void {
  const { id, state, expiresAt } = answer.grant;
  terminal.say(`${id} ${done}`);
  if (state === "active") terminal.say(`it is active; end it: countersign approvals grant revoke ${id}`);
  else
    terminal.say(
      `others have to approve it until ${localTime(expiresAt)}: countersign approvals grant approve ${id}, or ${answer.page}`,
    );
  terminal.result(answer);
}

function approvedBy({ reviewer, groups, at, kind, insteadOf }: Detail["approvals"][number]): string {
  const whom = insteadOf === null ? "" : ` for ${safe(insteadOf)}`;
  const how = kind === "webauthn" ? ", with a passkey" : "";
  return `approved by ${safe(reviewer)}${whom} (${groups.join(", ")}) at ${localTime(at)}${how}`;
}

async function list({ reviewer, terminal }: Cli, { all, ...flags }: ListFlags): Promise<void> {
  const page = await reviewer.listStanding({ query: { ...flags, ...(all === undefined ? {} : { all: "true" }) } });
  if (page.grants.length === 0) {
    terminal.say(
      all === undefined
        ? "nothing is granted ahead; also those that ended: countersign approvals grant list --all"
        : "none",
    );
  } else {
    terminal.table(
      ["grant", "agent", "tool", "state", "used", "until", "because"],
      page.grants.map(({ id, state, terms, uses, total }) => [
        id,
        `${terms.team}/${terms.agent}`,
        brief(terms.tool, 40),
        state.replace("_", " "),
        `${uses} of ${terms.uses}${terms.sum === undefined ? "" : `, ${total} of ${terms.sum.max}`}`,
        localTime(terms.until),
        brief(terms.reason, 40),
      ]),
    );
    if (page.next !== null) terminal.say(`more: countersign approvals grant list --cursor ${page.next}`);
  }
  terminal.result(page);
}

async function show({ reviewer, terminal }: Cli, id: string): Promise<void> {
  const { readTerms } = await import("../../approvals/index.ts");
  const detail = await reviewer.showStanding({ params: { grant: id } });
  const { grant, approvals } = detail;
  const { terms, state, uses, total, revokedBy, revokedAt, lastUsedAt } = grant;
  terminal.say(
    `${id}  ${state.replace("_", " ")}, proposed by ${safe(grant.proposedBy)} at ${localTime(grant.proposedAt)}`,
  );
  const known = readTerms(terms);
  if (known === undefined) terminal.say("  its terms are of a later version: update countersign");
  else await describe(terminal.say, known);
  for (const one of approvals) terminal.say(approvedBy(one));
  const sum = terms.sum === undefined ? "" : `, ${total} of ${terms.sum.max} in sum`;
  terminal.say(`used ${uses} of ${terms.uses}${sum}${lastUsedAt === null ? "" : `, last at ${localTime(lastUsedAt)}`}`);
  if (revokedAt !== null) terminal.say(`revoked by ${safe(revokedBy ?? "")} at ${localTime(revokedAt)}`);
  if (state === "proposed")
    terminal.say(`agree: countersign approvals grant approve ${id}, or with a passkey: ${detail.page}`);
  if (state === "proposed" || state === "active") terminal.say(`end it: countersign approvals grant revoke ${id}`);
  terminal.result(detail);
}

async function revoke({ reviewer, terminal }: Cli, id: string): Promise<void> {
  const answer = await reviewer.revokeStanding({ params: { grant: id } });
  terminal.say(answer.changed ? "revoked: no further step uses it" : "it was revoked before");
  terminal.result(answer);
}

function aboutOf(request: ApprovalId | undefined, { team, agent, tool, policy }: ProposeFlags) {
  if (request !== undefined) {
    if (team === undefined && agent === undefined && tool === undefined && policy.length === 0) return { request };
    throw new CliError(
      "usage",
      "the request says which agent, tool and policies: leave out --team, --agent, --tool, --policy",
    );
  }
  if (team === undefined || agent === undefined || tool === undefined || policy.length === 0)
    throw new CliError("usage", "which calls? give a request, or --team, --agent, --tool and --policy");
  return { team, agent, tool, policies: [...policy] };
}

async function argumentsOf(reviewer: ApiClient, request: ApprovalId): Promise<JsonObject> {
  const { call } = await reviewer.showApproval({ params: { approval: request } });
  return (call as { readonly arguments?: JsonObject } | null)?.arguments ?? {};
}

function targetsOf({ target, without }: ProposeFlags, args: JsonObject): Target[] {
  return [
    ...target.map((text) => targetOf(text, args)),
    ...without.map((argument): Target => ({ argument, absent: true })),
  ];
}

function targetOf(text: string, args: JsonObject): Target {
  const at = text.indexOf("=");
  const argument = at < 0 ? text : text.slice(0, at);
  if (argument === "") throw new CliError("usage", `--target takes NAME=VALUE, not \`${safe(text)}\``);
  const value = at < 0 ? args[argument] : valueOf(text.slice(at + 1));
  if (at >= 0 && typeof value === "string" && value.includes("*")) return { argument, like: value };
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean")
    return { argument, is: value };
  throw new CliError("usage", `--target ${safe(argument)}: it is no text, number or yes and no`, {
    hint: at < 0 ? "give the value: --target NAME=VALUE" : "give a pattern: each of a list has to fit it",
  });
}

function sumOf(text: string): { readonly argument: string; readonly max: number } {
  const parts = /^([^=]+)=([1-9]\d{0,15})$/.exec(text);
  if (parts === null) throw new CliError("usage", `--sum takes NAME=MAX, a whole number, not \`${safe(text)}\``);
  return { argument: parts[1] ?? "", max: Number(parts[2]) };
}
