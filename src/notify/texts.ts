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
};

const titles: Readonly<Record<NoticeEvent, string>> = {
  opened: "Approval needed",
  reminded: "Approval still needed",
  escalated: "Approval needed, escalated to you",
  decided: "Approval request decided",
  expired: "Approval request expired: nobody decided in time",
  cancelled: "Approval request cancelled",
};

export function textOf(facts: NoticeFacts, link: string): NoticeText {
  const { summary, event, state, team, approval, expiresAt } = facts;
  const about = summary === undefined ? team : `${team}/${summary.agent}: ${summary.tool}`;
  const title = event === "decided" ? `Approval request ${state}` : titles[event];
  const waits = event === "opened" || event === "reminded" || event === "escalated";
  return {
    title: oneLine(`${title} (${about})`),
    lines: [
      ["request", approval],
      ...(summary === undefined ? [] : summaryLines(summary)),
      ...(waits ? ([["expires", expiresAt]] as const) : []),
    ].map(([name, value]) => [name, oneLine(value)] as const),
    rendered: facts.rendered,
    link,
  };
}

function summaryLines(summary: NonNullable<NoticeFacts["summary"]>): readonly (readonly [string, string])[] {
  const needs = summary.needs.map(({ group, quorum, policy }) => `${quorum} of ${group} (policy ${policy})`);
  const decided = summary.decidedBy.map(({ reviewer, decision }) => `${decision} by ${reviewer}`);
  return [
    ["tool", summary.tool],
    ["run", `${summary.run}, step ${summary.seq}, asked for by ${summary.requestedBy}`],
    ...(needs.length === 0 ? [] : ([["needs", needs.join(", ")]] as const)),
    ...(summary.concerns.length === 0 ? [] : ([["concerns", summary.concerns.join(", ")]] as const)),
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
