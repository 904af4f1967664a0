import { ApplicationFailure } from "@temporalio/common";

import { CodedError, codeOf } from "../core/errors.ts";

export class GateError extends CodedError<
  | "ungoverned_activity"
  | "invalid_step"
  | "foreign_run"
  | "unknown_run"
  | "run_not_open"
  | "transcript_incomplete"
  | "no_policy"
  | "already_recorded"
  | "unsettled"
  | "limit_steps"
  | "limit_cost"
> {}

/** What can never go well however often it is tried. The rest (Postgres down, a lock, a key that is not here) is tried again. */
const final: ReadonlySet<string> = new Set([
  "ungoverned_activity",
  "invalid_step",
  "foreign_run",
  "unknown_run",
  "run_not_open",
  "no_policy",
  "transcript_incomplete",
  // What is written is a function of the record: it will be as long, or as malformed, the next time.
  "not_canonical",
  "payload_too_large",
  "event_invalid",
  "event_too_large",
]);

/** SQLSTATE of values that Postgres will never take: class 22 (data exceptions), a null or a check that does not hold. */
const refusedByDatabase = /^(22[0-9A-Z]{3}|23502|23514)$/;

/**
 * An error as Temporal should see it: `type` is the code, the message is ours, and nothing else goes into the history, where a
 * database's or provider's own words could carry contents or secrets.
 */
export function asFailure(error: unknown): Error {
  if (error instanceof ApplicationFailure) return error;
  if (error instanceof CodedError) {
    return ApplicationFailure.create({ type: error.code, message: error.message, nonRetryable: final.has(error.code) });
  }
  return ApplicationFailure.create({
    type: "internal",
    message: "the step could not be decided or recorded; the worker's log says why",
    nonRetryable: refusedByDatabase.test(codeOf(error) ?? ""),
  });
}

/** What a wait fails with, to be looked at again. Temporal keeps a failure in the history, where a stack of this deployment's paths says nothing. */
export function stillWaiting(type: string, message: string, lookAgainMs: number): ApplicationFailure {
  const failure = ApplicationFailure.create({ type, message, nextRetryDelay: lookAgainMs });
  failure.stack = "";
  return failure;
}
