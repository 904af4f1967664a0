import {
  ActivityFailure,
  ApplicationFailure,
  CancelledFailure,
  allHandlersFinished,
  condition,
  continueAsNew,
  defineQuery,
  defineSignal,
  isCancellation,
  patched,
  CancellationScope,
  setHandler,
  sleep,
  workflowInfo,
} from "@temporalio/workflow";

import { elapsed, enter, leave, startClock } from "../src/core/active-clock.ts";
import { approvalDecidedSignal, runStateQuery } from "../src/core/contract.ts";
import type {
  AgentWorkflowInput,
  AgentWorkflowResult,
  AwaitThawInput,
  CarriedState,
  Frozen,
  Lane,
  ModelStepResult,
  RunState,
  ToolStepResult,
  Waiting,
} from "../src/core/contract.ts";
import { approvalIdPattern } from "../src/core/ids.ts";
import type { ApprovalId } from "../src/core/ids.ts";
import type { RunFailure } from "../src/core/run.ts";
import { lifecycle, steps } from "./activities.ts";

const approvalDecided = defineSignal<[ApprovalId]>(approvalDecidedSignal);
const runState = defineQuery<RunState>(runStateQuery);

/** How often the model may answer again when its answer does not fit the output schema, or policy withholds it. */
const maxRepairs = 1;
/** A wait ends this long after the request's expiry, so that the gate's clock, not the workflow's, says that it has expired. */
const expiryMarginMs = 1_000;
/** Well before the server's hint at 4,096 events, since one turn with many parallel calls may add hundreds. */
const maxHistoryEvents = 3_000;

const maxNotedSignals = 1_000;

/** Between looks at a request that is still pending though the run was woken. */
const longestPauseMs = 60_000;

type Ending =
  | { readonly status: "completed" | "cancelled" }
  | { readonly status: "failed"; readonly failure: RunFailure };
type StepResult = ModelStepResult | ToolStepResult;

/**
 * One run of an agent: ask the model, make the calls it asks for, until it answers. All it holds are references and counts:
 * what is asked, answered and allowed is in the record, where only the gate writes.
 */
export async function agent(input: AgentWorkflowInput): Promise<AgentWorkflowResult> {
  const run = new AgentRun(input);
  const ending = await run.untilDone();
  // The end is recorded even when the run is cancelled, and then above all.
  return CancellationScope.nonCancellable(async () => {
    const { result } = await lifecycle.closeRun({ run: input.run, ...ending });
    await condition(allHandlersFinished);
    switch (ending.status) {
      case "completed":
        return result === undefined ? {} : { result };
      case "failed":
        throw ApplicationFailure.nonRetryable(ending.failure.message, ending.failure.code);
      case "cancelled":
        throw new CancelledFailure("the run was cancelled");
    }
  });
}

class AgentRun {
  readonly #run: AgentWorkflowInput["run"];
  readonly #waiting = new Set<ApprovalId>();
  readonly #woken = new Set<ApprovalId>();
  #nextSeq: number;
  #turns: number;
  #repairs: number;
  #clock: ReturnType<typeof startClock>;
  #phase: RunState["phase"] = "opening";
  #maxWallClockMs = 0;
  /** Steps that wait for people, or for a freeze to be lifted. */
  #pauses = 0;

