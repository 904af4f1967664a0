import { flowRules } from "../../core/labels.ts";
import type { FlowRules } from "../../core/labels.ts";
import type { RunRecord, StepRecord } from "../../core/run-record.ts";
import type { ModelResult } from "../../core/transcript.ts";
import { resolveModelStep, resolveToolStep } from "../../gate/offline.ts";
import type { ResolvedStep, RunContext } from "../../gate/offline.ts";
import { beforeStepsOf } from "./before-steps.ts";
import type { BeforeSteps } from "./before-steps.ts";

export function runContextOf(record: RunRecord): RunContext {
  const { id, team, agent, requestedBy, release, input: inputDigest } = record.run;
  return {
    id,
    team,
    agent,
    requestedBy,
    release: { digest: release, document: record.release },
    input: record.input,
    inputDigest,
    salt: record.salt,
  };
}

/**
 * The step's action, worked out again from the recorded contents alone. `before`: what went before each step, of who works out several of one
 * record.
 */
export function resolveStep(
  record: RunRecord,
  run: RunContext,
  step: StepRecord,
  rules: FlowRules = flowRules,
  before: BeforeSteps = beforeStepsOf(record, run),
): ResolvedStep {
  if (step.kind === "model") {
    // The price decides what was held, which is no part of the decision.
    const free = { inputPerMillion: 0, cachedInputPerMillion: 0, outputPerMillion: 0 };
    return resolveModelStep(run, { run: run.id, seq: step.seq }, before.conversation(step.seq, rules), free);
  }
  const model = step.askedBy ?? -1;
  const asking = record.steps.find((candidate) => candidate.seq === model && candidate.kind === "model");
  const asked =
    asking === undefined || asking.result === null
      ? undefined
      : (record.payloads[asking.result] as unknown as ModelResult);
  const call = step.callIndex ?? -1;
  const resolved =
    asked === undefined
      ? undefined
      : resolveToolStep(run, { run: run.id, seq: step.seq, model, call }, asked, before.flow(model, rules));
  if (resolved === undefined) throw new Error(`no recorded model step asked for it`);
  return resolved;
}
