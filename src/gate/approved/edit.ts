import type { ApprovalId, Digest } from "../../core/ids.ts";
import type { JsonObject } from "../../core/json.ts";
import type { ResolvedStep, ResolvedToolStep } from "../step/resolve.ts";

/** A reviewer's change of a call, as what is decided, shown, made and told goes by it. */
export type CallEdit = {
  readonly request: ApprovalId;
  readonly reviewer: string;
  readonly reason: string;
  /** What the agent asked for. */
  readonly original: ResolvedToolStep;
};

export type EditedStep = ResolvedToolStep & { readonly edit: CallEdit };

/** The call with a reviewer's arguments, or undefined where these make another action than they signed. */
export function withEdit(
  step: ResolvedToolStep,
  args: JsonObject,
  action: Digest,
  edit: CallEdit,
): EditedStep | undefined {
  const changed = step.withArguments?.(args);
  return changed === undefined || changed.actionDigest !== action ? undefined : { ...changed, edit };
}

export function editIn(step: ResolvedStep): CallEdit | undefined {
  return "edit" in step ? (step as EditedStep).edit : undefined;
}
