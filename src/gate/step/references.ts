import type { Frozen, Halted, Lane, ModelStepResult, ToolStepResult } from "../../core/contract.ts";
import { maxShortToolTimeoutMs } from "../../core/release.ts";
import type { ReleaseDocument } from "../../core/release.ts";
import { callablesOf, kindOf } from "../../core/retrieval.ts";
import type { Callable } from "../../core/retrieval.ts";
import type { RunFailureCode } from "../../core/run.ts";
import type { ModelResult } from "../../core/transcript.ts";

/** What goes back to the workflow: references and small facts, no contents. */
export type StepResult = ModelStepResult | ToolStepResult;

/** Of what a model answered. `fastLane`: short, repeatable calls go through local activities. */
export function modelReference(document: ReleaseDocument, result: ModelResult, fastLane: boolean): ModelStepResult {
  if (result.finishReason === "content_filter") return halted("model_refused");
  if (result.problem !== undefined)
    return { status: "invalid", ...(result.withheld === true ? { withheld: true } : {}) };
  if (result.toolCalls.length === 0) return { status: "answer" };
  const callables = callablesOf(document);
  const called = result.toolCalls.map((call) => callables.find(({ name }) => name === call.name));
  const retrievals = called.flatMap((one, index) => (kindOf(one ?? {}) === "retrieval" ? [index] : []));
  return {
    status: "calls",
    lanes: called.map((tool) => laneOf(tool, fastLane)),
    ...(retrievals.length === 0 ? {} : { retrievals }),
  };
}

function laneOf(tool: Callable | undefined, fastLane: boolean): Lane {
  // What will be denied at once is short too. A tool that could not be rerun safely is never local.
  const short =
    tool === undefined || (tool.short && tool.idempotency !== "none" && tool.timeoutMs <= maxShortToolTimeoutMs);
  return fastLane && short ? "local" : "ordinary";
}

/** To the workflow, a step that is frozen and one that waits for witnesses are the same: to be asked for again when that is over. */
export const paused: Frozen = { status: "frozen" };

export const outcomeUnknown: Halted = {
  status: "halted",
  code: "outcome_unknown",
  message: "a tool call was interrupted, and whether it took effect cannot be found out",
};

export function halted(code: RunFailureCode, message?: string): Halted {
  return { status: "halted", code, message: (message ?? haltTexts[code] ?? code).slice(0, 500) };
}

const haltTexts: Partial<Record<RunFailureCode, string>> = {
  model_denied: "the policy denied the model call",
  model_unavailable: "the model could not be reached, or did not answer properly",
  model_refused: "the model's provider filtered the answer",
};
