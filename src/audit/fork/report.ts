import { lineDiff } from "../../core/line-diff.ts";
import type { DiffLine } from "../../core/line-diff.ts";
import type { Digest, RunId } from "../../core/ids.ts";
import type { Json } from "../../core/json.ts";
import type { RunOutput } from "../../core/run.ts";
import type { RunRecord } from "../../core/run-record.ts";
import type { AnsweredCall, EffectAnswers } from "./answers.ts";
import { compareSteps, resultOf } from "./compare.ts";
import type { StepComparison } from "./compare.ts";
import { recordedRun } from "./forked.ts";
import type { ComparedRun } from "./forked.ts";
import type { ForkPlan } from "./plan.ts";
import type { ApprovalAnswers, WouldWait } from "./reviewers.ts";

/** How one of the two ended, and what it took from the fork on. Money is micro-USD. */
export type ForkSide = {
  readonly run: RunId;
  readonly status: string;
  readonly failure: RunRecord["run"]["failure"];
  readonly output: RunOutput | null;
  readonly steps: number;
  readonly costMicroUsd: number;
  /** Of model calls, input and output. */
  readonly tokens: { readonly input: number; readonly output: number };
};

/** A fork beside the run that it was forked from. Contents of both are in it. */
export type ForkReport = {
  readonly v: 1;
  readonly kind: "countersign/fork";
  readonly run: RunId;
  readonly at: number;
  readonly madeAt: string;
  readonly with: {
    readonly release: Digest;
    readonly model: string;
    readonly policySet: Digest;
    /** Which of them are not the recorded run's. */
    readonly changed: readonly ("model" | "prompt" | "policy")[];
  };
  readonly approvals: ApprovalAnswers;
  readonly effects: EffectAnswers;
  readonly original: ForkSide;
  readonly fork: ForkSide;
  readonly steps: readonly StepComparison[];
  readonly counts: Readonly<Record<StepComparison["status"], number>>;
  /** Calls that would have acted, and were not made. */
  readonly wouldAct: readonly AnsweredCall[];
  /** Calls of tools that read; `recorded` says which step answered. */
  readonly reads: readonly AnsweredCall[];
  readonly wouldWait: readonly WouldWait[];
  readonly outcome: { readonly same: boolean; readonly diff: readonly DiffLine[] };
  /** What is to be known about the comparison. */
  readonly notes: readonly string[];
};

export type ForkEnding = {
  readonly plan: ForkPlan;
  readonly forked: ComparedRun;
  readonly answered: readonly AnsweredCall[];
  readonly waits: readonly WouldWait[];
  readonly approvals: ApprovalAnswers;
  readonly effects: EffectAnswers;
  readonly madeAt: Date;
};

export function reportFork(ending: ForkEnding): ForkReport {
  const { plan, forked, answered, waits, approvals, effects, madeAt } = ending;
  const original = recordedRun(plan.record);
  const steps = compareSteps(plan, original, forked);
  const count = (status: StepComparison["status"]) => steps.filter((step) => step.status === status).length;
  const [before, after] = [linesOf(original), linesOf(forked)];
  const same = before.join("\n") === after.join("\n");
  return {
    v: 1,
    kind: "countersign/fork",
    run: original.run.id,
    at: plan.at,
    madeAt: madeAt.toISOString(),
    with: {
      release: plan.release.digest,
      model: plan.release.document.model.name,
      policySet: plan.policySet,
      changed: changedIn(plan),
    },
    approvals,
    effects,
    original: sideOf(plan, original),
    fork: sideOf(plan, forked),
    steps,
    counts: { same: count("same"), changed: count("changed"), added: count("added"), missing: count("missing") },
    wouldAct: answered.filter(({ effect }) => effect !== "read"),
    reads: answered.filter(({ effect }) => effect === "read"),
    wouldWait: waits,
    outcome: { same, diff: same ? [] : lineDiff(before, after) },
    notes: notesOn(plan, forked, answered),
  };
}

function changedIn({ record, release, policySet, at }: ForkPlan): ForkReport["with"]["changed"] {
  const recorded = record.decisions.find(({ seq }) => seq === at)?.policySet;
  return [
    ...(release.document.model.name === record.release.model.name ? [] : ["model" as const]),
    ...(release.document.prompt === record.release.prompt ? [] : ["prompt" as const]),
    ...(policySet === recorded ? [] : ["policy" as const]),
  ];
}

function sideOf({ at }: ForkPlan, { run, steps, payloads, tokens }: ComparedRun): ForkSide {
  const from = steps.filter(({ seq }) => seq >= at);
  const sum = (of: "input" | "output") => from.reduce((total, { seq }) => total + (tokens.get(seq)?.[of] ?? 0), 0);
  return {
    run: run.id,
    status: run.status,
    failure: run.failure,
    output: resultOf({ payloads }, run.result) as unknown as RunOutput | null,
    steps: steps.length,
    costMicroUsd: from.reduce((total, { costMicroUsd }) => total + costMicroUsd, 0),
    tokens: { input: sum("input"), output: sum("output") },
  };
}

/** How it ended, as lines that can be compared. */
function linesOf({ run, payloads }: ComparedRun): readonly string[] {
  const output = resultOf({ payloads }, run.result) as { text?: string; value?: Json } | null;
  const failure = run.failure === null ? [] : [`${run.failure.code}: ${run.failure.message}`];
  const answer = output === null ? [] : (output.text ?? JSON.stringify(output.value, undefined, 2)).split("\n");
  return [run.status, ...failure, ...answer];
}

function notesOn(
  { record, at, policySet, beyond }: ForkPlan,
  { decisions }: ComparedRun,
  answered: readonly AnsweredCall[],
): readonly string[] {
  const unanswered = answered.filter(({ effect, recorded }) => effect === "read" && recorded === null).length;
  const first = record.decisions.find(({ seq }) => seq === at)?.policySet;
  const others = policySet === first && record.decisions.some((one) => one.seq > at && one.policySet !== first);
  const known = Object.keys(beyond.known);
  const cosigned = decisions.filter(
    (one) => one.seq >= at && one.outcome === "allow" && (one.witnesses ?? 0) > 0,
  ).length;
  const standing = record.decisions.some((one) => one.seq >= at && (one.standingGrant ?? null) !== null);
  return [
    ...(unanswered === 0 ? [] : [`${unanswered} reads had no answer in the record, and were not made`]),
    ...(others
      ? ["the recorded run was decided under other policies later on; the fork, under those of its first step"]
      : []),
    ...(cosigned === 0
      ? []
      : [
          `${cosigned} calls had to be cosigned by witnesses first; a fork has no log and no witnesses, so the agent was told that they were not made`,
        ]),
    ...(standing
      ? ["standing grants let calls of the recorded run through; a fork has none, and would wait there"]
      : []),
    ...(known.length === 0
      ? []
      : [`history facts over more than this run count the others as they stood then: ${known.join(", ")}`]),
    ...(beyond.unknown.length === 0
      ? []
      : [`history facts of which the record does not tell count this run alone: ${beyond.unknown.join(", ")}`]),
  ];
}
