import type { LedgerEntry } from "../core/ledger-event.ts";
import type { StepRecord } from "../core/run-record.ts";

/**
 * Whether a model step ended without an answer since a budget had no room for another attempt: the model was asked anew in a later step, and
 * the conversation went on as if this one had not been.
 */
export function isUnanswered({ code, kind, state, result }: StepRecord): boolean {
  return code === "no_room" && kind === "model" && state === "failed" && result === null;
}

/** There is always room for another attempt beside those that took nothing. */
export function unansweredProblems({ seq, code }: StepRecord, { facts }: LedgerEntry): readonly string[] {
  const taken = ["costMicroUsd", "inputTokens", "outputTokens", "assumedTokens"].some((name) => Number(facts[name]) > 0);
  return code === "no_room" && !taken ? [`step ${seq}: given up for want of room, and its attempts took nothing`] : [];
}
