import type { Digest } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import { flowRules } from "../core/labels.ts";
import type { FlowRules } from "../core/labels.ts";
import type { RunRecord, StepRecord } from "../core/run-record.ts";
import { transcript } from "../core/transcript.ts";
import type { FinishedStep, ModelResult, ToolResult } from "../core/transcript.ts";
import { emptyHead, extendFlow, extendHead, resolveModelStep, resolveToolStep, startFlow } from "../gate/offline.ts";
import type { Flow, ResolvedStep, RunContext } from "../gate/offline.ts";

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

/** The step's action, worked out again from the recorded contents alone. */
export function resolveStep(
  record: RunRecord,
  run: RunContext,
  step: StepRecord,
  rules: FlowRules = flowRules,
): ResolvedStep {
  if (step.kind === "model") {
    const messages = transcript(record.release.prompt, record.input.prompt, finishedBefore(record, step.seq));
    // The price decides what was held, which is no part of the decision.
    const free = { inputPerMillion: 0, cachedInputPerMillion: 0, outputPerMillion: 0 };
    return resolveModelStep(
      run,
      { run: run.id, seq: step.seq },
      { messages, head: extendHead(emptyHead, messages), flow: flowBefore(record, run, step.seq, rules) },
      free,
    );
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
      : resolveToolStep(run, { run: run.id, seq: step.seq, model, call }, asked, flowBefore(record, run, model, rules));
  if (resolved === undefined) throw new Error(`no recorded model step asked for it`);
  return resolved;
}

function flowBefore(record: RunRecord, run: RunContext, seq: number, rules: FlowRules): Flow {
  return extendFlow(startFlow(run, rules), run, finishedBefore(record, seq));
}

function finishedBefore(record: RunRecord, seq: number): readonly FinishedStep[] {
  return record.steps
    .filter((step) => step.seq < seq)
    .map((step): FinishedStep => {
      const result: Json | undefined = step.result === null ? undefined : record.payloads[step.result as Digest];
      if (result === undefined) throw new Error(`step ${step.seq} before it has no result`);
      return step.kind === "model"
        ? { kind: "model", result: result as unknown as ModelResult }
        : { kind: "tool", callId: step.callId ?? "", result: result as unknown as ToolResult };
    });
}
