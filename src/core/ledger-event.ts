import type { Digest, RunId } from "./ids.ts";

/** Kinds of ledger entry. New kinds are added; none is ever given another meaning. */
export const ledgerKinds = [
  "run.started",
  "run.closed",
  "step.decided",
  "step.intent",
  "step.result",
  "step.unknown",
  "step.reconciled",
  "step.resolution_refused",
  "approval.requested",
  "approval.approved",
  "approval.denied",
  "approval.expired",
  "approval.cancelled",
  "approval.consumed",
  "approval.reminded",
  "approval.escalated",
  "standing.proposed",
  "standing.approved",
  "standing.used",
  "standing.revoked",
  "delegation.granted",
  "delegation.revoked",
  "approver.key.proposed",
  "approval.edited",
  "approval.asked",
  "approval.answered",
  "approver.key.added",
  "approver.key.revoked",
  "release.registered",
  "channel.moved",
  "policy.activated",
  "policy.proposed",
  "policy.approved",
  "policy.guarded",
  "policy.shadowed",
  "budget.set",
  "budget.extended",
  "freeze.set",
  "freeze.lifted",
  "log.key.rotated",
  "history.sealed",
  "history.lost",
  "receiver.added",
  "receiver.changed",
  "receiver.removed",
  "audit.read",
  "payload.erased",
  "hold.placed",
  "hold.lifted",
  "retention.set",
] as const;
export type LedgerKind = (typeof ledgerKinds)[number];

/** Strings, integers and lists of strings only, so that every verifier canonicalises alike. No contents: digests. */
export type LedgerFacts = { readonly [name: string]: string | number | readonly string[] };

/** Something that happened, on its way to the ledger of one team. */
export type LedgerEvent = {
  /** The log's name: the team. */
  readonly log: string;
  readonly kind: LedgerKind;
  /** Unique in the log: the same event given twice is one entry. */
  readonly dedupKey: string;
  /** Set for what belongs to a run: the entry then gets the run's next `seq` and the chain's `prev`. */
  readonly run?: RunId;
  /** When it happened, ISO 8601 in UTC with milliseconds. */
  readonly at: string;
  readonly facts: LedgerFacts;
};

/**
 * The leaf: these fields, RFC 8785 bytes, at most 16 KiB. `seq` is dense from 0 in its run, and `prev` is the RFC 6962 leaf hash
 * of the run's entry before it (64 zeros for the first), so that a gap inside a run shows without any tree.
 */
export type LedgerEntry = {
  readonly v: 1;
  readonly kind: LedgerKind;
  readonly log: string;
  readonly dedupKey: string;
  readonly at: string;
  readonly run?: { readonly id: RunId; readonly seq: number; readonly prev: Digest };
  readonly facts: LedgerFacts;
};
