import type { LedgerEntry } from "../core/ledger-event.ts";
import type { StepRecord } from "../core/run-record.ts";

/**
 * Whether a model step ended without an answer since a budget had no room for another attempt: the model was asked anew in a later step, and
 * the conversation went on as if this one had not been.
 */
export function isUnanswered({ code, kind, state, result }: StepRecord): boolean {
  return code === "no_room" && kind === "model" && state === "failed" && result === null;
}

/** Of steps without an answer, only those are followed by another model step; they asked for nothing; and there is room for another attempt beside those that took nothing. */
export function unansweredProblems(
  steps: readonly StepRecord[],
  endOf: (seq: number) => LedgerEntry | undefined,
): readonly string[] {
  const last = steps.reduce((latest, { kind, seq }) => (kind === "model" ? Math.max(latest, seq) : latest), -1);
  return steps.flatMap((step) => {
    const { seq, kind, state, result } = step;
    if (isUnanswered(step))
      return [
        ...(tookNothing(endOf(seq)) ? [`step ${seq}: given up for want of room, and its attempts took nothing`] : []),
        ...(steps.some(({ askedBy }) => askedBy === seq)
          ? [`step ${seq}: given up, and calls are told to be its`]
          : []),
      ];
    const ended = kind === "model" && state === "failed" && result === null;
    return ended && seq < last ? [`step ${seq}: its model gave no answer, and was asked again`] : [];
  });
}

function tookNothing(end: LedgerEntry | undefined): boolean {
  const taken = ["costMicroUsd", "inputTokens", "outputTokens", "assumedTokens"];
  return end !== undefined && taken.every((name) => (end.facts[name] ?? 0) === 0);
}
