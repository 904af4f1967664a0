import type { StepView } from "../api/index.ts";
import type { Digest } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import type { RunOutput } from "../core/run.ts";
import type { ModelResult } from "../core/transcript.ts";
import { getPayloads } from "../store/index.ts";
import type { PayloadKeys, RunRow, StepRow, Tx } from "../store/index.ts";
import { viewOfStep } from "./views.ts";

/**
 * Steps with their contents: what a tool was called with (it is in the answer of the model step that asked, among `all`), and what
 * each left. Two round trips however many they are.
 */
export async function stepsWithContents(
  tx: Tx,
  keys: PayloadKeys,
  steps: readonly StepRow[],
  all: readonly StepRow[] = steps,
): Promise<readonly StepView[]> {
  const resultOf = new Map(all.map((step) => [step.seq, step.result]));
  const asked = steps.map((step) => (step.askedBy === null ? null : (resultOf.get(step.askedBy) ?? null)));
  const wanted = [...steps.map((step) => step.result), ...asked].filter((digest): digest is Digest => digest !== null);
  const payloads = await getPayloads(tx, keys, wanted);
  return steps.map((step, index) => {
    const text = argumentsText(payloads, asked[index] ?? null, step.callIndex);
    const result = step.result === null ? undefined : payloads.get(step.result);
    return {
      ...viewOfStep(step),
      ...(text === undefined ? {} : { arguments: text }),
      ...(result === undefined ? {} : { result }),
    };
  });
}

function argumentsText(
  payloads: ReadonlyMap<Digest, Json>,
  asked: Digest | null,
  index: number | null,
): string | undefined {
  if (asked === null || index === null) return undefined;
  const answer = payloads.get(asked) as ModelResult | undefined;
  return answer?.toolCalls[index]?.arguments;
}

/** Null where there is none, or it was erased. */
export async function outputOf(
  tx: Tx,
  keys: PayloadKeys,
  run: RunRow,
): Promise<{ text: string } | { value: { [key: string]: Json } } | null> {
  if (run.result === null) return null;
  const output = (await getPayloads(tx, keys, [run.result])).get(run.result);
  return output === undefined ? null : (output as unknown as RunOutput);
}
