import type { Digest } from "../../core/ids.ts";
import type { Json } from "../../core/json.ts";
import type { DecisionRecord, RunRecord, StepRecord } from "../../core/run-record.ts";
import { unaskedAnswer, unsentAnswer, withheldAnswer } from "../../core/transcript.ts";
import type { ModelResult } from "../../core/transcript.ts";
import { withProblem } from "../../gate/offline.ts";
import { responseAction } from "../../policy/index.ts";
import { canonicalText, contentDigest } from "../../store/canonical.ts";
import type { CompiledSets } from "./compiled-sets.ts";

/**
 * Whether every answer of a model that the policies speak of was decided on, none besides, and whether what went further is what was decided:
 * the answer where it was allowed, as obligations made it, and else what stands in its place. A model that was not asked has not answered.
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
  if (call?.outcome === "allow" && call.shadow && last === undefined)
    return step.state !== "done" || step.result === placeholder(record, unaskedAnswer)
      ? []
      : ["the model was not to be asked, and something else stands in the place of its answer"];
  const governed = call?.outcome === "allow" && sets(call.policySet)?.slices.has(responseAction) === true;
  if (last === undefined)
    return governed && step.state === "done" ? ["its answer went further, and was not decided on"] : [];
  if (!governed)
    return ["its answer was decided on, though the policies that allowed the call do not speak of answers"];
  return resultProblems(record, step, last);
}

function resultProblems(
  record: RunRecord,
  step: StepRecord,
  { outcome, facts, effective, shadow }: DecisionRecord,
): readonly string[] {
  switch (outcome) {
    case "allow":
      return step.state === "done" &&
        step.result === (shadow ? placeholder(record, unsentAnswer) : (effective ?? facts.response?.answer))
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

/** What stands in the place of an answer of this release's model. */
function placeholder({ salt, release }: RunRecord, answer: ModelResult): Digest {
  return contentDigest(salt, withProblem(answer, release.output) as unknown as Json);
}

/** All but its reason is the same for every answer. */
const withheld = plain({ ...withheldAnswer(""), problem: "" });

function plain(result: ModelResult): string {
  return canonicalText(result as unknown as Json);
}
