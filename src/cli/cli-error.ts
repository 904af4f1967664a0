import { ApiError } from "../api/index.ts";
import { CodedError, codeOf } from "../core/errors.ts";

/** What the commands themselves refuse. `usage` and `environment` end in 2, the others in 1. */
export class CliError extends CodedError<
  | "usage"
  | "environment"
  | "file_unreadable"
  | "key_unusable"
  | "manifest_unusable"
  | "not_confirmed"
  | "passkey_needed"
  | "key_not_found"
  | "person_not_found"
  | "not_editable"
  | "shown_differently"
  | "run_failed"
  | "refuted"
  | "incomplete"
  | "not_delivered"
> {}

const refusals: ReadonlySet<string> = new Set([
  "not_confirmed",
  "passkey_needed",
  "key_not_found",
  "person_not_found",
  "not_editable",
  "shown_differently",
  "run_failed",
  "refuted",
  "incomplete",
  "not_delivered",
  "policies_invalid",
  "cases_invalid",
  "fork_refused",
]);

/** 1: it was refused, or refuted. 2: it could not be asked for: usage or environment. */
export function exitCodeOf(error: unknown): 1 | 2 {
  if (error instanceof ApiError) {
    const { status } = error;
    return status === undefined || status === 400 || status === 401 || status >= 500 ? 2 : 1;
  }
  return refusals.has(codeOf(error) ?? "") ? 1 : 2;
}

export type ReportedError = { readonly code: string; readonly message: string; readonly hint?: string };

/** An error as people and programs are told of it. Unexpected ones keep their message: this is the person's own machine. */
export function reportOf(error: unknown): ReportedError {
  if (error instanceof CodedError) {
    if (error.code === "invalid_request" && error.hint?.includes("/openapi.json") === true)
      return { code: error.code, message: error.message, hint: "--help says what the command takes" };
    return { code: error.code, message: error.message, ...(error.hint === undefined ? {} : { hint: error.hint }) };
  }
  const message = error instanceof Error ? error.message : String(error);
  return {
    code: codeOf(error) ?? "internal",
    message: message.split("\n")[0] ?? message,
    hint: "this is not supposed to happen; COUNTERSIGN_DEBUG=1 shows where it did",
  };
}
