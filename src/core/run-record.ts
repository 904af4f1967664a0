import type { StepCode, StepKind } from "./action.ts";
import type { ApprovalRequirement, Barred, DecisionOutcome, RunFacts } from "./decision.ts";
import type { ApprovalId, Digest, RunId } from "./ids.ts";
import type { Json } from "./json.ts";
import type { ReleaseDocument } from "./release.ts";
import type { RunFailure, RunInput, RunStatus } from "./run.ts";
import type { DelegationRecord, PasskeyRecord } from "./signed-record.ts";
import type { StandingGrantRecord } from "./standing-grant.ts";

/**
 * Everything that is recorded of one run, as one JSON document: what an auditor replays and verifies without trusting who made it.
 * Times are ISO 8601 in UTC, money is micro-USD, contents are in `payloads` by digest.
 */
export type RunRecord = {
  readonly v: 1;
  readonly run: {
    readonly id: RunId;
    readonly team: string;
    readonly agent: string;
    readonly release: Digest;
    readonly input: Digest;
    readonly requestedBy: string;
    readonly status: RunStatus;
    readonly createdAt: string;
    readonly closedAt: string | null;
    readonly failure: RunFailure | null;
    readonly result: Digest | null;
    readonly steps: number;
    readonly spentMicroUsd: number;
    readonly workflowBundle: Digest | null;
    /** The data key that its contents are under, whose destruction erases them. Absent in runs of before: their digests are bare. */
    readonly dataKey?: string;
  };
  readonly release: ReleaseDocument;
  /** Of no prompt where contents were erased. */
  readonly input: RunInput;
  readonly steps: readonly StepRecord[];
  readonly decisions: readonly DecisionRecord[];
  readonly approvals: readonly ApprovalRecord[];
  /** What reviewers changed in calls. Absent in records of before they could. */
  readonly edits?: readonly EditRecord[];
  /** What people said of calls that were interrupted. Absent in records of before there were any. */
  readonly resolutions?: readonly ResolutionRecord[];
  /** The standing grants that the run used. Absent in records of before there were any. */
  readonly standingGrants?: readonly StandingGrantRecord[];
  /** Policy set documents by digest. */
  readonly policySets: Readonly<Record<Digest, Json>>;
  readonly payloads: Readonly<Record<Digest, Json>>;
  /** 32 bytes in hexadecimal, which digests of contents are made with (`commitmentOf`). It goes where contents go, and nowhere else. */
  readonly salt?: string | undefined;
  /** Temporal's histories in protobuf JSON, one for each execution in the continue-as-new chain, oldest first; null for one that is lost. */
  readonly histories: readonly { readonly temporalRunId: string; readonly history: Json }[];
  readonly ledger: LedgerExcerpt;
  /** Entries of the same log that are not the run's own: its release, and each policy set that was put in force. Absent in older records. */
  readonly context?: LedgerExcerpt["entries"];
  /** How the keys that signed were enrolled and revoked, and delegations granted that were used, from the log of people. Records from before passkeys do not have it. */
  readonly keys?: LedgerExcerpt;
};

export type StepRecord = {
  readonly seq: number;
  readonly kind: StepKind;
  readonly name: string;
  readonly action: Digest;
  readonly arguments: Digest;
  readonly askedBy: number | null;
  readonly callIndex: number | null;
  readonly callId: string | null;
  readonly state: string;
  readonly result: Digest | null;
  readonly costMicroUsd: number;
  readonly decidedAt: string;
  readonly finishedAt: string | null;
  /** Whether its call waited for witnesses, was made when they had cosigned its intent, or never was. Absent in older records: it did not. */
  readonly cosigning?: "waiting" | "covered" | "late" | null;
  /** The size of the checkpoint that it was made on. */
  readonly coveredSize?: number | null;
  /** `no_room`: a model step that ended without an answer, since a budget had no room for another attempt. Absent in older records: none. */
  readonly code?: StepCode | null;
};

export type DecisionRecord = {
  readonly seq: number;
  readonly n: number;
  readonly activity: string;
  readonly outcome: DecisionOutcome;
  readonly code: string | null;
  readonly policies: readonly string[];
  readonly policySet: Digest;
  readonly facts: RunFacts;
  /** Digest of the request that the engine was asked. */
  readonly request: Digest;
  readonly approval: ApprovalId | null;
  /** Digest of the arguments that obligations changed the call to. */
  readonly effective: Digest | null;
  /** Recorded, and not made. */
  readonly shadow: boolean;
  /** The request whose edit it was made on. Absent in older records: none. */
  readonly edit?: ApprovalId | null;
  /** The standing grant that took the place of an approval. Absent in older records: none. */
  readonly standingGrant?: string | null;
  /** How many witnesses have to cosign the intent before the call is made, and until when. Absent in older records: none. */
  readonly witnesses?: number | null;
  readonly cosignBy?: string | null;
  readonly at: string;
};

