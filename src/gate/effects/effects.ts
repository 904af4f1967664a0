import { askForOutcome } from "../../approvals/index.ts";
import type { Waiting } from "../../core/contract.ts";
import type { Digest } from "../../core/ids.ts";
import type { Json } from "../../core/json.ts";
import type { RunFailureCode } from "../../core/run.ts";
import { unaskedAnswer } from "../../core/transcript.ts";
import type { ModelResult, ToolResult } from "../../core/transcript.ts";
import { faultPoint } from "../../faults/index.ts";
import { appendToOutbox } from "../../ledger/index.ts";
import { inOneTrip, sealPayload, writeSealed } from "../../store/index.ts";
import type { Tx } from "../../store/index.ts";
import { withProblem } from "../answers/fit.ts";
import type { createResponses } from "../answers/responses.ts";
import { editIn } from "../approved/edit.ts";
import { beginAgain, beginPaidAgain, maxEffectAttempts, noneSettled, settleAttempt } from "../budgets/attempts.ts";
import type { Attempt } from "../budgets/attempts.ts";
import { holdOf } from "../budgets/budgets.ts";
import { chargeOf, noCharge } from "../budgets/charge.ts";
import type { Charge } from "../budgets/charge.ts";
import { issue, sealingIn } from "../governed-call.ts";
import { idempotencyKeyOf } from "../governed-call.ts";
import type { EffectOutcome, GovernedCall, RunContext } from "../governed-call.ts";
import type { GateOptions } from "../options.ts";
import type { ResolvedModelStep, ResolvedStep, ResolvedToolStep } from "../step/resolve.ts";
import type { Standing } from "../step/standing.ts";
import type { StepContext } from "../step/steps.ts";
import { outcomeEvent, settling, writeOutcome } from "./outcome.ts";
import type { OutcomeToRecord } from "./outcome.ts";
import { settleUnknown } from "./unknown.ts";

type EffectRequest = {
  readonly run: RunContext;
  readonly step: ResolvedStep;
  readonly context: StepContext;
  /** An earlier attempt wrote the intent, and no end. */
  readonly resumed: boolean;
  readonly standing: Standing;
  /** The policies that allowed the call. */
  readonly policySet: Digest;
};

/** The effect is under way. */
type Begun = EffectRequest & { readonly attempt: Attempt };

/** What an end is recorded of. Without an attempt, it was never begun. */
type Ended = Pick<EffectRequest, "run" | "step" | "standing"> & { readonly attempt?: Attempt };

export type Performed =
  | { readonly status: "recorded"; readonly result?: { readonly digest: Digest; readonly value: Json } }
  | { readonly status: "halted"; readonly code: RunFailureCode; readonly message: string }
  /** People decide on what the model answered, or say what became of a call. */
  | Waiting
  /** There is no room for another attempt: the step has ended without an answer. */
  | { readonly status: "unanswered" }
  | { readonly status: "superseded" }
  | { readonly status: "again"; readonly code: string; readonly message: string; readonly afterMs?: number };

