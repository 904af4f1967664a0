import type { BudgetFacts } from "./budget.ts";
import type { Digest } from "./ids.ts";
import type { DataClass, FlowFacts } from "./labels.ts";
import type { FinishReason } from "./transcript.ts";

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
  /** Present: only what was signed with a passkey counts. */
  readonly signed?: "passkey";
  /** Members of these may decide as well. Absent: of `group` alone. */
  readonly orGroups?: readonly string[];
  /** One person counts for one requirement of the request only, for all of them. */
  readonly distinct?: true;
  /** From then on, in milliseconds from the opening, members of other groups may decide too. The quorum stays. */
  readonly escalate?: { readonly afterMs: number; readonly to: readonly string[] };
  /** Those who may decide are reminded each time that so many milliseconds have passed. */
  readonly remindMs?: number;
  /** The top-level argument whose number limits of delegations are held against. */
  readonly amount?: string;
  /** Whoever changed the call may be one of them. Absent: they may not. */
  readonly editorCounts?: true;
};

/** As the ledger has it: `treasury:2`, `treasury|legal:1` where either may, and `:passkey` at its end where only those count. */
export function askedOf({ group, orGroups = [], quorum, signed }: ApprovalRequirement): string {
  return `${[group, ...orGroups].join("|")}:${quorum}${signed === undefined ? "" : `:${signed}`}`;
}

/** In words: `2 of treasury`, `1 of legal or compliance, signed with a passkey`. */
export function neededText(
  of: Pick<ApprovalRequirement, "quorum" | "group"> & {
    readonly orGroups?: readonly string[] | undefined;
    readonly signed?: "passkey" | undefined;
  },
): string {
  const { quorum, group, orGroups = [], signed } = of;
  return `${quorum} of ${[group, ...orGroups].join(" or ")}${signed === undefined ? "" : `, signed with a ${signed}`}`;
}

/** Why somebody may not decide on a request: separation of duties. */
export const barReasons = ["requester", "subject", "author"] as const;
/** A person who may not decide: who asked for the run, for whom it acts, or who registered the release that acts. */
export type Barred = { readonly person: string; readonly because: (typeof barReasons)[number] };

/** As the ledger has it. */
export function barredText({ person, because }: Barred): string {
  return `${because}:${person}`;
}

/** A policy that determined a decision, with what its author said about it. */
export type PolicyReason = { readonly policy: string; readonly text: string };

/**
 * What has to be done to a call, or to a model's answer, so that it may happen. `argument` is the name of a top-level argument; of a model
 * call it is `maxOutputTokens`.
 */
export type Obligation =
  /** The argument's text is replaced by `[redacted]`. */
  | { readonly kind: "redact"; readonly policy: string; readonly argument: string }
  /** What is found of these classes in an answer's text is. */
  | { readonly kind: "redact"; readonly policy: string; readonly dataClasses: readonly DataClass[] }
  /** The argument's number is lowered to `max`. */
  | { readonly kind: "cap"; readonly policy: string; readonly argument: string; readonly max: number }
  /** The call is recorded and not made: its result says so. */
  | { readonly kind: "shadow"; readonly policy: string }
  /** The call is made once a checkpoint that so many witnesses cosigned covers its intent, or not at all. */
  | { readonly kind: "cosigned"; readonly policy: string; readonly witnesses: number; readonly withinMs: number };

/** What a decision wants of witnesses before its call is made: the most of what its policies ask for, in the shortest of their times. */
export type Cosigning = { readonly witnesses: number; readonly withinMs: number };

export type Decision =
  | {
      readonly outcome: "allow";
      readonly policies: readonly PolicyReason[];
      /** Absent: none. */
      readonly obligations?: readonly Obligation[];
    }
  | { readonly outcome: "deny"; readonly code: DenialCode; readonly policies: readonly PolicyReason[] }
  | {
      readonly outcome: "require_approval";
      readonly policies: readonly PolicyReason[];
      readonly requirements: readonly ApprovalRequirement[];
    };

export type DecisionOutcome = Decision["outcome"];

/** Undefined where the call may be made at once, and where it is only recorded: then there is nothing to make. */
export function cosigningOf(decision: Decision): Cosigning | undefined {
  const obligations = decision.outcome === "allow" ? (decision.obligations ?? []) : [];
  const wanted = obligations.filter((one) => one.kind === "cosigned");
  if (wanted.length === 0 || obligations.some(({ kind }) => kind === "shadow")) return undefined;
  return {
    witnesses: Math.max(...wanted.map(({ witnesses }) => witnesses)),
    withinMs: Math.min(...wanted.map(({ withinMs }) => withinMs)),
  };
}

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
  /** It was allowed, and too few witnesses had cosigned that in time: it was not made. */
  "not_cosigned",
] as const;
export type DenialCode = (typeof denialCodes)[number];

