import { editBehind, editOf, subjectNames } from "../../approvals/index.ts";
import type { Digest } from "../../core/ids.ts";
import type { ActionSlice, Detected } from "../../policy/index.ts";
import type { PayloadKeys, Pool } from "../../store/index.ts";
import type { Detection } from "../decision/detection.ts";
import { changedMeanwhile } from "../decision/write-decisions.ts";
import type { RunContext } from "../governed-call.ts";
import type { ResolvedStep } from "../step/resolve.ts";
import type { Standing } from "../step/standing.ts";
import { editedStep } from "./edited.ts";

/**
 * What another detector says of a waiting call as reviewers have changed it by now. Of what they make of it before the transaction is open,
 * it tells nothing: it throws `already_recorded`, and the step is looked at again.
 */
export async function detectedInEdits(
  { pool, keys }: { readonly pool: Pool; readonly keys: PayloadKeys },
  detection: Detection,
  { run, step, standing }: { readonly run: RunContext; readonly step: ResolvedStep; readonly standing: Standing },
  slice: ActionSlice | undefined,
): Promise<(edited: ResolvedStep) => Detected | undefined> {
  const found = new Map<Digest, Detected | undefined>();
  const { lastApproval } = standing;
  if (detection.wants(slice) && standing.state === "waiting" && lastApproval !== null) {
    let changed = step;
    for (const edit of [await editBehind(pool, lastApproval), await editOf(pool, lastApproval)]) {
      if (edit === undefined) continue;
      const edited = await editedStep(pool, keys, changed, edit, subjectNames(run.input));
      if (edited === undefined) break;
      found.set(edited.actionDigest, await detection.ofStep(run.id, edited, slice));
      changed = edited;
    }
  }
  return ({ actionDigest }) => {
    if (detection.wants(slice) && !found.has(actionDigest)) throw changedMeanwhile();
    return found.get(actionDigest);
  };
}
