import { neededText } from "../core/decision.ts";
import type { NoticeEvent } from "../core/notice.ts";
import type { NoticeFacts } from "./facts.ts";

/** What a notice says in words, before any channel's escaping. */
export type NoticeText = {
  /** One line. */
  readonly title: string;
  /** Names and values, one line each. */
  readonly lines: readonly (readonly [string, string])[];
  /** The action, many lines; undefined where the receiver is not told. */
  readonly rendered: string | undefined;
  readonly link: string;
  /** What is to be done behind the link. */
  readonly toDo: string;
};

const titles: Readonly<Record<NoticeEvent, string>> = {
  opened: "Approval needed",
  reminded: "Approval still needed",
  escalated: "Approval needed, escalated to you",
  asked: "A reviewer asks about an approval request",
  answered: "A question about an approval request was answered",
  decided: "Approval request decided",
  expired: "Approval request expired: nobody decided in time",
  cancelled: "Approval request cancelled",
  outcome_unknown: "Did this call happen? Nobody knows",
};

/** What is said of an end goes by what came before it: what was approved and not used was decided in time. */
function titleOf({ event, state, decidedAt }: NoticeFacts): string {
  if (event === "decided") return `Approval request ${state}`;
  if (event === "expired" && decidedAt !== null) return "Approval expired: it was approved in time, and not used";
  if (event === "cancelled" && decidedAt !== null) return "Approval cancelled: it was approved, and not used";
  return titles[event];
}

/** Whether it asks people for something. */
export function isQuestion(event: NoticeEvent): boolean {
  return event !== "decided" && event !== "expired" && event !== "cancelled";
}

function toDoOf({ event, summary }: NoticeFacts): string {
  if (event === "outcome_unknown") {
    const which = summary === undefined ? "RUN SEQ" : `${summary.run} ${summary.seq}`;
    return `Look whether it happened, and say so: countersign approvals resolve ${which}`;
  }
  if (event === "asked") return "Read it, and answer: countersign approvals answer";
  return isQuestion(event) ? "Read it, and decide there" : "Read it";
}

export function textOf(facts: NoticeFacts, link: string): NoticeText {
  const { summary, event, team, approval, expiresAt, said } = facts;
  const about = summary === undefined ? team : `${team}/${summary.agent}: ${summary.tool}`;
  const shown = said === undefined ? [] : [`${event === "asked" ? "question" : "answer"}: ${said}`];
  return {
    title: oneLine(`${titleOf(facts)} (${about})`),
    lines: [
      [event === "outcome_unknown" ? "asked as" : "request", approval],
      ...(summary === undefined ? [] : summaryLines(summary)),
      ...(isQuestion(event) ? ([["expires", expiresAt]] as const) : []),
    ].map(([name, value]) => [name, oneLine(value)] as const),
    rendered: facts.rendered === undefined ? shown[0] : [...shown, facts.rendered].join("\n\n"),
    link,
    toDo: oneLine(toDoOf(facts)),
  };
}

function summaryLines(summary: NonNullable<NoticeFacts["summary"]>): readonly (readonly [string, string])[] {
  const needs = summary.needs.map((one) => `${neededText(one)} (policy ${one.policy})`);
  const decided = summary.decidedBy.map(({ reviewer, decision }) => `${decision} by ${reviewer}`);
  return [
    ["tool", summary.tool],
    ["run", `${summary.run}, step ${summary.seq}, asked for by ${summary.requestedBy}`],
    ...(needs.length === 0 ? [] : ([["needs", needs.join(", ")]] as const)),
    ...(summary.concerns.length === 0 ? [] : ([["concerns", summary.concerns.join(", ")]] as const)),
    ...(summary.saidBy === null ? [] : ([["said by", summary.saidBy]] as const)),
    ...(decided.length === 0 ? [] : ([["decisions", decided.join(", ")]] as const)),
  ];
}

/** Nothing that ends a line, a header or a field, or that turns text around. */
export function oneLine(text: string): string {
  return text
    .toWellFormed()
    .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, " ")
    .replaceAll(/ +/g, " ")
    .trim();
}

/** Cut to `length` characters, saying so. */
export function cut(text: string, length: number): string {
  const whole = text.toWellFormed();
  return whole.length <= length ? whole : `${whole.slice(0, length).toWellFormed()}\n… (cut: the link has all of it)`;
}
