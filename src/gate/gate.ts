import type { Context } from "@temporalio/activity";
import { ApplicationFailure } from "@temporalio/common";
import type {
  ActivityExecuteInput,
  ActivityInboundCallsInterceptor,
  ActivityInterceptorsFactory,
  Next,
} from "@temporalio/worker";
import type { Logger } from "pino";

import { stepKinds } from "../core/action.ts";
import { modelStepInput, toolStepInput } from "../core/contract.schema.ts";
import { lifecycleActivities } from "../core/contract.ts";
import type { ModelStepInput, ToolStepInput } from "../core/contract.ts";
import { codeOf } from "../core/errors.ts";
import type { CallKind } from "../core/retrieval.ts";
import { faultPoint } from "../faults/index.ts";
import { createResponses } from "./answers/responses.ts";
import { createDecider } from "./decision/decide.ts";
import { createRemote } from "./decision/remote.ts";
import { createShadow } from "./decision/shadow.ts";
import type { Shadow } from "./decision/shadow.ts";
import { createEffects } from "./effects/effects.ts";
import { asFailure, GateError } from "./errors.ts";
import type { EffectOutcome, GovernedCall } from "./governed-call.ts";
import { createHistoryCounter } from "./history/history.ts";
import type { GateOptions } from "./options.ts";
import { createSteps } from "./step/steps.ts";
import type { StepContext } from "./step/steps.ts";

/** How often an ordinary activity tells the server that it is alive, of the time after which it is missed. */
const heartbeatsPerTimeout = 4;

/**
 * The one enforcement point: a factory of the worker's activity inbound interceptor. Every activity of the worker, local ones
 * included, goes through it, so no workflow can go around it. It runs once per attempt.
 */
export function createGate(options: GateOptions & { readonly logger: Logger }): ActivityInterceptorsFactory {
  const count = createHistoryCounter(options.keys, options.historyBeyond);
  const shadow = createShadow(options.pool, options.now, count);
  // One for both: calls and answers change each other's facts.
  const decideRemotely = createRemote(options.remote);
  const responses = createResponses(options, shadow, count, decideRemotely);
  const decide = createDecider(options, count, shadow, decideRemotely);
  const steps = createSteps(options, decide, createEffects(options, responses), responses);
  const factory: ActivityInterceptorsFactory = (context) => ({ inbound: new Gate(context, steps, options.logger) });
  gates.set(factory, shadow);
  return factory;
}

const gates = new WeakMap<ActivityInterceptorsFactory, Shadow>();

/** Whether `factory` is a gate: a worker must have exactly one. */
export function isGate(factory: ActivityInterceptorsFactory): boolean {
  return gates.has(factory);
}

/** Writes what a gate still has in hand, once its worker has stopped and before its pool ends. Never throws. */
export async function settleGate(factory: ActivityInterceptorsFactory): Promise<void> {
  await gates.get(factory)?.settled();
}

type StepInput =
  | { readonly kind: "model"; readonly input: ModelStepInput }
  | { readonly kind: CallKind; readonly input: ToolStepInput };

class Gate implements ActivityInboundCallsInterceptor {
  readonly #context: Context;
  readonly #steps: ReturnType<typeof createSteps>;
  readonly #logger: Logger;

  constructor(context: Context, steps: ReturnType<typeof createSteps>, logger: Logger) {
    this.#context = context;
    this.#steps = steps;
    this.#logger = logger;
  }

  async execute(input: ActivityExecuteInput, next: Next<ActivityInboundCallsInterceptor, "execute">): Promise<unknown> {
    const { activityType } = this.#context.info;
    try {
      if ((lifecycleActivities as readonly string[]).includes(activityType)) return await next(input);
      const step = parseStep(activityType, input.args, this.#context);
      const act = async (call: GovernedCall) => (await next({ ...input, args: [call] })) as EffectOutcome;
      return await this.#alive(() => faultPoint("activity.end", () => this.#steps(step, this.#stepContext(), act)));
    } catch (error) {
      throw this.#failure(error, activityType);
    }
  }

  #stepContext(): StepContext {
    const { info, cancellationSignal } = this.#context;
    return {
      activity: `${info.workflowExecution?.runId ?? ""}/${info.activityId}`,
      signal: cancellationSignal,
    };
  }

  /** Heartbeats carry the news of a cancellation, and let a dead worker be noticed in seconds. Local activities have none. */
  async #alive<Result>(work: () => Promise<Result>): Promise<Result> {
    const { isLocal, heartbeatTimeoutMs } = this.#context.info;
    if (isLocal || heartbeatTimeoutMs === undefined) return work();
    const timer = setInterval(() => this.#context.heartbeat(), heartbeatTimeoutMs / heartbeatsPerTimeout);
    try {
      return await work();
    } finally {
      clearInterval(timer);
    }
  }

  #failure(error: unknown, activityType: string): Error {
    if (error instanceof ApplicationFailure) return error;
    const { workflowExecution, activityId, attempt } = this.#context.info;
    this.#logger.warn(
      { err: error, code: codeOf(error), activityType, activityId, attempt, run: workflowExecution?.workflowId },
      "step could not be decided or recorded",
    );
    return asFailure(error);
  }
}

function parseStep(activityType: string, args: readonly unknown[], context: Context): StepInput {
  if (!(stepKinds as readonly string[]).includes(activityType)) {
    throw new GateError(
      "ungoverned_activity",
      `activity \`${activityType}\` is not governed, and this worker runs nothing else`,
      {
        hint: "make it a tool, or run it on a worker of its own",
      },
    );
  }
  const step = stepOf(activityType, args[0]);
  const workflow = context.info.workflowExecution?.workflowId;
  if (workflow !== step.input.run) {
    throw new GateError(
      "foreign_run",
      `workflow \`${workflow ?? "none"}\` asked for a step of run \`${step.input.run}\``,
    );
  }
  return step;
}

function stepOf(activityType: string, value: unknown): StepInput {
  switch (activityType) {
    case "model": {
      const parsed = modelStepInput.safeParse(value);
      if (parsed.success) return { kind: "model", input: definedOnly(parsed.data) };
      break;
    }
    case "tool":
    case "retrieval": {
      const parsed = toolStepInput.safeParse(value);
      if (parsed.success) return { kind: activityType, input: definedOnly(parsed.data) };
      break;
    }
    default:
      throw new GateError("ungoverned_activity", `steps of kind \`${activityType}\` are not served yet`);
  }
  throw new GateError("invalid_step", `activity \`${activityType}\` got an input that is not a step reference`);
}

function definedOnly<Input extends { grant?: unknown }>(input: Input): Input & { grant?: NonNullable<Input["grant"]> } {
  if (input.grant === undefined) delete input.grant;
  return input as Input & { grant?: NonNullable<Input["grant"]> };
}