/** The second half of a step: the effect, between the intent that is committed and the end that is about to be. */
export function createEffects(options: GateOptions, responses: ReturnType<typeof createResponses>) {
  async function perform(
    request: EffectRequest,
    act: (call: GovernedCall) => Promise<EffectOutcome>,
  ): Promise<Performed> {
    const { run, step } = request;
    if (step.shadow === true) return record(request, "done", shadowResultOf(request), noCharge);
    const attempt = await attemptOf(request);
    if (attempt.number === 0) return { status: "superseded" };
    const begun: Begun = { ...request, attempt };
    if (request.resumed && !mayRepeat(step)) return conclude(begun, interrupted);
    // Earlier ones began it, and none of them could record an end.
    if (attempt.number > maxEffectAttempts)
      return exhausted(begun, `no end was recorded in ${maxEffectAttempts} attempts`, noCharge);
    if (!attempt.hasRoom) return leaveUnanswered(begun);
    const { policySet } = request;
    const governed = step.kind === "model" && (await responses.governs(run, policySet));
    // What may be withheld is not shown while it comes.
    const watched = request.standing.watched && !governed;
    const call = issue(callOf(request, watched));
    const outcome = await faultPoint(step.kind === "model" ? "model.call" : "effect.call", () => act(call));
    if (governed && outcome.status === "result" && outcome.kind === "model") {
      return respond({ ...begun, step }, policySet, outcome.result, takenBy(begun, outcome));
    }
    if (step.kind === "model" && outcome.status === "result" && outcome.kind === "model") {
      const { standing, context } = request;
      responses.letThrough({ run, step, standing, activity: context.activity, answer: outcome.result });
    }
    return conclude(begun, outcome);
  }

  async function attemptOf({ run, step, resumed }: EffectRequest): Promise<Attempt> {
    const first = { number: 1, hold: holdOf(step), before: noneSettled, hasRoom: true };
    if (!resumed) return first;
    return faultPoint("effect.again", async () => {
      if (step.kind === "model") return beginPaidAgain(options.pool, run.id, step.seq);
      return { ...first, number: await beginAgain(options.pool, run.id, step.seq) };
    });
  }

  /** What an attempt took: all that was held for it, where its outcome does not tell. */
  function takenBy({ step, attempt }: Begun, outcome: EffectOutcome): Charge {
    if (step.kind !== "model") return noCharge;
    return chargeOf("usage" in outcome ? outcome.usage : undefined, options.priceOf(step.name), attempt.hold);
  }

  async function conclude(request: Begun, outcome: EffectOutcome): Promise<Performed> {
    const { number } = request.attempt;
    const taken = takenBy(request, outcome);
    switch (outcome.status) {
      case "result":
        return record(request, "done", outcome.result, taken);
      case "retry":
        if (number < maxEffectAttempts && !request.context.signal.aborted) {
          const { run, step } = request;
          if (step.kind === "model") await settleAttempt(options.pool, run.id, step.seq, { number, taken });
          const { code, message, afterMs } = outcome;
          return { status: "again", code, message, ...(afterMs === undefined ? {} : { afterMs }) };
        }
        return exhausted(request, `${outcome.message} (${number} attempts)`, taken);
      case "failed":
        return fail(request, outcome.message, taken);
      case "unknown":
        return unknown(request, outcome.message);
    }
  }

  async function respond(
    { run, step, standing, context, attempt }: Begun & { readonly step: ResolvedModelStep },
    policySet: Digest,
    answer: ModelResult,
    taken: Charge,
  ): Promise<Performed> {
    const answered = { run, step, standing, activity: context.activity, answer };
    const responded = await responses.first(answered, policySet, { taken, before: attempt.before });
    if (responded.status !== "recorded") return responded;
    const { digest, value } = responded.result;
    return { status: "recorded", result: { digest, value } };
  }

  /** That a write could be repeated safely does not tell whether it happened. */
  async function exhausted(request: Begun, message: string, taken: Charge): Promise<Performed> {
    const { step } = request;
    const harmless = step.kind !== "tool" || step.tool?.effect === "read";
    return harmless ? fail(request, message, taken) : unknown(request, message);
  }

  async function unknown(request: Ended, message: string): Promise<Performed> {
    const recorded = await record(request, "unknown", undefined, noCharge);
    if (recorded.status !== "recorded") return recorded;
    // A person is asked with the record of it, so that none is left without; the run waits for them.
    const settled = await settleUnknown(options, request.run, request.step.seq);
    if (settled?.status === "reconciled") return { status: "recorded" };
    return settled ?? { status: "halted", code: "outcome_unknown", message };
  }

  /** A tool's failure is told to the model; a model's ends the run. */
  async function fail(request: Begun, message: string, taken: Charge): Promise<Performed> {
    if (request.step.kind !== "model") return record(request, "failed", { status: "error", message }, taken);
    const recorded = await record(request, "failed", undefined, taken);
    return recorded.status === "recorded" ? { status: "halted", code: "model_unavailable", message } : recorded;
  }

  /**
   * A step that was begun cannot wait for people. It ends, with what its attempts took, and the model is asked in a new one: that is decided
   * as any other, so it asks people where there is no room for it either.
   */
  async function leaveUnanswered(request: Begun): Promise<Performed> {
    const recorded = await record(request, "failed", undefined, noCharge, "no_room");
    return recorded.status === "recorded" ? { status: "unanswered" } : recorded;
  }

  /** It was allowed, and then not begun: the model is told. */
  async function refuse(request: Ended, code: "not_cosigned", message: string): Promise<Performed> {
    // Policies that want witnesses of one deny it.
    if (request.step.kind === "model") throw new TypeError("no model call waits for witnesses");
    return record(request, "failed", { status: "denied", code, message }, noCharge, code);
  }

  /** It was begun, or about to be, as a reviewer had edited it, and the edit does not hold any more: whether it happened is for people. */
  async function unheld(ended: Ended): Promise<Performed> {
    return unknown(ended, "the call was interrupted, and the change that a reviewer made to it does not hold any more");
  }

  async function record(
    { run, step, standing, attempt }: Ended,
    state: OutcomeToRecord["state"],
    result: ModelResult | ToolResult | undefined,
    taken: Charge,
    code?: OutcomeToRecord["code"],
  ): Promise<Performed> {
    const value = told(step, result) as unknown as Json | undefined;
    const sealed = value === undefined ? undefined : sealPayload(sealingIn(run), value);
    const ended: Omit<OutcomeToRecord, "before"> = {
      run,
      seq: step.seq,
      state: toolFailed(result) ? "failed" : state,
      result: sealed?.digest,
      taken,
      covered: standing.coveredSize ?? undefined,
      code,
      now: options.now(),
    };
    const write = (tx: Tx, outcome: OutcomeToRecord): readonly [Promise<boolean>, ...Promise<unknown>[]] => {
      const stored = sealed === undefined ? [] : [writeSealed(tx, [sealed])];
      // The same event twice is one entry, so an attempt that comes late adds nothing.
      const written = [writeOutcome(tx, outcome), appendToOutbox(tx, [outcomeEvent(outcome)]), ...stored] as const;
      // Sent after it: it asks about what was just written.
      return outcome.state === "unknown"
        ? [...written, askForOutcome(tx, run.id, step.seq, outcome.now)]
        : [...written];
    };
    const known = { run: run.id, seq: step.seq, before: attempt?.before ?? noneSettled };
    const [isFirst] = await faultPoint(step.kind === "model" ? "model.record" : "effect.record", () =>
      settling(options.pool, known, (before) =>
        inOneTrip<[boolean, ...unknown[]]>(options.pool, (tx) => write(tx, { ...ended, before })),
      ),
    );
    if (!isFirst) return { status: "superseded" };
    return sealed === undefined
      ? { status: "recorded" }
      : { status: "recorded", result: { digest: sealed.digest, value: sealed.value } };
  }

  return { perform, refuse, unheld };
}

