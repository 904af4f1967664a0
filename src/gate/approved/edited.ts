import { heldEdit, requestById } from "../../approvals/index.ts";
import type { Edit } from "../../approvals/index.ts";
import type { JsonObject } from "../../core/json.ts";
import { getPayload } from "../../store/index.ts";
import type { PayloadKeys, Tx } from "../../store/index.ts";
import type { ResolvedStep } from "../step/resolve.ts";
import { withEdit } from "./edit.ts";
import type { EditedStep } from "./edit.ts";

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
