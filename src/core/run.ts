import type { JsonObject } from "./json.ts";

export const runStatuses = ["pending", "running", "completed", "failed", "cancelled"] as const;
export type RunStatus = (typeof runStatuses)[number];
export type ClosedRunStatus = "completed" | "failed" | "cancelled";

/** What a run is asked to do. Kept in the payload store: history holds its digest only. */
export type RunInput = {
  /** The user's message. */
  readonly prompt: string;
  /** On whose behalf: facts that the caller vouches for, and policies and tools may go by. All strings. */
  readonly subject?: { readonly id: string; readonly email?: string };
  /** Labels of the run, such as a ticket's number. They carry no authority. */
  readonly tags?: Readonly<Record<string, string>>;
};

export const runFailureCodes = [
  "limit_steps",
  "limit_cost",
  "limit_wall_clock",
  "model_denied",
  "model_unavailable",
  "model_refused",
  "invalid_output",
  "response_denied",
  "outcome_unknown",
  "internal",
] as const;
export type RunFailureCode = (typeof runFailureCodes)[number];

/** Why a run failed, with what a person can do about it. No contents. */
export type RunFailure = { readonly code: RunFailureCode; readonly message: string };

/** The final answer: text, or the object that the release's output schema describes. */
export type RunOutput = { readonly text: string } | { readonly value: JsonObject };
