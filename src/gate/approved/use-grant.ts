import { cancelRequest, consumeGrant } from "../../approvals/index.ts";
import type { Approved } from "../../core/approved.ts";
import { noAmounts } from "../../core/budget.ts";
import type { BudgetFacts, Exhausted } from "../../core/budget.ts";
import type { ApprovalId, Digest } from "../../core/ids.ts";
import type { JsonObject } from "../../core/json.ts";
import { faultPoint } from "../../faults/index.ts";
import { appendToOutbox } from "../../ledger/index.ts";
import { contentDigest, sealPayload, writeSealed } from "../../store/index.ts";
import type { Tx } from "../../store/index.ts";
import { extendBudgets } from "../budgets/budgets.ts";
import { exhaustedBy } from "../decision/asked.ts";
import { effectiveOf, refuse, writeDecided } from "../decision/decided.ts";
import type { Decided } from "../decision/decided.ts";
import type { Deciding } from "../decision/deciding.ts";
import { judge } from "../decision/judge.ts";
import type { Judged } from "../decision/judge.ts";
import { changedMeanwhile } from "../decision/write-decisions.ts";
import { sealingIn } from "../governed-call.ts";
import type { RunContext } from "../governed-call.ts";
import { askPeople } from "./ask-people.ts";
import { editIn } from "./edit.ts";
import { givenBeyond, renderCall } from "./rendered.ts";
import { requestEnded } from "./request-events.ts";
import { changedSince, moreAskedText, shownOtherwise } from "./texts.ts";

/**
 * People have approved it: the policies and budgets are asked again, and what people were shown has to be this very call still. Then the grant is
 * consumed in the transaction that allows; what does not hold is denied, or asked about anew where only budgets have changed.
 */
export async function useGrant(
  tx: Tx,
  deciding: Deciding,
  approval: ApprovalId,
  approved: readonly Approved[],
): Promise<Decided> {
  const { run, step, standing, at } = deciding;
  const judged = await judge(tx, deciding.count, deciding, approved);
  if (judged.decision.outcome === "deny") return writeDecided(tx, deciding, judged, approval);
  const shown = await shownTo(tx, approval);
  const isShort = isSpentSince(run, judged, shown);
  if (isShort && judged.policyDecision.outcome === "allow" && editIn(step) === undefined)
    return askAgain(tx, deciding, approval);
  if (isShort || judged.decision.outcome === "require_approval") {
    return refuse(tx, deciding, "invalid_grant", moreAsked(judged, approved), approval);
  }
  const effective = effectiveOf(deciding, judged);
  if (standing.lastEffective !== (effective === undefined ? null : contentDigest(run.salt, effective))) {
    return refuse(tx, deciding, "invalid_grant", changedSince, approval);
  }
  if (!isShownAsMade(deciding, shown, judged.effective))
    return refuse(tx, deciding, "invalid_grant", shownOtherwise, approval);
  if (hasRunOut(deciding, shown.expiresAt)) throw changedMeanwhile();
  if (!(await faultPoint("approval.consume", () => consumeGrant(tx, approval, at)))) {
    return refuse(tx, deciding, "invalid_grant", "the approval was used before", approval);
  }
  await appendToOutbox(tx, [requestEnded(run, "consumed", approval, step.seq, at)]);
  if (judged.exhausted.length === 0) return writeDecided(tx, deciding, judged, approval);
  // Contents before budgets, as every decision locks them.
  if (effective !== undefined) await writeSealed(tx, [sealPayload(sealingIn(run), effective)]);
  const extension = { run, seq: step.seq, standing, exhausted: judged.exhausted, approval, now: at };
  return writeDecided(tx, { ...deciding, standing: await extendBudgets(tx, extension) }, judged, approval);
}

/** Whether it holds as of the decision and no longer: a remote decision point took its time. It is looked at again then, as of now. */
function hasRunOut({ now }: Deciding, expiresAt: Date | undefined): boolean {
  return expiresAt !== undefined && expiresAt <= now();
}

/** What people were shown before they approved: the text's digest, and the budgets that had no room when they were asked. */
type Shown = {
  readonly rendered: Digest | undefined;
  readonly exhausted: readonly Exhausted[];
  readonly expiresAt: Date | undefined;
};

async function shownTo(tx: Tx, approval: ApprovalId): Promise<Shown> {
  const { rows } = await tx.query<{ rendered: Digest; budget: BudgetFacts | null; expiresAt: Date }>(
    `select request.rendered, asked.facts -> 'budget' as budget, request.expires_at as "expiresAt"
     from approval_request request
     join decision asked on asked.run = request.run and asked.approval = request.id and asked.outcome = 'require_approval'
     where request.id = $1`,
    [approval],
  );
  const { rendered, expiresAt, budget } = rows[0] ?? {};
  return { rendered, expiresAt, exhausted: exhaustedBy(budget ?? undefined) };
}

/** Whether the step needs more beyond budgets than the people who approved it were shown. */
function isSpentSince(run: RunContext, { exhausted: over }: Judged, shown: Shown): boolean {
  const before = new Map(shown.exhausted.map((one) => [one.name, givenBeyond(run, one)]));
  return over.some((one) => {
    const [now, then] = [givenBeyond(run, one), before.get(one.name) ?? noAmounts];
    return now.microUsd > then.microUsd || now.tokens > then.tokens || now.calls > then.calls;
  });
}

/** Whether reviewers were shown this very call: the text is made again, with what the budgets lacked when they were asked. */
function isShownAsMade(
  { run, step }: Deciding,
  { rendered, exhausted }: Shown,
  effective: JsonObject | undefined,
): boolean {
  return rendered === contentDigest(run.salt, renderCall(run, step, { effective, exhausted }));
}

/** What was approved is out of date, and nothing of it is used: the run waits until people have seen how its budgets stand now. */
async function askAgain(tx: Tx, deciding: Deciding, approval: ApprovalId): Promise<Decided> {
  const { run, step, at } = deciding;
  await cancelRequest(tx, approval);
  await appendToOutbox(tx, [requestEnded(run, "cancelled", approval, step.seq, at)]);
  const judged = await judge(tx, deciding.count, deciding, []);
  return judged.decision.outcome === "require_approval"
    ? askPeople(tx, deciding, judged)
    : writeDecided(tx, deciding, judged, undefined);
}

/** Why an approval does not do any more: a budget was spent meanwhile, or the policies ask for something else. */
function moreAsked({ policyDecision, exhausted }: Judged, approved: readonly Approved[]): string {
  if (policyDecision.outcome === "require_approval" || exhausted.length === 0)
    return moreAskedText(policyDecision, approved);
  return `since the approval, ${exhausted.map(({ reason }) => reason.text).join("; ")}`;
}
