import type { Digest } from "./ids.ts";

/** What an approval needs before it counts, from the annotations of one policy that fired. */
export type ApprovalRequirement = {
  /** The Cedar policy that asks. */
  readonly policy: string;
  /** Members of this group may decide. */
  readonly group: string;
  /** How many different members must approve. */
  readonly quorum: number;
  /** The request's life in milliseconds, from its opening. */
  readonly expiresMs: number;
};

/** A policy that determined a decision, with what its author said about it. */
export type PolicyReason = { readonly policy: string; readonly text: string };

export type Decision =
  | { readonly outcome: "allow"; readonly policies: readonly PolicyReason[] }
  | { readonly outcome: "deny"; readonly code: DenialCode; readonly policies: readonly PolicyReason[] }
  | {
      readonly outcome: "require_approval";
      readonly policies: readonly PolicyReason[];
      readonly requirements: readonly ApprovalRequirement[];
    };

export type DecisionOutcome = Decision["outcome"];

/** Why a step was denied. Each is written to the ledger, and told to the model as the tool's result. */
export const denialCodes = [
  /** A `forbid` without `@decision("require_approval")` fired. */
  "forbidden",
  /** No `permit` matched. */
  "not_permitted",
  /** The engine could not decide: a diagnostics error, or a request the schema refuses. */
  "undecidable",
  /** The model asked for a tool that the release does not have. */
  "unknown_tool",
  /** The arguments are not JSON, or do not fit the tool's JSON Schema. */
  "invalid_arguments",
  /** No price is known for the model, so its cost cannot be bounded. */
  "no_price",
  /** A reviewer said no. */
  "declined",
  /** Nobody decided in time. */
  "approval_expired",
  /** A grant was presented that does not hold: wrong action, bad signature, too few approvals, already consumed. */
  "invalid_grant",
] as const;
export type DenialCode = (typeof denialCodes)[number];

/** Facts of a run that policies see and that a re-decision needs again. Integers only; no content. */
export type RunFacts = {
  /** Steps decided so far, this one not counted. */
  readonly steps: number;
  readonly spentMicroUsd: number;
  /** How many steps of this very name have been allowed before. */
  readonly sameName: number;
};

/** Names the policy set and schema that decided. */
export type PolicyDigests = { readonly policySet: Digest; readonly release: Digest };
