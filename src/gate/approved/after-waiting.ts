import { checkGrant, editBehind, editOf, expireRequest, requestById, subjectNames } from "../../approvals/index.ts";
import type { Edit } from "../../approvals/index.ts";
import { isBudgetPolicy } from "../../core/budget.ts";
import type { ApprovalId } from "../../core/ids.ts";
import { appendToOutbox } from "../../ledger/index.ts";
import type { Tx } from "../../store/index.ts";
import { refuse } from "../decision/decided.ts";
import type { Decided } from "../decision/decided.ts";
import type { Deciding } from "../decision/deciding.ts";
import { judge } from "../decision/judge.ts";
import { conclude } from "./ask-people.ts";
import { editedStep } from "./edited.ts";
import { requestEnded } from "./request-events.ts";
import { declineText, expiryText } from "./texts.ts";
import { useGrant } from "./use-grant.ts";

/**
 * The step waited for people, or says that it did. Which request it waits for is taken from the record; a workflow that names another
 * is denied. The grant is checked, the policy is asked again, and the grant is consumed in the transaction that allows.
 */
export async function decideAfterWaiting(tx: Tx, deciding: Deciding): Promise<Decided> {
  const { standing, grant: presented } = deciding;
  const waitedFor = standing.state === "waiting" ? standing.lastApproval : null;
  if (waitedFor === null || (presented !== undefined && presented !== waitedFor)) {
    const text = "the step does not wait for the approval that was presented";
    return refuse(tx, deciding, "invalid_grant", text, presented);
  }
  const behind = await editBehind(tx, waitedFor);
  if (behind === undefined) return decideRequested(tx, deciding, waitedFor);
  const edited = await onEdit(tx, deciding, behind);
  return edited === undefined
    ? refuse(tx, deciding, "invalid_grant", unheldEdit, waitedFor)
    : decideRequested(tx, edited, waitedFor);
}

const unheldEdit =
  "a reviewer had changed the call, and that change does not hold: it is taken back, and nothing was done, neither as they had it nor as you asked";

/** The same for the call as a reviewer changed it; undefined where what they signed does not hold. */
async function onEdit(tx: Tx, deciding: Deciding, edit: Edit): Promise<Deciding | undefined> {
  const step = await editedStep(tx, deciding.keys, deciding.step, edit, subjectNames(deciding.run.input));
  // A candidate is asked about calls as agents make them.
  if (step === undefined) return undefined;
  return { ...deciding, step, detected: deciding.detectedEdited(step), beside: () => undefined };
}

async function decideRequested(tx: Tx, deciding: Deciding, waitedFor: ApprovalId): Promise<Decided> {
  const { run, step, at } = deciding;
  const grant = await checkGrant(tx, {
    request: waitedFor,
    actionDigest: step.actionDigest,
    run: run.id,
    seq: step.seq,
    now: at,
    subject: subjectNames(run.input),
  });
  switch (grant.status) {
    case "pending":
      return { status: "waiting", request: waitedFor, expiresAt: grant.expiresAt.getTime() };
    case "denied":
      return unlessBudget(tx, waitedFor, await refuse(tx, deciding, "declined", declineText(grant.reason), waitedFor));
    case "expired":
      if (await expireRequest(tx, waitedFor, at))
        await appendToOutbox(tx, [requestEnded(run, "expired", waitedFor, step.seq, at)]);
      return unlessBudget(
        tx,
        waitedFor,
        await refuse(tx, deciding, "approval_expired", expiryText(grant.approved), waitedFor),
      );
    case "cancelled":
      return decideEdited(tx, deciding, waitedFor, grant.reason);
    case "invalid":
      return refuse(tx, deciding, "invalid_grant", grant.reason, waitedFor);
    case "granted":
      return useGrant(tx, deciding, waitedFor, grant.approvals);
  }
}

/** A request that an edit ended: the new action is decided on as any other, with no approval given. */
async function decideEdited(tx: Tx, deciding: Deciding, request: ApprovalId, reason: string): Promise<Decided> {
  const edit = await editOf(tx, request);
  if (edit === undefined) return refuse(tx, deciding, "invalid_grant", reason, request);
  const edited = await onEdit(tx, deciding, edit);
  if (edited === undefined) return refuse(tx, deciding, "invalid_grant", unheldEdit, request);
  return conclude(tx, edited, await judge(tx, deciding.count, edited, []));
}

/** Where nobody gave more room, the run ends as one that has none. */
async function unlessBudget(tx: Tx, approval: ApprovalId, refused: Decided): Promise<Decided> {
  const request = await requestById(tx, approval);
  if (refused.status !== "denied" || request === undefined) return refused;
  if (!request.requirements.every(({ policy }) => isBudgetPolicy(policy))) return refused;
  return { status: "halted", code: "limit_cost", message: `a budget is used up: ${refused.text}` };
}
