import { checkGrant, consumeGrant, expireRequest, requestById, subjectNames } from "../../approvals/index.ts";
import type { Approved } from "../../core/approved.ts";
import type { DenialCode } from "../../core/decision.ts";
import type { ApprovalId } from "../../core/ids.ts";
import type { ModelResult } from "../../core/transcript.ts";
import { appendToOutbox } from "../../ledger/index.ts";
import { contentDigest, inTransaction } from "../../store/index.ts";
import type { Tx } from "../../store/index.ts";
import { requestEnded } from "../approved/request-events.ts";
import { changedSince, declineText, expiryText, moreAskedText, shownOtherwise } from "../approved/texts.ts";
import { denial } from "../decision/judge.ts";
import type { DecideRemotely } from "../decision/remote.ts";
import { changedMeanwhile } from "../decision/write-decisions.ts";
import { GateError } from "../errors.ts";
import { lockHistory } from "../history/history.ts";
import { since } from "../moment.ts";
import type { GateOptions } from "../options.ts";
import type { Answered, Responded } from "./answered.ts";
import { answerFacts } from "./facts.ts";
import { unsettled } from "./judge.ts";
import type { AnswerJudge, Question } from "./judge.ts";
import { endWaiting } from "./record.ts";
import { effectiveIn, renderedOf } from "./result.ts";

type Waiting = {
  readonly question: Question;
  readonly waitedFor: ApprovalId;
  /** What time it is by now; all is decided as of the question's `at`. */
  readonly byNow: () => Date;
};

/** Decides on an answer that waited for people: the grant is checked, the policy in force is asked again, the grant is consumed. */
export function createAfterWaiting(
  options: GateOptions,
  { judge, locksFor, questionOf }: AnswerJudge,
  decideRemotely: DecideRemotely,
): (waiting: Omit<Answered, "answer">, grant: ApprovalId | undefined) => Promise<Responded> {
  async function refuse(tx: Tx, waiting: Waiting, code: DenialCode, text: string): Promise<Responded> {
    const { question, waitedFor } = waiting;
    // What is denied anyway is not asked about elsewhere.
    const judged = await judge(tx, { ...question, remote: undefined, detected: undefined }, []);
    return endWaiting(tx, question.answered, { ...judged, decision: denial(code, text) }, waitedFor);
  }

  async function decide(tx: Tx, waiting: Waiting): Promise<Responded> {
    const { question, waitedFor } = waiting;
    const { run, step, standing, answer } = question.answered;
    const found = await checkGrant(tx, {
      request: waitedFor,
      actionDigest: answerFacts(run, step, answer).response.action,
      run: run.id,
      seq: step.seq,
      now: standing.at,
      subject: subjectNames(run.input),
    });
    switch (found.status) {
      case "pending":
        return { status: "waiting", request: waitedFor, expiresAt: found.expiresAt.getTime() };
      case "denied":
        return refuse(tx, waiting, "declined", declineText(found.reason));
      case "expired":
        if (await expireRequest(tx, waitedFor, standing.at))
          await appendToOutbox(tx, [requestEnded(run, "expired", waitedFor, step.seq, standing.at)]);
        return refuse(tx, waiting, "approval_expired", expiryText(found.approved));
      case "cancelled":
      case "invalid":
        return refuse(tx, waiting, "invalid_grant", found.reason);
      case "granted":
        return useGrant(tx, waiting, found.approvals);
    }
  }

  async function useGrant(tx: Tx, waiting: Waiting, approved: readonly Approved[]): Promise<Responded> {
    const { question, waitedFor, byNow } = waiting;
    const { answered } = question;
    const { run, step, standing } = answered;
    const judged = await judge(tx, question, approved);
    if (judged.decision.outcome === "deny") return endWaiting(tx, answered, judged, waitedFor);
    if (judged.decision.outcome === "require_approval")
      return refuse(tx, waiting, "invalid_grant", moreAskedText(judged.decision, approved));
    const shown = await requestById(tx, waitedFor);
    // A remote decision point took its time: it is looked at again, as of now.
    if (shown !== undefined && shown.expiresAt <= byNow()) throw changedMeanwhile();
    if (standing.lastEffective !== (effectiveIn(answered, judged)?.digest ?? null))
      return refuse(tx, waiting, "invalid_grant", changedSince);
    if (shown?.rendered !== contentDigest(run.salt, renderedOf(answered, judged)))
      return refuse(tx, waiting, "invalid_grant", shownOtherwise);
    if (!(await consumeGrant(tx, waitedFor, standing.at)))
      return refuse(tx, waiting, "invalid_grant", "the approval was used before");
    await appendToOutbox(tx, [requestEnded(run, "consumed", waitedFor, step.seq, standing.at)]);
    return endWaiting(tx, answered, judged, waitedFor);
  }

  return async (waiting, grant) => {
    const { run, standing } = waiting;
    const { lastApproval: waitedFor, lastAnswer, policySet } = standing;
    if (policySet === null) throw new GateError("no_policy", `team \`${run.team}\` has no active policy set`);
    if (lastAnswer === null || waitedFor === null)
      throw new GateError("invalid_step", "the step does not wait for people to decide on its answer");
    const answer = (await options.cache.payload(lastAnswer)) as unknown as ModelResult;
    const locks = await locksFor(run, policySet);
    const question = await questionOf({ ...waiting, answer }, policySet);
    const asked = { question, waitedFor, byNow: since(question.at) };
    const isForeign = grant !== undefined && grant !== waitedFor;
    return decideRemotely(
      locks,
      (asking) =>
        inTransaction(options.pool, async (tx) => {
          await lockHistory(tx, locks);
          if (isForeign)
            return refuse(tx, asked, "invalid_grant", "the step does not wait for the approval that was presented");
          return decide(tx, { ...asked, question: { ...question, remote: asking?.told } });
        }),
      unsettled,
    );
  };
}
