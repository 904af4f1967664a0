import {
  barredFrom,
  checkGrant,
  consumeGrant,
  expireRequest,
  openRequest,
  requestById,
  subjectNames,
} from "../../approvals/index.ts";
import type { Approved } from "../../core/approved.ts";
import type { DenialCode, Decision, HistoryFact, RunFacts } from "../../core/decision.ts";
import { codeOf } from "../../core/errors.ts";
import type { ApprovalId, Digest } from "../../core/ids.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import type { DataClass } from "../../core/labels.ts";
import type { LedgerEvent } from "../../core/ledger-event.ts";
import { unsentAnswer, withheldAnswer } from "../../core/transcript.ts";
import type { ModelResult } from "../../core/transcript.ts";
import { appendToOutbox } from "../../ledger/index.ts";
import {
  explain,
  narrowed,
  noAnswer,
  requestJson,
  responseAction as responseActionName,
  verdictOf,
} from "../../policy/index.ts";
import type { Detected, RemoteAnswer } from "../../policy/index.ts";
import { contentDigest, inTransaction, sealPayload, writeSealed } from "../../store/index.ts";
import type { SealedPayload, Tx } from "../../store/index.ts";
import { withProblem } from "./fit.ts";
import { isShadow, policyRequestOf } from "../decision/asked.ts";
import { changedSince, expiryText, moreAskedText, shownOtherwise } from "../approved/texts.ts";
import { denialText } from "../decision/decided.ts";
import type { GateOptions } from "../options.ts";
import { noneSettled } from "../budgets/attempts.ts";
import { createDetection } from "../decision/detection.ts";
import { GateError } from "../errors.ts";
import { sealingIn } from "../governed-call.ts";
import type { RunContext } from "../governed-call.ts";
import { lockHistory, wideLocks } from "../history/history.ts";
import type { HistoryCounter, HistoryLock } from "../history/history.ts";
import { denial, policiesFor, undetected } from "../decision/judge.ts";
import { moment, since } from "../moment.ts";
import { outcomeEvent, settling, writeOutcome } from "../effects/outcome.ts";
import type { OutcomeToRecord } from "../effects/outcome.ts";
import type { Standing } from "../step/record.ts";
import { answerAgain, writeAnswerDecision } from "./write-decision.ts";
import type { Answering, DecideRemotely } from "../decision/remote.ts";
import { renderAnswer } from "../approved/rendered.ts";
import { requestedEvent } from "../approved/requested-event.ts";
import type { ResolvedModelStep } from "../step/resolve.ts";
import { answerFacts, redactionOf } from "./facts.ts";
import { runEvent } from "../run/event.ts";
import type { Shadow } from "../decision/shadow.ts";
import { changedMeanwhile } from "../decision/write-decisions.ts";

/** A model's answer that has not gone anywhere yet. */
export type Answered = {
  readonly run: RunContext;
  readonly step: ResolvedModelStep;
  readonly standing: Standing;
  readonly activity: string;
  readonly answer: ModelResult;
};

export type Responded =
  /** `result` is what goes further: the answer, or what stands in its place. */
  | { readonly status: "recorded"; readonly result: SealedPayload }
  | { readonly status: "waiting"; readonly request: ApprovalId; readonly expiresAt: number }
  | { readonly status: "superseded" };

/** What the call took, and what was known before of where that is settled. */
type Settled = Pick<OutcomeToRecord, "taken" | "before">;

/** SQLSTATE of a lock that was not had in time, and how often it is tried. */
const lockTimeout = "55P03";
const lockAttempts = 3;

/** What is known of an answer before it is judged. */
type Question = {
  readonly answered: Answered;
  readonly policySet: Digest;
  readonly detected: Detected | undefined;
  readonly at: Date;
  /** A decision point that is asked too, and can only deny more; undefined: none. */
  readonly remote: Answering | undefined;
};

type Judged = {
  readonly decision: Decision;
  /** What the policies alone say. */
  readonly policyDecision: Decision;
  /** The answer as it may go further, where obligations change it. */
  readonly effective?: ModelResult;
  readonly counted: readonly HistoryFact[];
  readonly facts: RunFacts & { readonly response: NonNullable<RunFacts["response"]> };
  readonly policySet: Digest;
  readonly request: Digest;
};

/** Others have changed each time what it goes by. The model has been paid, so it is withheld, and not asked for again. */
function unsettled(): RemoteAnswer {
  return noAnswer("was asked again and again, and what it decides by had changed each time");
}

