import type { HistoryFact } from "../../core/decision.ts";
import type { Digest } from "../../core/ids.ts";
import type { JsonObject } from "../../core/json.ts";
import type { Release } from "../../core/release.ts";
import { callablesOf } from "../../core/retrieval.ts";
import type { DecisionRecord, RunRecord, StepRecord } from "../../core/run-record.ts";
import type { ModelResult } from "../../core/transcript.ts";
import { countRunHistory } from "../../gate/index.ts";
import type { CountedStep } from "../../gate/index.ts";
import { parsePolicySet } from "../../policy/index.ts";
import type { CompiledPolicies } from "../../policy/index.ts";
import { canonicalText } from "../../store/canonical.ts";
import { parseArguments } from "../../tools/index.ts";
import { createActions } from "../backtest/rebuild.ts";

/** What other runs add to facts that are counted over more than one, by name; and the facts of which the record does not tell. */
export type HistoryBeyond = { readonly known: Readonly<Record<string, number>>; readonly unknown: readonly string[] };

/**
 * A fork knows its own run only. What the other runs had added then is the recorded value less what the run itself had: taken from the
 * decision that read the fact next, from step `at` on, or else last before it.
 */
export function historyBeyond(record: RunRecord, { history }: CompiledPolicies, at: number): HistoryBeyond {
  const wide = history.filter(({ per }) => per !== "run");
  const found = wide.map((fact) => [fact.name, addedByOthers(record, fact, at)] as const);
  return {
    known: Object.fromEntries(found.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]))),
    unknown: found.flatMap(([name, value]) => (value === undefined ? [name] : [])),
  };
}

function addedByOthers(record: RunRecord, fact: HistoryFact, at: number): number | undefined {
  const told = record.decisions.filter(
    ({ facts, policySet }) => Object.hasOwn(facts.history, fact.name) && declares(record, policySet, fact),
  );
  const decision = told.find(({ seq }) => seq >= at) ?? told.at(-1);
  if (decision === undefined) return undefined;
  const total = decision.facts.history[fact.name] ?? 0;
  try {
    const release: Release = { digest: record.run.release, document: record.release };
    const own = countRunHistory(
      [{ ...fact, per: "run" }],
      intentsBefore(record, decision),
      new Date(decision.facts.at),
      callablesOf(record.release),
      createActions(release),
    );
    return Math.max(0, total - (own[fact.name] ?? 0));
  } catch {
    // Sums that cannot be counted again, or contents that are gone.
    return undefined;
  }
}

/** The same name under another set may count something else. */
function declares(record: RunRecord, policySet: Digest, fact: HistoryFact): boolean {
  try {
    const same = parsePolicySet(record.policySets[policySet]).history?.find(({ name }) => name === fact.name);
    return same !== undefined && canonicalText(same) === canonicalText(fact);
  } catch {
    return false;
  }
}

function intentsBefore(record: RunRecord, decision: DecisionRecord): readonly CountedStep[] {
  return record.decisions.flatMap((one) => {
    const step = record.steps.find(({ seq }) => seq === one.seq);
    const counts = one.outcome === "allow" && one.facts.response === undefined && one.seq !== decision.seq;
    if (step === undefined || !counts || one.at >= decision.at) return [];
    return [
      { kind: step.kind, name: step.name, arguments: argumentsMade(record, step) ?? missing(), at: new Date(one.at) },
    ];
  });
}

function missing(): never {
  throw new Error("the arguments of an earlier call are missing");
}

/** The arguments that a recorded call was made with; undefined where the record does not have them. A model's are none of its own. */
export function argumentsMade(record: RunRecord, step: StepRecord): JsonObject | undefined {
  if (step.kind === "model") return {};
  const effective = lastDecision(record, step.seq)?.effective ?? null;
  if (effective !== null) return record.payloads[effective] as JsonObject | undefined;
  const text = askedText(record, step);
  const tool = callablesOf(record.release).find(({ name }) => name === step.name);
  if (text === undefined || tool === undefined) return undefined;
  const parsed = parseArguments(text, tool.parameters);
  return parsed.ok ? parsed.value : undefined;
}

/** What the model wrote as the call's arguments: it may not be JSON. */
export function askedText(
  { steps, payloads }: Pick<RunRecord, "steps" | "payloads">,
  { askedBy, callIndex }: StepRecord,
): string | undefined {
  const asking = steps.find(({ seq, kind }) => seq === askedBy && kind === "model");
  const result = asking?.result ?? null;
  const answer = result === null ? undefined : (payloads[result] as unknown as ModelResult | undefined);
  return answer?.toolCalls[callIndex ?? -1]?.arguments;
}

export function lastDecision({ decisions }: Pick<RunRecord, "decisions">, seq: number): DecisionRecord | undefined {
  return decisions.findLast((decision) => decision.seq === seq);
}
