import type { StepKind } from "../../core/action.ts";
import type { ModelStepInput, ToolStepInput } from "../../core/contract.ts";
import type { Digest, RunId } from "../../core/ids.ts";
import type { CallKind } from "../../core/retrieval.ts";
import type { ModelResult } from "../../core/transcript.ts";
import { GateError } from "../errors.ts";
import type { RunContext } from "../governed-call.ts";
import type { GateOptions } from "../options.ts";
import { createConversations } from "../run/conversation.ts";
import { calledIn, resolveCall, resolveModelStep } from "./resolve.ts";
import type { ResolvedStep } from "./resolve.ts";

export type StepRequest =
  | { readonly kind: "model"; readonly input: ModelStepInput }
  | { readonly kind: CallKind; readonly input: ToolStepInput };

/** A step that is known by name; `resolve` works out the rest. */
export type Located = {
  readonly seq: number;
  readonly kind: StepKind;
  readonly name: string;
  readonly resolve: () => ResolvedStep;
};

/** Finds what a reference in a workflow stands for, by the record alone. */
export function createLocator({
  pool,
  cache,
  priceOf,
}: GateOptions): (run: RunContext, step: StepRequest) => Promise<Located> {
  const conversationOf = createConversations(pool, cache);

  async function askedFor(run: RunId, seq: number): Promise<ModelResult> {
    const seen = cache.ended(run, seq);
    if (seen?.kind === "model") return (await cache.payload(seen.result)) as unknown as ModelResult;
    const { rows } = await pool.query<{ result: Digest }>(
      "select result from step where run = $1 and seq = $2 and kind = 'model' and state = 'done'",
      [run, seq],
    );
    if (rows[0] === undefined) throw new GateError("invalid_step", `step ${seq} is no finished model step`);
    return (await cache.payload(rows[0].result)) as unknown as ModelResult;
  }

  // All that has to be read before it is known what a step would do; working that out is what takes the processor.
  return async (run, step) => {
    if (step.kind === "model") {
      const { name } = run.release.document.model;
      const conversation = await conversationOf(run, step.input.seq);
      const resolve = () => resolveModelStep(run, step.input, conversation, priceOf(name));
      return { seq: step.input.seq, kind: "model", name, resolve };
    }
    // Both at once; of what is wrong with either, always the same is told.
    const reading = conversationOf(run, step.input.model);
    reading.catch(() => undefined);
    const asked = await askedFor(run.id, step.input.model);
    const { flow } = await reading;
    const called = calledIn(run, asked, step.input.call);
    if (called === undefined)
      throw new GateError("invalid_step", `step ${step.input.model} asked for no call ${step.input.call}`);
    if (called.kind !== step.kind)
      throw new GateError("invalid_step", `call ${step.input.call} of step ${step.input.model} is no ${step.kind}`);
    const resolve = () => resolveCall(run, step.input, called, flow);
    return { seq: step.input.seq, kind: called.kind, name: called.name, resolve };
  };
}