/**
 * The third part of a model's step, where policies speak of answers: what the model said is decided on before it is the step's result, in the
 * transaction that records how the call ended. Until then nobody has it: no tool, no user, no later turn. The set that allowed the call
 * says whether its answer is decided on, so that an auditor knows which answers need a decision.
 */
export function createResponses(
  options: GateOptions,
  shadow: Shadow,
  count: HistoryCounter,
  decideRemotely: DecideRemotely,
) {
  const { pool } = options;
  const detection = createDetection(options.detector);

  /** Policies that cannot be read may have spoken of answers: the answer is decided on then, and denied. */
  async function governs(run: RunContext, policySet: Digest): Promise<boolean> {
    const policies = await policiesFor(pool, policySet, run);
    return policies?.slices.has(responseActionName) ?? true;
  }

  /** What has to be locked before an answer is judged, as before a call is: what is counted then stays true until it is recorded. */
  async function locksFor(run: RunContext, policySet: Digest): Promise<readonly HistoryLock[]> {
    const policies = await policiesFor(pool, policySet, run);
    if (policies === undefined) return [];
    const slice = policies.slices.get(responseActionName);
    const reads = new Set((slice?.history ?? []).map(({ name }) => name));
    // No fact counts answers.
    return wideLocks(policies.history, { actions: [], reads }, run);
  }

  async function detectedIn(run: RunContext, policySet: Digest, answer: ModelResult): Promise<Detected | undefined> {
    const policies = await policiesFor(pool, policySet, run);
    return detection.ofAnswer(answer, policies?.slices.get(responseActionName));
  }

  async function judge(
    tx: Tx,
    { answered, policySet, detected, at, remote }: Question,
    approved: readonly Approved[],
  ): Promise<Judged> {
    const { run, step } = answered;
    const policies = await policiesFor(pool, policySet, run);
    const slice = policies?.slices.get(responseActionName);
    const counted = slice?.history ?? [];
    const history = await countFor(tx, answered, counted, at);
    const known = { ...factsOf(answered, at), history: history ?? {} };
    const denied = (decision: Decision): Judged => {
      const request = known.response.action;
      return { decision, policyDecision: decision, counted, facts: known, policySet, request };
    };
    const undecidable = (text: string): Judged => denied(denial("undecidable", text));
    if (policies === undefined) return undecidable("the policies in force do not fit the tools of this release");
    if (history === undefined) return undecidable("what the policies want counted cannot be counted");
    if (detected?.status === "failed") return denied(undetected(detected.reason).decision);
    const facts = { ...known, ...(detected === undefined ? {} : foundIn(detected, slice?.redacts ?? [])) };
    const asked = policyRequestOf(run, step, facts, redactionOf(run, step, answered.answer));
    const { decision: local, request, effective, made = asked } = explain(policies, asked, approved);
    const decision =
      remote === undefined || local.outcome === "deny" || slice === undefined
        ? local
        : narrowed(local, await remote(made));
    const digest = request === undefined ? facts.response.action : contentDigest(run.salt, requestJson(request, facts));
    const judged = { decision, policyDecision: local, counted, facts, policySet, request: digest };
    // What obligations make of an answer is an answer.
    return effective === undefined || decision.outcome === "deny"
      ? judged
      : { ...judged, effective: effective as unknown as ModelResult };
  }

  /** All that needs no counting. */
  function factsOf({ run, step, standing, answer }: Answered, at: Date): Judged["facts"] {
    return {
      at: at.toISOString(),
      environment: options.environment,
      requester: { roles: standing.requesterRoles, groups: standing.requesterGroups },
      steps: standing.steps,
      spentMicroUsd: standing.spentMicroUsd,
      sameName: standing.sameName,
      sameNameApproved: standing.sameNameApproved,
      approvals: standing.approvals,
      history: {},
      ...answerFacts(run, step, answer),
    };
  }

  /** An answer that no policy in force speaks of goes further as it is; a candidate may think otherwise. */
  function letThrough(answered: Answered): void {
    const actual = verdictOf({ outcome: "allow", policies: [] });
    const at = options.now();
    const { run, step } = answered;
    shadow.beside({
      run,
      step,
      isAnswer: true,
      redacted: redactionOf(run, step, answered.answer),
      facts: () => factsOf(answered, at),
      counted: [],
      actual,
      unasked: true,
    });
  }

  async function countFor(
    tx: Tx,
    { run, step }: Answered,
    facts: readonly HistoryFact[],
    now: Date,
  ): Promise<RunFacts["history"] | undefined> {
    if (facts.length === 0) return {};
    try {
      return await count(tx, { run, seq: step.seq, now, facts });
    } catch (error) {
      if (codeOf(error) === "history_uncountable") return undefined;
      throw error;
    }
  }

  /** All that is asked over the network, but for a remote decision point, and the time. */
  async function questionOf(answered: Answered, policySet: Digest): Promise<Question> {
    const detected = await detectedIn(answered.run, policySet, answered.answer);
    return { answered, policySet, detected, at: await moment(pool, options.clock), remote: undefined };
  }

  /** Decides on an answer that has just come, and records how its call ended. */
  async function first(answered: Answered, policySet: Digest, settled: Settled): Promise<Responded> {
    const locks = await locksFor(answered.run, policySet);
    const question = await questionOf(answered, policySet);
    return decideRemotely(
      locks,
      async (asking) => {
        if (locks.length > 0) return whileLocked({ ...question, remote: asking?.told }, settled, locks);
        const judged = await judge(pool, { ...question, remote: asking?.ask }, []);
        decideBeside(answered, judged);
        return settledIn(answered, settled, (tx, known) => record(tx, answered, judged, known));
      },
      unsettled,
    );
  }

  /** The model has been paid for its answer: it is not asked again because others decide for long. */
  async function whileLocked(question: Question, settled: Settled, locks: readonly HistoryLock[]): Promise<Responded> {
    const { answered } = question;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await settledIn(answered, settled, async (tx, known) => {
          await lockHistory(tx, locks);
          const judged = await judge(tx, question, []);
          const recorded = await record(tx, answered, judged, known);
          decideBeside(answered, judged);
          return recorded;
        });
      } catch (error) {
        if (codeOf(error) !== lockTimeout || attempt === lockAttempts) throw error;
      }
    }
  }

  function settledIn(
    { run, step }: Answered,
    { taken, before: known }: Settled,
    write: (tx: Tx, settled: Settled) => Promise<Responded>,
  ): Promise<Responded> {
    return settling(pool, { run: run.id, seq: step.seq, before: known }, (before) =>
      inTransaction(pool, (tx) => write(tx, { taken, before })),
    );
  }

  function decideBeside({ run, step, answer }: Answered, judged: Judged): void {
    const { policyDecision, effective, facts, counted } = judged;
    const actual = verdictOf(policyDecision, effective as unknown as JsonObject | undefined);
    const redacted = redactionOf(run, step, answer);
    shadow.beside({ run, step, isAnswer: true, redacted, facts: () => facts, counted, actual });
  }

  async function record(tx: Tx, answered: Answered, judged: Judged, settled: Settled): Promise<Responded> {
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

  /** Decides on an answer that waited for people: the grant is checked, the policy in force is asked again, the grant is consumed. */
  async function again(waiting: Omit<Answered, "answer">, grant: ApprovalId | undefined): Promise<Responded> {
    const { run, step, standing } = waiting;
    const { lastApproval: waitedFor, lastAnswer, policySet, at: now } = standing;
    if (policySet === null) throw new GateError("no_policy", `team \`${run.team}\` has no active policy set`);
    if (lastAnswer === null || waitedFor === null)
      throw new GateError("invalid_step", "the step does not wait for people to decide on its answer");
    const answer = (await options.cache.payload(lastAnswer)) as unknown as ModelResult;
    const answered = { ...waiting, answer };
    const locks = await locksFor(run, policySet);
    const question = await questionOf(answered, policySet);
    const byNow = since(question.at);
    const decide = async (tx: Tx, remote: Answering | undefined): Promise<Responded> => {
      await lockHistory(tx, locks);
      const refuse = async (code: DenialCode, text: string): Promise<Responded> => {
        const judged = await judge(tx, { ...question, detected: undefined }, []);
        return end(tx, answered, { ...judged, decision: denial(code, text) }, waitedFor);
      };
      if (grant !== undefined && grant !== waitedFor)
        return refuse("invalid_grant", "the step does not wait for the approval that was presented");
      const actionDigest = answerFacts(run, step, answer).response.action;
      const found = await checkGrant(tx, {
        request: waitedFor,
        actionDigest,
        run: run.id,
        seq: step.seq,
        now,
        subject: subjectNames(run.input),
      });
      switch (found.status) {
        case "pending":
          return { status: "waiting", request: waitedFor, expiresAt: found.expiresAt.getTime() };
        case "denied":
          return refuse(
            "declined",
            found.reason === "" ? "a reviewer declined" : `a reviewer declined: ${found.reason}`,
          );
        case "expired":
          if (await expireRequest(tx, waitedFor, now)) {
            const facts = { approval: waitedFor, seq: step.seq };
            await appendToOutbox(tx, [runEvent(run, "approval.expired", `approval/${waitedFor}/expired`, now, facts)]);
          }
          return refuse("approval_expired", expiryText(found.approved));
        case "cancelled":
        case "invalid":
          return refuse("invalid_grant", found.reason);
        case "granted": {
          const judged = await judge(tx, { ...question, remote }, found.approvals);
          if (judged.decision.outcome === "deny") return end(tx, answered, judged, waitedFor);
          if (judged.decision.outcome === "require_approval")
            return refuse("invalid_grant", moreAskedText(judged.decision, found.approvals));
          const shown = await requestById(tx, waitedFor);
          // A remote decision point took its time: it is looked at again, as of now.
          if (shown !== undefined && shown.expiresAt <= byNow()) throw changedMeanwhile();
          if (standing.lastEffective !== (effectiveIn(answered, judged)?.digest ?? null))
            return refuse("invalid_grant", changedSince);
          if (shown?.rendered !== contentDigest(run.salt, renderedOf(answered, judged)))
            return refuse("invalid_grant", shownOtherwise);
          if (!(await consumeGrant(tx, waitedFor, now))) return refuse("invalid_grant", "the approval was used before");
          const facts = { approval: waitedFor, seq: step.seq };
          await appendToOutbox(tx, [runEvent(run, "approval.consumed", `approval/${waitedFor}/consumed`, now, facts)]);
          return end(tx, answered, judged, waitedFor);
        }
      }
    };
    return decideRemotely(locks, (asking) => inTransaction(pool, (tx) => decide(tx, asking?.told)), unsettled);
  }

  /** The end of an answer that waited: it goes further, or what stands in its place does. */
  async function end(tx: Tx, answered: Answered, judged: Judged, approval: ApprovalId): Promise<Responded> {
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

  function sealedAnswer({ run, answer }: Answered): SealedPayload {
    return sealPayload(sealingIn(run), answer as unknown as Json);
  }

  /** What obligations make of the answer, where they change it. */
  function effectiveIn({ run }: Answered, { decision, effective }: Judged): SealedPayload | undefined {
    if (effective === undefined || decision.outcome === "deny") return undefined;
    return sealPayload(sealingIn(run), effective as unknown as Json);
  }

  /** What people are asked about: the answer as it would go further. */
  function renderedOf({ step, answer }: Answered, { facts, effective }: Judged): string {
    return renderAnswer(step, answer, facts.response.answer, effective);
  }

  function unsentIn({ run }: Answered): ModelResult {
    return withProblem(unsentAnswer, run.release.document.output);
  }

  /** Undefined while people are asked. */
  function resultOf(answered: Answered, judged: Judged): SealedPayload | undefined {
    const { decision } = judged;
    switch (decision.outcome) {
      case "allow":
        return isShadow(decision)
          ? sealPayload(sealingIn(answered.run), unsentIn(answered) as unknown as Json)
          : (effectiveIn(answered, judged) ?? sealedAnswer(answered));
      case "deny":
        return sealPayload(sealingIn(answered.run), withheldAnswer(denialText(decision)) as unknown as Json);
      case "require_approval":
        return undefined;
    }
  }

  return { governs, letThrough, first, again };
}

/** What is recorded of what another detector found: where, of what is redacted. */
function foundIn(
  { classes, places = [] }: Extract<Detected, { readonly status: "found" }>,
  redacts: readonly DataClass[],
): Pick<RunFacts, "detected" | "detectedAt"> {
  const wanted = places.filter(({ name }) => redacts.includes(name));
  const isFew = wanted.length > 0 && wanted.length <= maxPlaces;
  return { detected: classes, ...(isFew ? { detectedAt: wanted } : {}) };
}

/** Places that are recorded with a decision; of an answer with more, nothing that another detector found is redacted. */
const maxPlaces = 500;