/** A call that a reviewer changed says so with its result. */
function told(step: ResolvedStep, result: ModelResult | ToolResult | undefined): ModelResult | ToolResult | undefined {
  const edit = editIn(step);
  if (edit === undefined || step.kind === "model" || result === undefined || !("status" in result)) return result;
  return result.status === "denied" ? result : { ...result, changed: { arguments: step.args, reason: edit.reason } };
}

/** What a call that was only recorded answers. No model has said it, so it is no answer to be decided on. */
function shadowResultOf({ run, step }: EffectRequest): ModelResult | ToolResult {
  return step.kind === "model" ? withProblem(unaskedAnswer, run.release.document.output) : shadowResult;
}

const shadowResult: ToolResult = {
  status: "ok",
  value: { shadow: true, note: "recorded by policy, and not made: this has had no effect" },
};

const interrupted: EffectOutcome = {
  status: "unknown",
  message: "the call was interrupted, and the tool takes no idempotency key and cannot be asked whether it happened",
};

function toolFailed(result: ModelResult | ToolResult | undefined): boolean {
  return result !== undefined && "status" in result && result.status === "error";
}

function mayRepeat(step: ResolvedStep): boolean {
  return step.kind === "model" || step.tool?.effect === "read" || step.tool?.idempotency !== "none";
}

function callOf({ run, step, context, resumed }: EffectRequest, watched: boolean): GovernedCall {
  if (step.kind === "model") {
    const { seq, maxOutputTokens } = step;
    const { messages } = step.conversation;
    return { kind: "model", run, seq, messages, maxOutputTokens, watched, signal: context.signal };
  }
  const signal = AbortSignal.any([context.signal, AbortSignal.timeout(toolOf(step).timeoutMs)]);
  return {
    kind: step.kind,
    run,
    seq: step.seq,
    tool: toolOf(step),
    args: step.args,
    idempotencyKey: idempotencyKeyOf(run.id, step.seq),
    resumed,
    signal,
  };
}

function toolOf(step: ResolvedToolStep) {
  // An unknown tool is denied long before it comes to an effect.
  if (step.tool === undefined) throw new TypeError("an unknown tool has no effect to perform");
  return step.tool;
}
