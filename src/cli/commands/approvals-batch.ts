import type { ApprovalDetail, ApprovalSummary } from "../../api/index.ts";
import type { ApprovalId } from "../../core/ids.ts";
import { describeWhole } from "../approval-text.ts";
import type { Cli } from "../cli.ts";
import { CliError, reportOf } from "../cli-error.ts";
import type { ReportedError } from "../cli-error.ts";

/** More at once is no decision any more. */
const maxBatch = 50;

type Outcome =
  | { readonly id: ApprovalId; readonly decided: true; readonly state: string }
  | { readonly id: ApprovalId; readonly decided: false; readonly error: ReportedError };

type BatchFlags = { readonly key?: string; readonly reason: string; readonly yes?: true };

/**
 * Decides many requests after one question: all are shown whole before, and each is bound and signed on its own. What becomes of one says
 * nothing of the others; exit 1 where any was not decided.
 */
export async function decideMany(
  cli: Cli,
  ids: readonly ApprovalId[],
  decision: "approve" | "deny",
  flags: BatchFlags,
): Promise<void> {
  const { reviewer, terminal } = cli;
  if (ids.length > maxBatch)
    throw new CliError("usage", `${ids.length} requests at once are too many: at most ${maxBatch}`);
  const { readPrivateKey, signDecision } = await import("../sign-decision.ts");
  const say = terminal.json ? terminal.note : terminal.say;
  const outcomes: Outcome[] = [];
  const details: ApprovalDetail[] = [];
  for (const id of ids) {
    try {
      const detail = await reviewer.showApproval({ params: { approval: id } });
      describeWhole(say, detail);
      say("");
      details.push(detail);
    } catch (error) {
      outcomes.push({ id, decided: false, error: reportOf(error) });
    }
  }
  const privateKey = readPrivateKey(flags.key ?? cli.connection.keyFile);
  const verb = decision === "approve" ? "Approve" : "Deny";
  const sure =
    flags.yes === true || details.length === 0 || (await terminal.confirm(`${verb} these ${details.length}?`));
  if (!sure) {
    throw new CliError("not_confirmed", "nothing was decided", {
      hint: terminal.interactive ? "answer y to decide" : "read them above, then add --yes",
    });
  }
  for (const detail of details) {
    try {
      const { approval } = await signDecision(reviewer, detail, decision, flags.reason, privateKey);
      outcomes.push({ id: detail.id, decided: true, state: approval.state });
    } catch (error) {
      outcomes.push({ id: detail.id, decided: false, error: reportOf(error) });
    }
  }
  for (const outcome of outcomes) terminal.say(lineOf(outcome));
  terminal.result({ decision, outcomes });
  const failed = outcomes.filter(({ decided }) => !decided).length;
  if (failed === 0) return;
  terminal.note(`${failed} of ${outcomes.length} were not decided; the others are, and stay so`);
  process.exitCode = 1;
}

function lineOf(outcome: Outcome): string {
  return outcome.decided ? `${outcome.id}  ${outcome.state}` : `${outcome.id}  not decided: ${outcome.error.message}`;
}

/** What waits for the same people by the same policies, for the same tool of the same agent; the request itself first. */
export async function requestsLike({ reviewer }: Cli, id: ApprovalId): Promise<readonly ApprovalId[]> {
  const like = await reviewer.showApproval({ params: { approval: id } });
  const found: ApprovalId[] = [];
  let cursor: string | undefined;
  do {
    const page = await reviewer.listApprovals({
      query: { state: "pending", team: like.team, limit: 200, ...(cursor === undefined ? {} : { cursor }) },
    });
    found.push(...page.approvals.filter((one) => one.id !== id && isLike(one, like)).map((one) => one.id));
    cursor = page.next ?? undefined;
  } while (cursor !== undefined && found.length < maxBatch);
  return [id, ...found].slice(0, maxBatch);
}

function isLike(one: ApprovalSummary, other: ApprovalSummary): boolean {
  // All that they ask for: groups, quorums, how it is to be signed, and from when on others may decide.
  const asked = ({ requirements }: ApprovalSummary): string =>
    JSON.stringify(requirements.map((requirement) => JSON.stringify(requirement)).toSorted());
  return one.agent === other.agent && one.name === other.name && asked(one) === asked(other);
}