export type ApprovalRecord = {
  readonly id: ApprovalId;
  readonly seq: number;
  readonly action: Digest;
  readonly state: string;
  readonly requirements: readonly ApprovalRequirement[];
  readonly openedAt: string;
  readonly expiresAt: string;
  /** Who could not decide. Absent in records of before. */
  readonly barred?: readonly Barred[];
  readonly amount?: number | null;
  /** What was asked about it, and answered. Absent in older records. */
  readonly messages?: readonly {
    readonly n: number;
    readonly kind: "question" | "answer";
    readonly author: string;
    readonly content: Digest;
  }[];
  readonly decisions: readonly {
    readonly reviewer: string;
    /** When, as whom, and for which of the groups that were asked they decided. Absent in records of before. */
    readonly capacity?: CapacityRecord;
    readonly decision: "approve" | "deny";
    /** The exact bytes that were signed, as text. */
    readonly statement: string;
    readonly keyId: string;
    /** Ed25519 over the statement, base64; of a passkey, what it signed over its own data, base64url. */
    readonly signature: string;
    /** SPKI in base64. */
    readonly publicKey: string;
    /** Signed with a passkey. */
    readonly passkey?: PasskeyRecord;
  }[];
};

export type CapacityRecord = {
  readonly at: string;
  readonly person: string;
  readonly groups: readonly string[];
  /** They decided for somebody else. */
  readonly delegation?: DelegationRecord;
};

export type EditRecord = {
  /** When, as whom, and for which of the groups that were asked they changed it. Absent in records of before. */
  readonly capacity?: CapacityRecord;
  /** The request that it ended, and the one that the new action needed. */
  readonly request: ApprovalId;
  readonly successor: ApprovalId | null;
  readonly reviewer: string;
  /** Everybody whose change is in it. */
  readonly editors: readonly string[];
  /** The persons behind them, and behind those for whom they changed it. */
  readonly persons: readonly string[];
  readonly arguments: Digest;
  readonly action: Digest;
  readonly statement: string;
  readonly keyId: string;
  readonly signature: string;
  readonly publicKey: string;
};

export type ResolutionRecord = {
  readonly id: ApprovalId;
  readonly seq: number;
  readonly reviewer: string;
  /** The exact bytes that were signed, as text. */
  readonly statement: string;
  readonly keyId: string;
  readonly signature: string;
  readonly publicKey: string;
  /** When it was said, the person behind the reviewer, and who could not have said it. Absent in older records. */
  readonly at?: string;
  readonly person?: string;
  readonly barred?: readonly Barred[];
};

/** Ledger entries, of the run or of people, with inclusion proofs to one signed checkpoint. Hashes are hexadecimal. */
export type LedgerExcerpt = {
  /** The signed note, or null where nothing has been signed yet. */
  readonly checkpoint: string | null;
  readonly verifierKey: string;
  /** Such events that had happened, and were not in the ledger yet. */
  readonly waiting: number;
  readonly entries: readonly {
    readonly index: number;
    /** The leaf's exact bytes, as text. */
    readonly leaf: string;
    /** Absent while no checkpoint covers the entry. */
    readonly proof?: readonly Digest[];
  }[];
  /**
   * The checkpoints on which calls were made that had to wait for witnesses, with the cosignatures, and the proof that the log grew from each
   * to `checkpoint` (absent where it is the same). Absent: there are none.
   */
  readonly cosigned?: readonly { readonly size: number; readonly note: string; readonly proof?: readonly Digest[] }[];
  /** The entries that seal the run's histories, which are in no run's chain. Absent in records from before there were any. */
  readonly seals?: LedgerExcerpt["entries"];
  /** The entries that tell of histories that Temporal had deleted before they were archived. Absent: there are none. */
  readonly losses?: LedgerExcerpt["entries"];
  /** How the standing grants that the run used came to be, and ended. Absent in records from before there were any. */
  readonly grants?: LedgerExcerpt["entries"];
  /** The entries that say that contents of the run were erased. Absent in records from before that could be. */
  readonly erasures?: LedgerExcerpt["entries"];
};

/** A signed statement in a DSSE envelope. `payload` and `sig` are base64. */
export type DsseEnvelope = {
  readonly payloadType: string;
  readonly payload: string;
  readonly signatures: readonly { readonly keyid: string; readonly sig: string }[];
};

/** What is recorded of a run without any contents: digests stand for them. For an evidence bundle. */
export type RunEvidence = Omit<RunRecord, "input" | "payloads" | "salt"> & {
  /** Entries of the same log that are not the run's own: its release, and each policy set that was put in force. */
  readonly context: LedgerExcerpt["entries"];
  /** The in-toto statement of the run, signed by the log's key; null while it is open, or not wholly in the signed log. */
  readonly statement: DsseEnvelope | null;
};