  constructor({ run, carried }: AgentWorkflowInput) {
    this.#run = run;
    this.#nextSeq = carried?.nextSeq ?? 0;
    this.#turns = carried?.turns ?? 0;
    this.#repairs = carried?.repairs ?? 0;
    this.#clock = startClock(carried?.activeMs ?? 0);
    setHandler(approvalDecided, (request) => {
      // Anybody who reaches Temporal can send anything, of any size.
      if (typeof request !== "string" || !approvalIdPattern.test(request)) return;
      // It may come before the step's own result does, so it is noted in any case; a flood of signals must not fill the memory.
      const [oldest] = this.#woken;
      if (oldest !== undefined && this.#woken.size >= maxNotedSignals) this.#woken.delete(oldest);
      this.#woken.add(request);
    });
    setHandler(runState, () => this.#state());
  }

  async untilDone(): Promise<Ending> {
    try {
      const { maxWallClockMs } = await lifecycle.openRun({ run: this.#run });
      this.#maxWallClockMs = maxWallClockMs;
      for (;;) {
        const ending = await this.#turn();
        if (ending?.status === "failed" && isCancelled()) return { status: "cancelled" };
        if (ending !== undefined) return ending;
        if (this.#historyIsLong())
          await continueAsNew<(input: AgentWorkflowInput) => Promise<AgentWorkflowResult>>(this.#carried());
      }
    } catch (error) {
      if (isCancellation(error)) return { status: "cancelled" };
      if (isFailedStep(error)) return failed("internal", "a step could not be carried out; the worker's log says why");
      throw error;
    } finally {
      this.#phase = "closing";
    }
  }

  async #turn(): Promise<Ending | undefined> {
    if (elapsed(this.#clock, Date.now()) >= this.#maxWallClockMs) {
      return failed(
        "limit_wall_clock",
        `the agent has worked for ${Math.round(this.#maxWallClockMs / 1_000)} s, its limit`,
      );
    }
    this.#phase = "thinking";
    this.#turns += 1;
    const model = this.#takeSeq();
    const asked = await this.#step({}, (grant) => steps.model({ run: this.#run, seq: model, ...grant }));
    switch (asked.status) {
      case "answer":
        return { status: "completed" };
      case "invalid":
        this.#repairs += 1;
        if (this.#repairs <= maxRepairs) return undefined;
        return asked.withheld === true
          ? failed("response_denied", "policy did not let the answer go further, and the model has had its repair")
          : failed("invalid_output", "the answer does not fit the output schema, and neither did the repaired one");
      case "calls":
        return this.#act(model, asked.lanes, asked.retrievals);
      // The next turn asks the same of it. Whether there is room for that is the gate's to say, which asks people where there is none.
      case "unanswered":
        return undefined;
      case "halted":
        return failed(asked.code, asked.message);
    }
  }

  /** What is a retrieval is in the model step's recorded result, so histories from before there were any replay as they are. */
  async #act(model: number, lanes: readonly Lane[], retrievals: readonly number[] = []): Promise<Ending | undefined> {
    this.#phase = "acting";
    const calls = lanes.map((lane, call) => {
      const seq = this.#takeSeq();
      const ask = steps[retrievals.includes(call) ? "retrieval" : "tool"][lane];
      return this.#step({ model, call }, (grant) => ask({ run: this.#run, seq, model, call, ...grant }));
    });
    // All are waited for, whatever becomes of one: an effect under way is let come to its recorded end.
    const settled = await Promise.allSettled(calls);
    for (const outcome of settled) {
      if (outcome.status === "rejected") throw outcome.reason;
    }
    const halted = settled.find((outcome) => outcome.status === "fulfilled" && outcome.value.status === "halted");
    if (halted?.status !== "fulfilled" || halted.value.status !== "halted") return undefined;
    return failed(halted.value.code, halted.value.message);
  }

  /** Schedules a step, and again after each wait: whether the wait is over is the gate's to say. */
  async #step<Result extends StepResult>(
    frozen: Omit<AwaitThawInput, "run">,
    schedule: (grant: { readonly grant?: ApprovalId }) => Promise<Result>,
  ): Promise<Exclude<Result, Waiting | Frozen>> {
    let grant: { readonly grant?: ApprovalId } = {};
    let thaws = 0;
    for (let waits = 0; ;) {
      const result = await this.#timed(() => schedule(grant));
      if (result.status === "waiting") {
        // Woken for nothing: a flood of signals must not become a flood of steps.
        if (waits > 0) await sleep(pauseAfter(waits));
        await this.#untilDecided(result);
        waits += 1;
        grant = { grant: result.request };
      } else if (result.status === "frozen") {
        // Whoever freezes and lifts in turns does not make the history long.
        if (thaws > 0) await sleep(pauseAfter(thaws));
        await this.#pausing(() => lifecycle.awaitThaw({ run: this.#run, ...frozen }));
        thaws += 1;
      } else {
        return result as Exclude<Result, Waiting | Frozen>;
      }
    }
  }

  async #timed<Result>(work: () => Promise<Result>): Promise<Result> {
    this.#clock = enter(this.#clock, Date.now());
    try {
      return await work();
    } finally {
      this.#clock = leave(this.#clock, Date.now());
    }
  }

  /** A durable wait: no worker is held, for weeks if need be. */
  async #untilDecided({ request, expiresAt }: Waiting): Promise<void> {
    this.#waiting.add(request);
    try {
      await this.#pausing(() =>
        condition(() => this.#woken.has(request), Math.max(0, expiresAt - Date.now()) + expiryMarginMs),
      );
    } finally {
      this.#waiting.delete(request);
      this.#woken.delete(request);
    }
  }

  async #pausing(wait: () => Promise<unknown>): Promise<void> {
    this.#pauses += 1;
    try {
      await wait();
    } finally {
      this.#pauses -= 1;
    }
  }

  #takeSeq(): number {
    const seq = this.#nextSeq;
    this.#nextSeq += 1;
    return seq;
  }

  #historyIsLong(): boolean {
    const info = workflowInfo();
    return info.continueAsNewSuggested || info.historyLength > maxHistoryEvents;
  }

  #carried(): AgentWorkflowInput {
    const carried: CarriedState = {
      v: 1,
      nextSeq: this.#nextSeq,
      turns: this.#turns,
      activeMs: elapsed(this.#clock, Date.now()),
      repairs: this.#repairs,
    };
    return { run: this.#run, carried };
  }

  #state(): RunState {
    return {
      phase: this.#pauses > 0 ? "waiting" : this.#phase,
      nextSeq: this.#nextSeq,
      turns: this.#turns,
      activeMs: elapsed(this.#clock, Date.now()),
      waitingFor: [...this.#waiting],
    };
  }
}

/** A step that is under way is waited for, and its end then looks like a failure: the run has ended for another reason. */
function isCancelled(): boolean {
  return CancellationScope.current().consideredCancelled && patched("a cancelled step fails no run");
}

/** A local activity that fails for good is not wrapped, as others are. The run has to be closed in either case: it may hold money. */
function isFailedStep(error: unknown): boolean {
  if (error instanceof ActivityFailure) return true;
  return error instanceof ApplicationFailure && patched("a failed local step ends the run");
}

function pauseAfter(waits: number): number {
  return Math.min(2 ** (waits - 1) * 1_000, longestPauseMs);
}

function failed(code: RunFailure["code"], message: string): Ending {
  return { status: "failed", failure: { code, message } };
}
