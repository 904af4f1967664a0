import { askForOutcome } from "../approvals/index.ts";
import type { Waiting } from "../core/contract.ts";
import type { Digest } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import { costOf } from "../core/money.ts";
import type { TokenUsage } from "../core/money.ts";
import type { RunFailureCode } from "../core/run.ts";
import type { ModelResult, ToolResult } from "../core/transcript.ts";
import { faultPoint } from "../faults/index.ts";
import { appendToOutbox } from "../ledger/index.ts";
import { inOneTrip, sealPayload, writeSealed } from "../store/index.ts";
import type { Tx } from "../store/index.ts";
import type { GateOptions } from "./decide.ts";
import { editIn } from "./edit.ts";
import { issue, sealingIn } from "./governed-call.ts";
import type { EffectOutcome, GovernedCall, RunContext } from "./governed-call.ts";
import { beginAgain, idempotencyKeyOf, outcomeEvent, writeOutcome } from "./record.ts";
import type { OutcomeToRecord, Standing } from "./record.ts";
import type { ResolvedModelStep, ResolvedStep, ResolvedToolStep } from "./resolve.ts";
import type { createResponses } from "./responses.ts";
import type { StepContext } from "./steps.ts";
import { settleUnknown } from "./unknown.ts";

/** How often an effect is begun before its failure is final. Attempts in which the gate itself failed do not count. */
const maxEffectAttempts = 5;

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

/** What an end is recorded of. */
type Ended = Pick<EffectRequest, "run" | "step" | "standing">;

export type Performed =
  | { readonly status: "recorded"; readonly result?: { readonly digest: Digest; readonly value: Json } }
  | { readonly status: "halted"; readonly code: RunFailureCode; readonly message: string }
  /** People decide on what the model answered, or say what became of a call. */
  | Waiting
  | { readonly status: "superseded" }
  | { readonly status: "again"; readonly code: string; readonly message: string; readonly afterMs?: number };

