import type { ApprovalRequirement, Barred } from "./decision.ts";
import type { Digest } from "./ids.ts";
import type { DelegationRecord, PasskeyRecord } from "./signed-record.ts";

/** What an argument of a call has to be. Each argument stands in one of a grant's targets, in `unconstrained`, or is its sum's. */
export type Target =
  /** The very value, byte for byte. */
  | { readonly argument: string; readonly is: string | number | boolean }
  /** A text that the pattern matches, or a list of such texts. */
  | { readonly argument: string; readonly like: string }
  /** It is not given. */
  | { readonly argument: string; readonly absent: true };

/** All that people agree to with a standing grant: what its approvers sign is the digest of this. */
export type StandingTerms = {
  readonly v: 1;
  readonly team: string;
  readonly agent: string;
  readonly tool: string;
  /** Of the tool as its release pins it: a changed tool is another one. */
  readonly toolDigest: Digest;
  /** What the policies ask for, whole: where they come to ask for something else, the grant is none. In the order of policies and groups. */
  readonly requirements: readonly ApprovalRequirement[];
  readonly targets: readonly Target[];
  /** Arguments that may be anything. */
  readonly unconstrained: readonly string[];
  /** How many calls. */
  readonly uses: number;
  /** What an argument, a whole number, may come to in all calls together. */
  readonly sum?: { readonly argument: string; readonly max: number };
  /** From then on, and until just before then: ISO 8601 in UTC, with milliseconds. */
  readonly from: string;
  readonly until: string;
  readonly reason: string;
};

/** A standing grant that a run used, as evidence. */
export type StandingGrantRecord = {
  /** `sgr_` and a ULID. */
  readonly id: string;
  readonly terms: StandingTerms;
  /** Until when it could be approved. */
  readonly expiresAt: string;
  readonly approvals: readonly {
    readonly reviewer: string;
    readonly person: string;
    readonly groups: readonly string[];
    readonly at: string;
    /** The exact bytes that were signed, as text. */
    readonly statement: string;
    readonly keyId: string;
    /** Ed25519, base64; of a passkey, what it signed over its own data, base64url. */
    readonly signature: string;
    /** SPKI in base64. */
    readonly publicKey: string;
    /** Signed with a passkey. Absent in records of before that could be. */
    readonly passkey?: PasskeyRecord;
    /** They approved it for somebody else. */
    readonly delegation?: DelegationRecord;
  }[];
  /** The uses by this run only. */
  readonly uses: readonly StandingUseRecord[];
};

export type StandingUseRecord = {
  readonly seq: number;
  /** The how-manyth use of the grant it was, from 1, by all runs. */
  readonly n: number;
  readonly amount: number;
  /** What the sum came to with it. */
  readonly total: number;
  /** Who could not have approved this call. */
  readonly barred: readonly Barred[];
  readonly at: string;
};