/**
 * Facts that policies see beside the action itself, and that a re-decision needs again. Recorded with the decision: no contents. What
 * follows from the record (`flow`) an auditor works out again and compares.
 */
export type RunFacts = {
  /** When the decision was made: ISO 8601 in UTC. */
  readonly at: string;
  /** Where the worker runs, and where its model provider computes, as its operator names them. */
  readonly environment: { readonly name: string; readonly region: string };
  /** Of the person or service that asked for the run, at the time of the decision. */
  readonly requester: { readonly roles: readonly string[]; readonly groups: readonly string[] };
  /** Steps decided so far, this one not counted. */
  readonly steps: number;
  readonly spentMicroUsd: number;
  /** How many steps of this very name have been allowed before. */
  readonly sameName: number;
  /** How many of them people approved, and not only as the budget's. Absent in decisions from before it was counted. */
  readonly sameNameApproved?: number;
  /** How many approvals the run has consumed. */
  readonly approvals: number;
  readonly flow: FlowFacts;
  /** The values of the history facts that the policy set declares, by name. */
  readonly history: Readonly<Record<string, number>>;
  /**
   * What another detector found in the contents, those of a model call being what was read by then; sorted; absent: none was asked. It cannot
   * be worked out again.
   */
  readonly detected?: readonly DataClass[];
  /** Where it did, in the readings of an answer, of what policies redact; absent: nowhere, or it did not say. */
  readonly detectedAt?: readonly DetectedPlace[];
  /** Set where it was decided on a model's answer, and not on the call that asked for it. */
  readonly response?: ResponseFacts;
  /** What was held, spent and allowed, where a budget had no room for the step. */
  readonly budget?: BudgetFacts;
};

/** From `start` to before `end`, in UTF-16 code units of the text that was sent. */
export type DetectedPlace = { readonly name: DataClass; readonly start: number; readonly end: number };

/** What policies see of a model's answer before it goes further: to the user, to a tool, or into the conversation. */
export type ResponseFacts = {
  /** Digest of the answer as the model gave it, in the payload store. */
  readonly answer: Digest;
  /** Digest of the action that people approve: the step's, with this answer. */
  readonly action: Digest;
  readonly finishReason: FinishReason;
  /** It asks for no tools and fits the output schema: with it, the run would end. */
  readonly final: boolean;
  readonly characters: number;
  /** Tool calls that it asks for. Each is decided on by itself later. */
  readonly calls: number;
  /** Names of the tools that it asks for, sorted. */
  readonly tools: readonly string[];
  /** Found in the arguments of those calls, sorted. */
  readonly callDataClasses: readonly DataClass[];
  /** Different links in its text, by where they stand. */
  readonly links: {
    /** With the user, the operator or a trusted tool. */
    readonly grounded: number;
    /** Only in text that somebody else can write. */
    readonly untrusted: number;
    /** Nowhere: the model made them. */
    readonly ungrounded: number;
    /** Hosts of those that are not grounded, in lower case, sorted. */
    readonly hosts: readonly string[];
  };
};

/** Of a run that has done and read nothing, on behalf of nobody in particular. */
export const noFacts: RunFacts = {
  at: "1970-01-01T00:00:00.000Z",
  environment: { name: "development", region: "local" },
  requester: { roles: [], groups: [] },
  steps: 0,
  spentMicroUsd: 0,
  sameName: 0,
  approvals: 0,
  flow: {
    origins: {},
    destination: "none",
    contested: false,
    mixedScript: false,
    best: "none",
    ungroundedLinks: 0,
    dataClasses: [],
    seen: { untrusted: false, confidentiality: 0, sources: [], dataClasses: [] },
  },
  history: {},
};

/** What history facts are counted over. */
export const historyScopes = ["run", "agent", "team", "requester", "subject"] as const;
export type HistoryScope = (typeof historyScopes)[number];

/**
 * A number that a policy set asks for: how many earlier steps there were, or what an argument of theirs sums up to. Steps count from their
 * intent on (so parallel calls see each other), those denied or waiting do not.
 */
export type HistoryFact = {
  /** Policies read it at `context.history.NAME`. */
  readonly name: string;
  readonly measure: "count" | "sum";
  /** The Cedar actions that count: `tool/NAME`, `group/NAME`, `effect/CLASS`, `tool` or `model`. */
  readonly actions: readonly string[];
  /** For `sum`: the name of an integer argument. A step without it adds nothing. */
  readonly argument?: string;
  readonly per: HistoryScope;
  /** The window's length in milliseconds, back from the decision; absent: everything. */
  readonly withinMs?: number;
};
