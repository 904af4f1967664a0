import type { Approved } from "../../core/approved.ts";
import type { Decision, HistoryFact, RunFacts } from "../../core/decision.ts";
import type { Digest } from "../../core/ids.ts";
import type { DataClass } from "../../core/labels.ts";
import type { ModelResult } from "../../core/transcript.ts";
import { explain, noAnswer, requestJson, responseAction as responseActionName } from "../../policy/index.ts";
import type { Detected, RemoteAnswer } from "../../policy/index.ts";
import { contentDigest } from "../../store/index.ts";
import type { Tx } from "../../store/index.ts";
import { policyRequestOf } from "../decision/asked.ts";
import { createDetection } from "../decision/detection.ts";
import { alsoRemotely, denial, standingFacts, undetected } from "../decision/judge.ts";
import { policiesFor } from "../decision/policies.ts";
import type { Answering } from "../decision/remote.ts";
import type { RunContext } from "../governed-call.ts";
import { tryCount, wideLocks } from "../history/history.ts";
import type { HistoryCounter, HistoryLock } from "../history/history.ts";
import { moment } from "../moment.ts";
import type { GateOptions } from "../options.ts";
import type { Answered } from "./answered.ts";
import { answerFacts, redactionOf } from "./facts.ts";

/** What is known of an answer before it is judged. */
export type Question = {
  readonly answered: Answered;
  readonly policySet: Digest;
  readonly detected: Detected | undefined;
  readonly at: Date;
  /** A decision point that is asked too, and can only deny more; undefined: none. */
  readonly remote: Answering | undefined;
};

export type Judged = {
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
export function unsettled(): RemoteAnswer {
  return noAnswer("was asked again and again, and what it decides by had changed each time");
}

/** How answers are judged, and what has to be known and locked before. */
export type AnswerJudge = ReturnType<typeof createAnswerJudge>;

export function createAnswerJudge(options: GateOptions, count: HistoryCounter) {
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

  /** All that is asked over the network, but for a remote decision point, and the time. */
  async function questionOf(answered: Answered, policySet: Digest): Promise<Question> {
    const detected = await detectedIn(answered.run, policySet, answered.answer);
    return { answered, policySet, detected, at: await moment(pool, options.clock), remote: undefined };
  }

  /** Asks the engine about the answer, with approvals given. */
  async function judge(
    tx: Tx,
    { answered, policySet, detected, at, remote }: Question,
    approved: readonly Approved[],
  ): Promise<Judged> {
    const { run, step } = answered;
    const policies = await policiesFor(pool, policySet, run);
    const slice = policies?.slices.get(responseActionName);
    const counted = slice?.history ?? [];
    const history = await tryCount(tx, count, { run, seq: step.seq, now: at, facts: counted });
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
    const decision = await alsoRemotely(slice === undefined ? undefined : remote, local, made);
    const digest = request === undefined ? facts.response.action : contentDigest(run.salt, requestJson(request, facts));
    const judged = { decision, policyDecision: local, counted, facts, policySet, request: digest };
    // What obligations make of an answer is an answer.
    return effective === undefined || decision.outcome === "deny"
      ? judged
      : { ...judged, effective: effective as unknown as ModelResult };
  }

  /** All that needs no counting. */
  function factsOf({ run, step, standing, answer }: Answered, at: Date): Judged["facts"] {
    const known = standingFacts(standing, options.environment, at);
    return { ...known, history: {}, ...answerFacts(run, step, answer) };
  }

  return { governs, locksFor, questionOf, judge, factsOf };
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
