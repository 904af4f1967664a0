import { heldEdit, requestById } from "../approvals/index.ts";
import type { Edit } from "../approvals/index.ts";
import type { ApprovalId, Digest } from "../core/ids.ts";
import type { JsonObject } from "../core/json.ts";
import { getPayload } from "../store/index.ts";
import type { PayloadKeys, Tx } from "../store/index.ts";
import type { ResolvedStep, ResolvedToolStep } from "./resolve.ts";

/** A reviewer's change of a call, as what is decided, shown, made and told goes by it. */
export type CallEdit = {
  readonly request: ApprovalId;
  readonly reviewer: string;
  readonly reason: string;
  /** What the agent asked for. */
  readonly original: ResolvedToolStep;
};

export type EditedStep = ResolvedToolStep & { readonly edit: CallEdit };

/**
 * The call as a reviewer changed it, a new action, from what they signed; undefined where that does not hold: the signature, the key, who
 * they are, or that these are the very arguments.
 */
export async function editedStep(
  tx: Tx,
  keys: PayloadKeys,
  step: ResolvedStep,
  edit: Edit,
  subject: readonly string[],
): Promise<EditedStep | undefined> {
  const request = await requestById(tx, edit.request);
  const statement = request === undefined ? undefined : await heldEdit(tx, request, edit, subject);
  if (statement === undefined || step.kind !== "tool") return undefined;
  const args = (await getPayload(tx, keys, edit.arguments)) as JsonObject;
  return withEdit(step, args, edit.action, {
    request: edit.request,
    reviewer: edit.reviewer,
    reason: statement.reason,
    original: "edit" in step ? (step as EditedStep).edit.original : step,
  });
}

/** The same from an auditor's record, or undefined where these arguments make another action. */
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
