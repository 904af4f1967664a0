/**
 * The contract between workflows and activities. Inputs and results are references and small facts: their size does not
 * depend on the conversation, since every byte of them stays in the workflow's history.
 */
import type { ApprovalId, Digest, RunId } from "./ids.ts";
import type { ClosedRunStatus, RunFailureCode } from "./run.ts";

/** Which activity a tool goes through: `local` is the fast lane. */
export type Lane = "local" | "ordinary";

export type ModelStepInput = { readonly run: RunId; readonly seq: number; readonly grant?: ApprovalId };

/** A tool call or a retrieval. `call` names it: the index in what the model step `model` asked for. */
export type ToolStepInput = {
  readonly run: RunId;
  readonly seq: number;
  readonly model: number;
  readonly call: number;
  readonly grant?: ApprovalId;
};

/** The step waits for people until `expiresAt` (milliseconds since the epoch). Nothing has happened. */
export type Waiting = { readonly status: "waiting"; readonly request: ApprovalId; readonly expiresAt: number };
/**
 * Somebody froze it, so nothing was decided; or it was allowed, and witnesses have to cosign that first. Nothing has happened: it is to be
 * asked for again once that is over.
 */
export type Frozen = { readonly status: "frozen" };
/** The run cannot go on. */
export type Halted = { readonly status: "halted"; readonly code: RunFailureCode; readonly message: string };

export type ModelStepResult =
  /** A lane for each call that the model asked for. `retrievals`: which of them ask a source, by index; absent: none. */
  | { readonly status: "calls"; readonly lanes: readonly Lane[]; readonly retrievals?: readonly number[] }
  | { readonly status: "answer" }
  /** The answer does not fit the output schema, or (`withheld`) policy did not let it go further. */
  | { readonly status: "invalid"; readonly withheld?: true }
  /** It ended without an answer, since there was no room in a budget for another attempt: the model is to be asked in a new step. */
  | { readonly status: "unanswered" }
  | Waiting
  | Frozen
  | Halted;

/** `done`: the result, an error or a denial included, is in the record, where the next model step reads it. */
export type ToolStepResult = { readonly status: "done" } | Waiting | Frozen | Halted;

/** The step that is frozen; for a tool's, also which call it is. */
export type AwaitThawInput = { readonly run: RunId; readonly model?: number; readonly call?: number };
export type AwaitThawResult = Readonly<Record<string, never>>;

export type OpenRunInput = { readonly run: RunId };
/** What the workflow must know of its release. */
export type OpenRunResult = { readonly maxWallClockMs: number };

export type CloseRunInput = {
  readonly run: RunId;
  readonly status: ClosedRunStatus;
  readonly failure?: { readonly code: RunFailureCode; readonly message: string };
};
export type CloseRunResult = { readonly result?: Digest };

/** Governed: the gate decides on each before it runs. */
export type StepActivities = {
  model(input: ModelStepInput): Promise<ModelStepResult>;
  tool(input: ToolStepInput): Promise<ToolStepResult>;
  retrieval(input: ToolStepInput): Promise<ToolStepResult>;
};
/** Bookkeeping in Postgres alone, without outside effect: the only activities the gate lets pass undecided. */
export type LifecycleActivities = {
  openRun(input: OpenRunInput): Promise<OpenRunResult>;
  closeRun(input: CloseRunInput): Promise<CloseRunResult>;
  /** Fails, to be tried again, as long as the step is frozen, or waits for witnesses. */
  awaitThaw(input: AwaitThawInput): Promise<AwaitThawResult>;
};

export const lifecycleActivities = [
  "openRun",
  "closeRun",
  "awaitThaw",
] as const satisfies readonly (keyof LifecycleActivities)[];

export const agentWorkflow = "agent";
/** Wakes a run after an approval was decided. It carries no authority: the gate reads the decision itself. */
export const approvalDecidedSignal = "approvalDecided";
export const runStateQuery = "runState";

/** `carried` is set by continue-as-new only. */
export type AgentWorkflowInput = { readonly run: RunId; readonly carried?: CarriedState };

/** All that one execution hands to the next: constant in size. */
export type CarriedState = {
  readonly v: 1;
  readonly nextSeq: number;
  readonly turns: number;
  readonly activeMs: number;
  readonly repairs: number;
};

/** A run that failed or was cancelled ends as Temporal's own Failed (with the failure's code as type) and Cancelled. */
export type AgentWorkflowResult = { readonly result?: Digest };

/** The answer to the `runState` query. */
export type RunState = {
  readonly phase: "opening" | "thinking" | "acting" | "waiting" | "closing";
  readonly nextSeq: number;
  readonly turns: number;
  readonly activeMs: number;
  readonly waitingFor: readonly ApprovalId[];
};
