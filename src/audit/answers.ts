import type { Json } from "../core/json.ts";
import type { DecisionRecord, RunRecord, StepRecord } from "../core/run-record.ts";
import { withheldAnswer } from "../core/transcript.ts";
import type { ModelResult } from "../core/transcript.ts";
import { responseAction } from "../policy/index.ts";
import { canonicalText } from "../store/canonical.ts";
import type { CompiledSets } from "./compiled-sets.ts";

/**
 * Whether every answer of a model that the policies speak of was decided on, none besides, and whether what went further is what was decided:
 * the answer where it was allowed, and else what stands in its place.
 */
export function answerProblems(record: RunRecord, sets: CompiledSets): readonly string[] {
  return record.steps
    .filter(({ kind }) => kind === "model")
    .flatMap((step) => problemsOf(record, step, sets).map((problem) => `step ${step.seq} (${step.name}): ${problem}`));
}

function problemsOf(record: RunRecord, step: StepRecord, sets: CompiledSets): readonly string[] {
  const decisions = record.decisions.filter(({ seq }) => seq === step.seq);
  const call = decisions.findLast(({ facts }) => facts.response === undefined);
  const last = decisions.findLast(({ facts }) => facts.response !== undefined);
  const governed = call?.outcome === "allow" && sets(call.policySet)?.slices.has(responseAction) === true;
  if (last === undefined)
    return governed && step.state === "done" ? ["its answer went further, and was not decided on"] : [];
  if (!governed)
    return ["its answer was decided on, though the policies that allowed the call do not speak of answers"];
  return resultProblems(record, step, last);
}

function resultProblems(record: RunRecord, step: StepRecord, { outcome, facts }: DecisionRecord): readonly string[] {
  switch (outcome) {
    case "allow":
      return step.state === "done" && step.result === facts.response?.answer
        ? []
        : ["its answer was allowed, and is not what went further"];
    case "deny": {
      const result = step.result === null ? undefined : (record.payloads[step.result] as unknown as ModelResult);
      const isWithheld = result?.problem !== undefined && plain({ ...result, problem: "" }) === withheld;
      return step.state === "done" && isWithheld && step.result !== facts.response?.answer
        ? []
        : ["its answer was denied, and not withheld"];
    }
    case "require_approval":
      return step.state === "waiting" || step.state === "cancelled"
        ? []
        : ["its answer went further, though nobody had decided on it"];
  }
}

/** All but its reason is the same for every answer. */
const withheld = plain({ ...withheldAnswer(""), problem: "" });

function plain(result: ModelResult): string {
  return canonicalText(result as unknown as Json);
}
