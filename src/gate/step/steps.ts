import { setImmediate as sent } from "node:timers/promises";

import { ApplicationFailure } from "@temporalio/common";

import { editOf, subjectNames } from "../../approvals/index.ts";
import type { Waiting } from "../../core/contract.ts";
import { codeOf } from "../../core/errors.ts";
import type { ApprovalId, Digest } from "../../core/ids.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import type { ModelResult } from "../../core/transcript.ts";
import type { Responded } from "../answers/answered.ts";
import type { createResponses } from "../answers/responses.ts";
import { editedStep } from "../approved/edited.ts";
import type { createDecider } from "../decision/decide.ts";
import { endCosigning, lookForCosignatures } from "../effects/cosigned.ts";
import type { createEffects, Performed } from "../effects/effects.ts";
import { settleUnknown } from "../effects/unknown.ts";
import { GateError } from "../errors.ts";
import type { EffectOutcome, GovernedCall, RunContext } from "../governed-call.ts";
import type { GateOptions } from "../options.ts";
import type { EndedStep } from "../run/cache.ts";
import { isFrozen } from "../run/freeze.ts";
import { uniqueViolation } from "../sqlstate.ts";
import { createTurns } from "../turns.ts";
import { createLocator } from "./locate.ts";
import type { Located, StepRequest } from "./locate.ts";
import { halted, modelReference, outcomeUnknown, paused } from "./references.ts";
import type { StepResult } from "./references.ts";
import { madeWith } from "./resolve.ts";
import type { ResolvedStep } from "./resolve.ts";
import { createStandingReader } from "./standing.ts";
import type { Standing } from "./standing.ts";

export type StepContext = {
  /** Names the Temporal activity, the same for all its attempts. */
  readonly activity: string;
  readonly signal: AbortSignal;
};

/** How often a step that found the record changed under it is looked at again before Temporal takes over. */
const rereads = 10;

/**
 * One governed step, from the reference in the workflow to the reference that goes back. What happens follows from the record:
 * a finished step is answered from it, an interrupted effect is resumed, a new step is decided on.
 */
