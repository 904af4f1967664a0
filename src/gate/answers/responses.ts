import { codeOf } from "../../core/errors.ts";
import type { Digest } from "../../core/ids.ts";
import type { JsonObject } from "../../core/json.ts";
import { verdictOf } from "../../policy/index.ts";
import { inTransaction } from "../../store/index.ts";
import type { Tx } from "../../store/index.ts";
import type { DecideRemotely } from "../decision/remote.ts";
import type { Shadow } from "../decision/shadow.ts";
import { settling } from "../effects/outcome.ts";
import { lockHistory } from "../history/history.ts";
import type { HistoryCounter, HistoryLock } from "../history/history.ts";
import type { GateOptions } from "../options.ts";
import { lockTimeout } from "../sqlstate.ts";
import { createAfterWaiting } from "./after-waiting.ts";
import type { Answered, Responded, Settled } from "./answered.ts";
import { redactionOf } from "./facts.ts";
import { createAnswerJudge, unsettled } from "./judge.ts";
import type { Judged, Question } from "./judge.ts";
import { recordAnswer } from "./record.ts";

/** How often a lock that was not had in time is tried. */
const lockAttempts = 3;

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
  const judging = createAnswerJudge(options, count);
  const { locksFor, questionOf, judge, factsOf } = judging;

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
        return settledIn(answered, settled, (tx, known) => recordAnswer(tx, answered, judged, known));
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
          const recorded = await recordAnswer(tx, answered, judged, known);
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

  function decideBeside({ run, step, answer }: Answered, judged: Judged): void {
    const { policyDecision, effective, facts, counted } = judged;
    const actual = verdictOf(policyDecision, effective as unknown as JsonObject | undefined);
    const redacted = redactionOf(run, step, answer);
    shadow.beside({ run, step, isAnswer: true, redacted, facts: () => facts, counted, actual });
  }

  return { governs: judging.governs, letThrough, first, again: createAfterWaiting(options, judging, decideRemotely) };
}
