import type { RunFacts } from "../../core/decision.ts";
import { CodedError } from "../../core/errors.ts";
import type { Digest } from "../../core/ids.ts";
import type { Json } from "../../core/json.ts";
import type { Release } from "../../core/release.ts";
import { callablesOf } from "../../core/retrieval.ts";
import type { DecisionRecord, RunRecord, StepRecord } from "../../core/run-record.ts";
import { compilePolicies, parsePolicySet, PolicyError } from "../../policy/index.ts";
import type { PolicySetDocument } from "../../policy/index.ts";
import { releaseOfDocument } from "../../registry/index.ts";
import { contentDigest, digestOf } from "../../store/canonical.ts";
import { isUnanswered } from "../unanswered.ts";
import { historyBeyond } from "./history.ts";
import type { HistoryBeyond } from "./history.ts";

/** What cannot be forked, or not so. Messages hold no contents. */
export class ForkError extends CodedError<"fork_refused"> {}

export type ForkRequest = {
  /** The first step that is done anew. */
  readonly at: number;
  /** Another model's name; absent: the release's. */
  readonly model?: string | undefined;
  /** Another system prompt; absent: the release's. */
  readonly prompt?: string | undefined;
  /** Another policy set; absent: the one that decided step `at`. */
  readonly policies?: PolicySetDocument | undefined;
  /** What the run may cost from `at` on, in micro-USD. */
  readonly maxCostMicroUsd: number;
};

export type ForkPlan = {
  readonly record: RunRecord;
  readonly at: number;
  /** The model step that the agent loop is taken up with: `at`, or the one before it that asked for `at`. */
  readonly turn: number;
  /** The steps before `at`, as they were. */
  readonly kept: readonly StepRecord[];
  readonly keptDecisions: readonly DecisionRecord[];
  readonly release: Release;
  readonly policySet: Digest;
  readonly policies: PolicySetDocument;
  /** When `at` was decided on: the fork's clock goes on from then. */
  readonly begins: Date;
  /** Facts of that decision that are nobody's to choose: where it ran, and who asked. */
  readonly facts: Pick<RunFacts, "environment" | "requester">;
  readonly beyond: HistoryBeyond;
  readonly maxCostMicroUsd: number;
};

/** As manifests have it. */
const maxPromptCharacters = 200_000;
const maxModelCharacters = 200;

/**
 * How a recorded run is taken up again at one of its steps. Everything before it is kept, so it has to be there, and to be what it is
 * recorded as. Throws `fork_refused`.
 */
export function planFork(record: RunRecord, request: ForkRequest): ForkPlan {
  const { at } = request;
  if (record.run.closedAt === null) {
    throw refused(`run ${record.run.id} is ${record.run.status}`, "fork it when it has ended");
  }
  const step = record.steps.find(({ seq }) => seq === at);
  const first = record.decisions.find(({ seq }) => seq === at);
  if (step === undefined || first === undefined) throw refused(`there is no step ${at}`, stepsHint(record));
  const kept = record.steps.filter(({ seq }) => seq < at);
  assertWhole(record, kept, at);
  const release = releaseFor(record, request);
  const policies = request.policies ?? policiesOf(record, first);
  const compiled = compiledFor(policies, release);
  return {
    record,
    at,
    turn: turnOf(step),
    kept,
    keptDecisions: record.decisions.filter(({ seq }) => seq < at),
    release,
    policySet: digestOf(policies as unknown as Json),
    policies,
    begins: new Date(first.at),
    facts: first.facts,
    beyond: historyBeyond(record, compiled, at),
    maxCostMicroUsd: request.maxCostMicroUsd,
  };
}

/** The loop is taken up at a model step. The first call of a turn will do: the answer that asked for it is in the record. */
function turnOf({ seq, askedBy }: StepRecord): number {
  if (askedBy === null) return seq;
  if (seq === askedBy + 1) return askedBy;
  // Parallel calls: which of them was decided on first is not said by their numbers.
  throw refused(
    `step ${seq} is one of several calls that step ${askedBy} asked for together`,
    `fork at ${askedBy + 1}, the first of them, or at ${askedBy}, the model's step`,
  );
}

/** What the agent had read and done before has to be known to the last byte. */
function assertWhole(record: RunRecord, kept: readonly StepRecord[], at: number): void {
  const problems = [
    ...(digestIfPossible(record.release as unknown as Json) === record.run.release ? [] : ["its release"]),
    ...(digestIfPossible(record.input as unknown as Json, record.salt) === record.run.input ? [] : ["its input"]),
    ...kept.flatMap((step, index) => {
      const { seq, result } = step;
      if (seq !== index) return [`step ${index}`];
      if (isUnanswered(step)) return [];
      if (result === null) return [`the result of step ${seq}`];
      return digestIfPossible(record.payloads[result], record.salt) === result ? [] : [`the result of step ${seq}`];
    }),
    ...(kept.length === at ? [] : ["steps"]),
  ];
  const [problem] = problems;
  if (problem === undefined) return;
  throw refused(
    `${problem} is missing, was erased, or is not what the record says`,
    "fork at a step before it; see `countersign audit replay RUN`",
  );
}

function releaseFor({ release }: RunRecord, { model, prompt }: ForkRequest): Release {
  if (model !== undefined && (model === "" || model.length > maxModelCharacters || !keepable(model)))
    throw refused(`a model's name has 1 to ${maxModelCharacters} characters`);
  if (prompt !== undefined && (prompt.trim() === "" || prompt.length > maxPromptCharacters || !keepable(prompt)))
    throw refused(`a prompt has 1 to ${maxPromptCharacters} characters, this one ${prompt.length}`);
  return releaseOfDocument({
    ...release,
    ...(model === undefined ? {} : { model: { ...release.model, name: model } }),
    ...(prompt === undefined ? {} : { prompt }),
  });
}

function policiesOf(record: RunRecord, { policySet }: DecisionRecord): PolicySetDocument {
  const document = record.policySets[policySet];
  if (document === undefined || digestIfPossible(document) !== policySet)
    throw refused(`policy set ${policySet} is missing`, "name another: --with policy=DIR");
  return parsed(() => parsePolicySet(document));
}

/** The gate would deny every step where the set does not fit. */
function compiledFor(policies: PolicySetDocument, release: Release) {
  return parsed(() => compilePolicies(policies, callablesOf(release.document)));
}

function parsed<Result>(work: () => Result): Result {
  try {
    return work();
  } catch (cause) {
    if (!(cause instanceof PolicyError)) throw cause;
    throw new ForkError("fork_refused", `the policy set does not fit the release's tools: ${cause.message}`, {
      cause,
      hint: "see `countersign policy check DIR`",
    });
  }
}

function stepsHint({ steps }: RunRecord): string {
  const last = steps.at(-1);
  return last === undefined ? "the run has no steps" : `the run has steps 0 to ${last.seq}`;
}

/** `salt`: of a run's contents; absent: a bare digest. */
export function digestIfPossible(value: Json | undefined, salt?: string): Digest | undefined {
  if (value === undefined) return undefined;
  try {
    return contentDigest(salt, value);
  } catch {
    return undefined;
  }
}

function refused(message: string, hint?: string): ForkError {
  return new ForkError("fork_refused", message, hint === undefined ? {} : { hint });
}

/** Postgres keeps neither NUL nor half a character in JSON. */
function keepable(text: string): boolean {
  return text.isWellFormed() && !text.includes("\0");
}
