import { barredFrom, openRequest, subjectNames } from "../../approvals/index.ts";
import type { ApprovalId } from "../../core/ids.ts";
import type { LedgerEvent } from "../../core/ledger-event.ts";
import { appendToOutbox } from "../../ledger/index.ts";
import { sealPayload, writeSealed } from "../../store/index.ts";
import type { Tx } from "../../store/index.ts";
import { requestedEvent } from "../approved/request-events.ts";
import { noneSettled } from "../budgets/attempts.ts";
import { outcomeEvent, writeOutcome } from "../effects/outcome.ts";
import type { OutcomeToRecord } from "../effects/outcome.ts";
import { sealingIn } from "../governed-call.ts";
import type { Answered, Responded, Settled } from "./answered.ts";
import type { Judged } from "./judge.ts";
import { effectiveIn, renderedOf, resultOf, sealedAnswer } from "./result.ts";
import { answerAgain, writeAnswerDecision } from "./write-decision.ts";

/** Writes how the call ended, with what was decided on its answer: it goes further, is withheld, or people are asked. */
export async function recordAnswer(tx: Tx, answered: Answered, judged: Judged, settled: Settled): Promise<Responded> {
  const { run, step } = answered;
  const result = resultOf(answered, judged);
  // The answer itself is kept, whatever goes further: without it nobody could decide again.
  const others = [effectiveIn(answered, judged), result].filter((sealed) => sealed !== undefined);
  await writeSealed(tx, [sealedAnswer(answered), ...others]);
  const outcome: OutcomeToRecord = {
    run,
    seq: step.seq,
    state: result === undefined ? "waiting" : "done",
    result: result?.digest,
    ...settled,
    now: new Date(judged.facts.at),
  };
  if (!(await writeOutcome(tx, outcome))) return { status: "superseded" };
  if (result === undefined) return askPeople(tx, answered, judged);
  await decided(tx, answered, judged, undefined, [outcomeEvent(outcome)]);
  return { status: "recorded", result };
}

/** The end of an answer that waited: it goes further, or what stands in its place does. */
export async function endWaiting(tx: Tx, answered: Answered, judged: Judged, approval: ApprovalId): Promise<Responded> {
  const result = resultOf(answered, judged);
  if (result === undefined) throw new TypeError("an answer that waited is decided on for good");
  await writeSealed(tx, [result]);
  const now = new Date(judged.facts.at);
  const taken = await answerAgain(tx, { ...answered, result: result.digest, now });
  const outcome = { run: answered.run, seq: answered.step.seq, state: "done", result: result.digest, now } as const;
  await decided(tx, answered, judged, approval, [outcomeEvent({ ...outcome, taken, before: noneSettled })]);
  return { status: "recorded", result };
}

async function askPeople(tx: Tx, answered: Answered, judged: Judged): Promise<Responded> {
  const { run, step } = answered;
  const { decision, facts, policySet } = judged;
  if (decision.outcome !== "require_approval") throw new TypeError("only a decision that asks for people asks them");
  const now = new Date(facts.at);
  const rendered = sealPayload(sealingIn(run), renderedOf(answered, judged));
  await writeSealed(tx, [rendered]);
  const expiresAt = new Date(now.getTime() + Math.min(...decision.requirements.map(({ expiresMs }) => expiresMs)));
  const asked = {
    run: run.id,
    seq: step.seq,
    team: run.team,
    action: facts.response.action,
    name: "response",
    rendered: rendered.digest,
    requirements: decision.requirements,
    policySet,
    openedAt: now,
    expiresAt,
    barred: await barredFrom(tx, run.id, subjectNames(run.input)),
  };
  const request = await openRequest(tx, asked);
  await decided(tx, answered, judged, request, [requestedEvent(run, request, asked)]);
  return { status: "waiting", request, expiresAt: expiresAt.getTime() };
}

async function decided(
  tx: Tx,
  answered: Answered,
  judged: Judged,
  approval: ApprovalId | undefined,
  others: readonly LedgerEvent[],
): Promise<void> {
  const { run, step, activity } = answered;
  const { decision, facts, policySet, request } = judged;
  const effective = effectiveIn(answered, judged)?.digest;
  const row = { run, step, activity, decision, facts, policySet, request, approval, effective };
  await appendToOutbox(tx, [await writeAnswerDecision(tx, row), ...others]);
}