export function createSteps(
  options: GateOptions,
  decide: ReturnType<typeof createDecider>,
  effects: ReturnType<typeof createEffects>,
  responses: ReturnType<typeof createResponses>,
) {
  const { cache, fastLane } = options;
  const locate = createLocator(options);
  const inTurn = createTurns();
  const readStanding = createStandingReader(options.pool);

  /** The reference for what is finished, from the record. */
  async function finished(run: RunContext, seq: number, standing: Standing): Promise<StepResult> {
    if (standing.state === "unknown") return (await asked(run, seq)) ?? outcomeUnknown;
    if (standing.kind !== "model") return { status: "done" };
    if (standing.code === "no_room") return { status: "unanswered" };
    if (standing.state !== "done") return halted(standing.state === "denied" ? "model_denied" : "model_unavailable");
    if (standing.result === null) throw new GateError("transcript_incomplete", "a finished model step has no result");
    return modelReference(
      run.release.document,
      (await cache.payload(standing.result)) as unknown as ModelResult,
      fastLane,
    );
  }

  /** People were asked what became of it. */
  async function asked(run: RunContext, seq: number): Promise<StepResult | undefined> {
    const settled = await settleUnknown(options, run, seq);
    return settled?.status === "reconciled" ? { status: "done" } : settled;
  }

  async function act(
    run: RunContext,
    resolved: ResolvedStep,
    context: StepContext,
    perform: (call: GovernedCall) => Promise<EffectOutcome>,
    resumed: boolean,
    standing: Standing,
  ): Promise<StepResult> {
    const policySet = resumed ? standing.lastPolicySet : standing.policySet;
    if (policySet === null) throw new GateError("no_policy", `no policy set allowed step ${resolved.seq}`);
    const request = { run, step: resolved, context, resumed, standing, policySet };
    return performed(run, resolved, await effects.perform(request, perform));
  }

  function performed(run: RunContext, resolved: ResolvedStep, outcome: Performed): StepResult {
    switch (outcome.status) {
      case "recorded":
        return outcome.result === undefined ? { status: "done" } : recorded(run, resolved, outcome.result);
      case "waiting":
        return outcome;
      case "halted":
        return halted(outcome.code, outcome.message);
      case "unanswered":
        return { status: "unanswered" };
      case "superseded":
        // Another attempt recorded an end first: that one stands.
        throw new GateError("already_recorded", `step ${resolved.seq} was ended by another attempt`);
      case "again":
        throw ApplicationFailure.create({
          type: outcome.code,
          message: outcome.message,
          ...(outcome.afterMs === undefined ? {} : { nextRetryDelay: outcome.afterMs }),
        });
    }
  }

  /** Its intent has to be cosigned before its call is made; the wait for that is the workflow's, and holds no worker. */
  async function onceCosigned(
    run: RunContext,
    step: ResolvedStep,
    context: StepContext,
    perform: (call: GovernedCall) => Promise<EffectOutcome>,
    standing: Standing,
  ): Promise<StepResult> {
    const { lastWitnesses: witnesses, lastCosignBy: until } = standing;
    if (witnesses === null || until === null)
      throw new GateError("invalid_step", "the step waits for witnesses, and its decision asks for none");
    const { seq } = step;
    const action = standing.action ?? step.actionDigest;
    const found = await lookForCosignatures(options, { run, seq, action, witnesses, until, at: standing.at });
    if (found.status === "waiting" && standing.cosigning === "waiting") return paused;
    if (standing.cosigning === "waiting")
      await endCosigning(options.pool, run.id, seq, found.status === "covered" ? found : { status: "late" });
    if (found.status === "covered" && standing.cosigning === "waiting")
      return act(run, step, context, perform, false, { ...standing, coveredSize: found.size });
    const text = found.status === "late" ? found.text : "the witnesses that it needs had not cosigned it in time";
    return performed(run, step, await effects.refuse({ run, step, standing }, "not_cosigned", text));
  }

  function recorded(
    run: RunContext,
    step: ResolvedStep,
    { digest, value }: { readonly digest: Digest; readonly value: Json },
  ): StepResult {
    cache.remember(digest, value);
    cache.rememberEnd(run.id, step.seq, endOf(step, digest));
    return step.kind === "model"
      ? modelReference(run.release.document, value as unknown as ModelResult, fastLane)
      : { status: "done" };
  }

  async function once(
    step: StepRequest,
    context: StepContext,
    perform: (call: GovernedCall) => Promise<EffectOutcome>,
  ): Promise<StepResult> {
    const run = await cache.context(step.input.run);
    const located = await locate(run, step);
    // One after the other: what a decision goes by (steps, spend, earlier steps of a name) is what those before it have written.
    const found = await inTurn([{ name: run.id, exclusive: true }], () =>
      decideOn(run, located, step.input.grant, context),
    );
    const { step: resolved, standing, decided, responded } = found;
    if (responded !== undefined) {
      if (responded.status === "recorded") return recorded(run, resolved, responded.result);
      if (responded.status === "waiting") return responded;
      throw new GateError("already_recorded", `step ${resolved.seq} was ended by another attempt`);
    }
    if (decided === undefined) {
      if (standing.state !== "intended") return finished(run, resolved.seq, standing);
      const step = await asDecided(resolved, standing, subjectNames(run.input));
      if (step === undefined) return performed(run, resolved, await effects.unheld({ run, step: resolved, standing }));
      const begun = standing.cosigning === null || standing.cosigning === "covered";
      return begun
        ? act(run, step, context, perform, true, standing)
        : onceCosigned(run, step, context, perform, standing);
    }
    switch (decided.status) {
      case "allowed":
        if (decided.awaitsWitnesses) return paused;
        return act(run, changedTo(decided.step ?? resolved, decided), context, perform, false, standing);
      case "waiting":
        return { status: "waiting", request: decided.request, expiresAt: decided.expiresAt } satisfies Waiting;
      case "denied":
        return resolved.kind === "model" ? halted("model_denied", decided.text) : { status: "done" };
      case "halted":
        return halted(decided.code, decided.message);
    }
  }

  /** An interrupted step as it was allowed: what obligations made of it is in the record. */
  async function asDecided(
    step: ResolvedStep,
    { lastEffective, lastShadow, lastEdit }: Standing,
    subject: readonly string[],
  ): Promise<ResolvedStep | undefined> {
    const effective = lastEffective === null ? undefined : ((await cache.payload(lastEffective)) as JsonObject);
    const edit = lastEdit === null ? undefined : await editOf(options.pool, lastEdit);
    const edited = edit === undefined ? undefined : await editedStep(options.pool, options.keys, step, edit, subject);
    // It was allowed as it was edited: what does not hold any more is not begun as anything else.
    if (lastEdit !== null && edited === undefined) return undefined;
    return changedTo(edited ?? step, { shadow: lastShadow, ...(effective === undefined ? {} : { effective }) });
  }

  /** Decides on a step that is new or waits; of one that was decided before, only where it stands. */
  async function decideOn(
    run: RunContext,
    { seq, kind, name, resolve }: Located,
    grant: ApprovalId | undefined,
    { activity }: StepContext,
  ): Promise<{
    readonly step: ResolvedStep;
    readonly standing: Standing;
    readonly decided?: Awaited<ReturnType<typeof decide>>;
    /** What became of an answer that waited for people. */
    readonly responded?: Responded;
  }> {
    const reading = readStanding({ run, seq, kind, name, at: options.clock?.() });
    reading.catch(() => undefined);
    // The database works on it while this thread works out what the step would do.
    await sent();
    const step = resolve();
    const standing = await reading;
    if (standing.state !== null && standing.action !== step.actionDigest) {
      throw new GateError("invalid_step", `step ${seq} is recorded with another action`);
    }
    if (standing.state === "cancelled") throw new GateError("run_not_open", "the run is closed");
    if (standing.state !== null && standing.state !== "waiting") return { step, standing };
    if (standing.state === "waiting" && standing.lastAnswer !== null && step.kind === "model")
      return { step, standing, responded: await responses.again({ run, step, standing, activity }, grant) };
    return { step, standing, decided: await decide({ run, step, standing, activity, grant }) };
  }

  return async (
    step: StepRequest,
    context: StepContext,
    perform: (call: GovernedCall) => Promise<EffectOutcome>,
  ): Promise<StepResult> => {
    for (let reread = 1; ; reread += 1) {
      try {
        return await once(step, context, perform);
      } catch (error) {
        if (isFrozen(error)) return paused;
        const changed = codeOf(error) === "already_recorded" || codeOf(error) === uniqueViolation;
        if (!changed || reread === rereads) throw error;
      }
    }
  };
}

function changedTo(
  step: ResolvedStep,
  { effective, shadow }: { readonly effective?: JsonObject; readonly shadow: boolean },
): ResolvedStep {
  return { ...madeWith(step, effective), shadow };
}

function endOf(step: ResolvedStep, result: Digest): EndedStep {
  return { kind: step.kind, callId: step.kind === "model" ? "" : step.callId, result };
}
