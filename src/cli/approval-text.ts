import type { ApprovalContext, ApprovalDetail } from "../api/index.ts";
import { neededText } from "../core/decision.ts";
import { formatUsd } from "../core/money.ts";
import { noticeLines } from "./notice-lines.ts";
import { brief, localTime, safe } from "./terminal.ts";

/** Whom a request waits for; two policies that ask for the same people are told once, where one decision counts for both. */
export function wantedText(requirements: ApprovalDetail["requirements"]): string {
  const texts = requirements.map(
    (one) => `${neededText(one)}${one.distinct === true ? " (somebody else for each)" : ""}`,
  );
  return requirements.some(({ distinct }) => distinct) ? texts.join(" and ") : [...new Set(texts)].join(" and ");
}

type Say = (line: string) => void;

/** A request as a person reads it before deciding. What is signed comes first, whole; the rest helps to judge it. */
export function describeWhole(say: Say, detail: ApprovalDetail): void {
  describeApproval(say, detail);
  describeContext(say, detail.context);
  describeMessages(say, detail.messages);
}

export function describeApproval(say: Say, detail: ApprovalDetail): void {
  say(`${detail.id}  ${detail.state}, opened ${localTime(detail.openedAt)}, expires ${localTime(detail.expiresAt)}`);
  for (const line of safe(detail.rendered).trimEnd().split("\n")) say(`  ${line}`);
  for (const one of detail.requirements) say(`needs ${neededText(one)} (policy ${one.policy})`);
  if (detail.editors.length > 0)
    say(`changed by ${detail.editors.map(safe).join(", ")}, who cannot approve it unless the policy says so`);
  if (detail.editedBy !== null)
    say(
      `ended by ${safe(detail.editedBy)}, who changed the call${detail.successor === null ? "" : `: see ${detail.successor}`}`,
    );
  for (const one of detail.decidedBy)
    say(
      `${one.decision === "approve" ? "approved" : "denied"} by ${one.reviewer} at ${localTime(one.at)}${one.fallen === true ? ", with a key that was revoked since: it does not count, and they may decide anew" : ""}`,
    );
  if (detail.state === "pending") describeRouting(say, detail);
  for (const { kind, at } of detail.events.filter((event) => event.kind === "reminded" || event.kind === "escalated"))
    say(`${kind} at ${localTime(at)}`);
  for (const line of noticeLines(detail.notices)) say(line);
}

function describeRouting(say: Say, { routing, requirements }: ApprovalDetail): void {
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

/** What is known around it: none of it is signed. */
function describeContext(say: Say, context: ApprovalContext): void {
  say("why it is asked:");
  for (const { policy, reason } of context.policies)
    say(`  ${safe(policy)}${reason === "" ? "" : `: ${safe(reason)}`}`);
  for (const flag of context.flags) say(`  ! ${safe(flag)}`);
  say("where its values came from:");
  if (context.sources.length === 0) say("  it has none");
  for (const { path, value, origin, places } of context.sources)
    say(
      `  ${safe(path)} = ${brief(value, 60)}  [${origin}] ${places.map(safe).join(", ") || "nowhere: the model made it"}`,
    );
  if (!context.searchedAll) say("  (there was too much text; the oldest was not looked at)");
  say("what led to it, oldest first (│ is somebody else's text):");
  if (context.leftOut > 0) say(`  … ${context.leftOut} earlier messages: countersign run show`);
  for (const message of context.conversation) describeMessage(say, message);
  const { states, reviewers, last } = context.similar;
  const counts = Object.entries(states).map(([state, count]) => `${count} ${state}`);
  say(`the same tool before: ${counts.join(", ") || "never asked about"}`);
  for (const one of reviewers) say(`  ${safe(one.reviewer)} approved ${one.approved}, denied ${one.denied}`);
  for (const one of last)
    say(`  ${one.id}  ${one.state} at ${localTime(one.decidedAt)} by ${one.reviewers.map(safe).join(", ")}`);
  const { cost } = context;
  say(
    `the run so far: ${cost.steps} of ${cost.maxSteps} steps, ${formatUsd(cost.spentMicroUsd)} of ${formatUsd(cost.maxMicroUsd)}`,
  );
}

function describeMessage(say: Say, message: ApprovalContext["conversation"][number]): void {
  const who = message.by === "tool" ? `tool ${message.tool ?? ""}` : message.by;
  const where = message.step === null ? "" : `, step ${message.step}`;
  const note = message.note === "" ? "" : ` ${message.note}`;
  say(`  ${safe(who)}${where}${message.untrusted ? " (untrusted)" : ""}${safe(note)}:`);
  const text = message.text === null ? "(erased)" : message.text;
  for (const line of safe(text).split("\n")) say(`  │ ${line}`.trimEnd());
  if (message.cut) say(`  … ${message.characters} characters in all`);
}

export function describeMessages(say: (line: string) => void, messages: ApprovalDetail["messages"]): void {
  for (const { kind, author, at, text } of messages) {
    say(`${safe(author)} ${kind === "question" ? "asked" : "answered"} at ${localTime(at)}:`);
    for (const line of safe(text ?? "(erased)").split("\n")) say(`  │ ${line}`);
  }
}
