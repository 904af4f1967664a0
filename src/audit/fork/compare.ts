import type { EffectClass, StepKind } from "../../core/action.ts";
import type { Digest } from "../../core/ids.ts";
import type { Json } from "../../core/json.ts";
import { callablesOf } from "../../core/retrieval.ts";
import type { StepRecord } from "../../core/run-record.ts";
import type { ModelResult } from "../../core/transcript.ts";
import { canonicalText } from "../../store/canonical.ts";
import { align } from "./align.ts";
import { isUnanswered } from "../unanswered.ts";
import type { ComparedRun } from "./forked.ts";
import { askedText } from "./history.ts";
import type { ForkPlan } from "./plan.ts";

/** What of a step is not the same in both. `policies`: it was decided alike, by others. */
export type Aspect = "arguments" | "decision" | "policies" | "result";

export type ComparedDecision = {
  readonly outcome: string;
  readonly code: string | null;
  readonly policies: readonly string[];
  /** On the model's answer, and not on the call. */
  readonly onAnswer: boolean;
};

/** A step as it was in one of the two. */
export type ComparedStep = {
  readonly seq: number;
  readonly state: string;
  /** As the model wrote them; null for a model's step. */
  readonly arguments: string | null;
  readonly decisions: readonly ComparedDecision[];
  /** Null: it has none, or it is gone. */
  readonly result: Json | null;
  readonly costMicroUsd: number;
};

export type StepComparison = {
  readonly status: "same" | "changed" | "added" | "missing";
  readonly kind: StepKind;
  readonly name: string;
  /** Of a call that would have acted: its results say nothing, since it was not made. */
  readonly effect?: EffectClass;
  readonly differs: readonly Aspect[];
  readonly original: ComparedStep | null;
  readonly fork: ComparedStep | null;
};

/**
 * The steps of both from the fork on, in order. Those that ask for the same (kind, name and the arguments' digest) are set side by side in
 * the longest common order; of what is left between them, calls of one name are one call with other arguments.
 */
export function compareSteps(
  { at, record }: ForkPlan,
  original: ComparedRun,
  fork: ComparedRun,
): readonly StepComparison[] {
  const effects = new Map(callablesOf(record.release).map(({ name, effect }) => [name, effect]));
  const from = ({ steps }: ComparedRun) => steps.filter(({ seq }) => seq >= at);
  const pairs = align(
    from(original),
    from(fork),
    // What a model is asked is the whole conversation: it differs with everything before it, and is told there.
    (step) => (step.kind === "model" ? modelKey(step) : `${step.kind}/${step.name}/${step.arguments}`),
    (step) => (step.kind === "model" ? modelKey(step) : `${step.kind}/${step.name}`),
  );
  return pairs.map(([before, after]) => {
    const { kind, name } = (after ?? before) as StepRecord;
    const effect = kind === "model" ? undefined : effects.get(name);
    const acts = effect !== undefined && effect !== "read";
    const sides = {
      kind,
      name,
      ...(effect === undefined ? {} : { effect }),
      original: before === undefined ? null : compared(original, before),
      fork: after === undefined ? null : compared(fork, after),
    };
    if (before === undefined) return { status: "added", differs: [], ...sides };
    if (after === undefined) return { status: "missing", differs: [], ...sides };
    const differs = differences({ run: original, step: before }, { run: fork, step: after }, acts);
    return { status: differs.length === 0 ? "same" : "changed", differs, ...sides };
  });
}

/** One that was given up without an answer stands beside its like only. */
function modelKey(step: StepRecord): string {
  return isUnanswered(step) ? "model/unanswered" : "model";
}

type Side = { readonly run: ComparedRun; readonly step: StepRecord };

function differences(before: Side, after: Side, acts: boolean): readonly Aspect[] {
  const differs: Aspect[] = [];
  if (before.step.kind !== "model" && before.step.arguments !== after.step.arguments) differs.push("arguments");
  const [was, is] = [before, after].map(({ run, step }) => decisionsOn(run, step.seq)) as [Decisions, Decisions];
  if (text(outcomesOf(was)) !== text(outcomesOf(is))) differs.push("decision");
  else if (text(was as unknown as Json) !== text(is as unknown as Json)) differs.push("policies");
  // Whether a call was let through is its decision's to say; what it led to is not known of one that was not made.
  const unmade = acts && [before, after].every(({ step }) => step.state === "done" || step.state === "failed");
  if (!unmade && text(toldBy(before)) !== text(toldBy(after))) differs.push("result");
  return differs;
}

type Decisions = readonly ComparedDecision[];

function outcomesOf(decisions: Decisions): Json {
  return decisions.map(({ outcome, code, onAnswer }) => ({ outcome, code, onAnswer }));
}

/** What the step left, without what differs by chance: the names that a model gives its calls, and the spelling of their arguments. */
function toldBy({ run, step }: Side): Json {
  const result = resultOf(run, step.result);
  // A model that was denied has left what a tool would have.
  if (typeof result !== "object" || result === null || !("toolCalls" in result)) return result ?? step.state;
  const { toolCalls, ...answer } = result as unknown as ModelResult;
  const calls = toolCalls.map(({ name, arguments: args }) => ({ name, arguments: parsed(args) }));
  return { ...answer, calls } as unknown as Json;
}

function parsed(args: string): Json {
  try {
    return JSON.parse(args) as Json;
  } catch {
    return args;
  }
}

function text(value: Json): string {
  try {
    return canonicalText(value);
  } catch {
    return JSON.stringify(value);
  }
}

function compared(run: ComparedRun, step: StepRecord): ComparedStep {
  return {
    seq: step.seq,
    state: step.state,
    arguments: askedText(run, step) ?? null,
    decisions: decisionsOn(run, step.seq),
    result: resultOf(run, step.result),
    costMicroUsd: step.costMicroUsd,
  };
}

function decisionsOn({ decisions }: ComparedRun, seq: number): readonly ComparedDecision[] {
  return decisions
    .filter((decision) => decision.seq === seq)
    .map(({ outcome, code, policies, facts }) => {
      return { outcome, code, policies: policies.toSorted(), onAnswer: facts.response !== undefined };
    });
}

export function resultOf({ payloads }: Pick<ComparedRun, "payloads">, digest: Digest | null): Json | null {
  return digest === null ? null : (payloads[digest] ?? null);
}
