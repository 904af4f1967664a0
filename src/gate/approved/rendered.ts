import { renderAction, renderChange, visibleText } from "../../approvals/offline.ts";
import type { Action } from "../../core/action.ts";
import { amountsText } from "../../core/budget.ts";
import type { Amounts, Exhausted } from "../../core/budget.ts";
import type { Digest } from "../../core/ids.ts";
import type { JsonObject } from "../../core/json.ts";
import type { ModelResult } from "../../core/transcript.ts";
import { responseAction } from "../answers/facts.ts";
import type { RunContext } from "../governed-call.ts";
import type { ResolvedModelStep, ResolvedStep } from "../step/resolve.ts";
import { editIn } from "./edit.ts";

/**
 * What reviewers see: the call as it would be made, what policies have changed in it, and what would be given beyond a budget. A function
 * of what is recorded, so that an auditor makes the same text again.
 */
export function renderCall(
  run: RunContext,
  step: ResolvedStep,
  { effective, exhausted }: { readonly effective?: JsonObject | undefined; readonly exhausted: readonly Exhausted[] },
): string {
  const { action } = step;
  const tool = step.kind === "tool" ? step.tool : undefined;
  const args = effective === undefined ? undefined : argumentsMade(step, effective);
  const made: Action = args === undefined ? action : { ...action, arguments: args };
  const sections = [renderAction(made, tool)];
  const edit = editIn(step);
  if (edit !== undefined) {
    const lines = renderChange(edit.original.action.arguments, action.arguments, tool);
    const who = `changed by ${visibleText(JSON.stringify(edit.reviewer))}, who was asked in ${edit.request}:`;
    const why = edit.reason === "" ? [] : [`  because ${visibleText(JSON.stringify(edit.reason))}`];
    sections.push([who, ...why, ...lines.map((line) => `  ${line}`), ""].join("\n"));
  }
  if (args !== undefined) {
    const lines = renderChange(action.arguments, args, tool);
    sections.push(["changed by policy:", ...lines.map((line) => `  ${line}`), ""].join("\n"));
  }
  if (exhausted.length > 0) sections.push(["beyond a budget:", ...exhausted.flatMap(beyond(run))].join("\n"));
  return sections.join("\n");
}

/** Of a model's, obligations name what they change. */
function argumentsMade({ kind, action }: ResolvedStep, effective: JsonObject): JsonObject {
  return kind === "model" ? { ...(action.arguments as JsonObject), ...effective } : effective;
}

/**
 * What reviewers see of a model's answer: the step with all that it said, or with what policies leave of it. `digest` is of the answer as the
 * model gave it.
 */
export function renderAnswer(
  step: ResolvedModelStep,
  answer: ModelResult,
  digest: Digest,
  effective?: ModelResult,
): string {
  const what = "what the model answered, before it goes further";
  const changed = effective === undefined ? "" : ", with what policy has redacted in it";
  return `${what}${changed}:\n${renderAction(responseAction(step, effective ?? answer, digest))}`;
}

function beyond(run: RunContext): (one: Exhausted) => readonly string[] {
  return (one) => [
    `  ${one.reason.text}`,
    one.name === "run"
      ? `  approved, the run's limit grows by ${amountsText(givenToRun(run, one))}`
      : "  approved, it grows by what this step may take beyond it",
  ];
}

/** What an approval gives beyond a budget. */
export function givenBeyond(run: RunContext, one: Exhausted): Amounts {
  return one.name === "run" ? givenToRun(run, one) : one.missing;
}

/** What an approval gives a run beyond its own limits: of whatever is short, at least as much again as its release gave it. */
function givenToRun({ release }: RunContext, { missing }: Exhausted): Amounts {
  const { limits } = release.document;
  const given = (short: number, own: number | undefined): number => (short === 0 ? 0 : Math.max(own ?? 0, short));
  return {
    microUsd: given(missing.microUsd, limits.maxCostMicroUsd),
    tokens: given(missing.tokens, limits.maxTokens),
    calls: given(missing.calls, limits.maxCalls),
  };
}