/** The second half of a step: the effect, between the intent that is committed and the end that is about to be. */
export function createEffects(options: GateOptions, responses: ReturnType<typeof createResponses>) {
  async function perform(
    request: EffectRequest,
    act: (call: GovernedCall) => Promise<EffectOutcome>,
  ): Promise<Performed> {
    const { run, step } = request;
    if (step.kind !== "model" && step.shadow === true) return record(request, "done", shadowResult, undefined);
    const attempts = request.resumed
      ? await faultPoint("effect.again", () => beginAgain(options.pool, run.id, step.seq))
      : 1;
    if (attempts === 0) return { status: "superseded" };
    if (request.resumed && !mayRepeat(step)) return conclude(request, interrupted, attempts);
    // Earlier ones began it, and none of them could record an end.
    if (attempts > maxEffectAttempts) return exhausted(request, `no end was recorded in ${maxEffectAttempts} attempts`);
    const { policySet } = request;
    const governed = step.kind === "model" && (await responses.governs(run, policySet));
    // What may be withheld is not shown while it comes.
    const watched = request.standing.watched && !governed;
    const call = issue(callOf(request, watched));
    const outcome = await faultPoint(step.kind === "model" ? "model.call" : "effect.call", () => act(call));
    if (governed && outcome.status === "result" && outcome.kind === "model") {
      return respond({ ...request, step }, policySet, outcome.result, outcome.usage);
    }
    if (step.kind === "model" && outcome.status === "result" && outcome.kind === "model") {
      const { standing, context } = request;
      responses.letThrough({ run, step, standing, activity: context.activity, answer: outcome.result });
    }
    return conclude(request, outcome, attempts);
  }

  async function conclude(request: EffectRequest, outcome: EffectOutcome, attempts: number): Promise<Performed> {
    switch (outcome.status) {
      case "result":
        return record(request, "done", outcome.result, outcome.kind === "model" ? outcome.usage : undefined);
      case "retry":
        if (attempts < maxEffectAttempts && !request.context.signal.aborted) {
          const { code, message, afterMs } = outcome;
          return { status: "again", code, message, ...(afterMs === undefined ? {} : { afterMs }) };
        }
        return exhausted(request, `${outcome.message} (${attempts} attempts)`);
      case "failed":
        return fail(request, outcome.message);
      case "unknown":
        return unknown(request, outcome.message);
    }
  }

  async function respond(
    { run, step, standing, context }: EffectRequest & { readonly step: ResolvedModelStep },
    policySet: Digest,
    answer: ModelResult,
    usage: TokenUsage,
  ): Promise<Performed> {
    const answered = { run, step, standing, activity: context.activity, answer };
    const responded = await responses.first(answered, policySet, { usage, costMicroUsd: costFor(step, usage) });
    if (responded.status !== "recorded") return responded;
    const { digest, value } = responded.result;
    return { status: "recorded", result: { digest, value } };
  }

  function costFor(step: ResolvedStep, usage: TokenUsage | undefined): number {
    const price = step.kind === "model" ? options.priceOf(step.name) : undefined;
    return usage === undefined || price === undefined ? 0 : costOf(usage, price);
  }

  /** That a write could be repeated safely does not tell whether it happened. */
  async function exhausted(request: EffectRequest, message: string): Promise<Performed> {
    const { step } = request;
    const harmless = step.kind !== "tool" || step.tool?.effect === "read";
    return harmless ? fail(request, message) : unknown(request, message);
  }

  async function unknown(request: EffectRequest, message: string): Promise<Performed> {
    const recorded = await record(request, "unknown", undefined, undefined);
    if (recorded.status !== "recorded") return recorded;
    // A person is asked with the record of it, so that none is left without; the run waits for them.
    const settled = await settleUnknown(options, request.run, request.step.seq);
    if (settled?.status === "reconciled") return { status: "recorded" };
    return settled ?? { status: "halted", code: "outcome_unknown", message };
  }

  /** A tool's failure is told to the model; a model's ends the run. */
  async function fail(request: EffectRequest, message: string): Promise<Performed> {
    if (request.step.kind !== "model") return record(request, "failed", { status: "error", message }, undefined);
    const recorded = await record(request, "failed", undefined, undefined);
    return recorded.status === "recorded" ? { status: "halted", code: "model_unavailable", message } : recorded;
  }

  /** It was allowed, and then not begun: the model is told. */
  async function refuse(request: Ended, code: "not_cosigned", message: string): Promise<Performed> {
    return record(request, "failed", { status: "denied", code, message }, undefined, code);
  }

  async function record(
    { run, step, standing }: Ended,
    state: OutcomeToRecord["state"],
    result: ModelResult | ToolResult | undefined,
    usage: TokenUsage | undefined,
    code?: OutcomeToRecord["code"],
  ): Promise<Performed> {
    const value = told(step, result) as unknown as Json | undefined;
    const sealed = value === undefined ? undefined : sealPayload(sealingIn(run), value);
    const outcome: OutcomeToRecord = {
      run,
      seq: step.seq,
      state: toolFailed(result) ? "failed" : state,
      result: sealed?.digest,
      usage,
      costMicroUsd: costFor(step, usage),
      covered: standing.coveredSize ?? undefined,
      code,
      now: options.now(),
    };
    const write = (tx: Tx): readonly [Promise<boolean>, ...Promise<unknown>[]] => {
      const stored = sealed === undefined ? [] : [writeSealed(tx, [sealed])];
      // The same event twice is one entry, so an attempt that comes late adds nothing.
      const written = [writeOutcome(tx, outcome), appendToOutbox(tx, [outcomeEvent(outcome)]), ...stored] as const;
      // Sent after it: it asks about what was just written.
      return outcome.state === "unknown"
        ? [...written, askForOutcome(tx, run.id, step.seq, outcome.now)]
        : [...written];
    };
    const [ended] = await faultPoint(step.kind === "model" ? "model.record" : "effect.record", () =>
      inOneTrip<[boolean, ...unknown[]]>(options.pool, write),
    );
    if (!ended) return { status: "superseded" };
    return sealed === undefined
      ? { status: "recorded" }
      : { status: "recorded", result: { digest: sealed.digest, value: sealed.value } };
  }

  return { perform, refuse };
}

/** A call that a reviewer changed says so with its result. */
function told(step: ResolvedStep, result: ModelResult | ToolResult | undefined): ModelResult | ToolResult | undefined {
  const edit = editIn(step);
  if (edit === undefined || step.kind === "model" || result === undefined || !("status" in result)) return result;
  return result.status === "denied" ? result : { ...result, changed: { arguments: step.args, reason: edit.reason } };
}

/** What a call that was only recorded answers. */
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
    return { kind: "model", run, seq: step.seq, messages: step.conversation.messages, watched, signal: context.signal };
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
