import type { Json } from "../../core/json.ts";
import type { FlowRules } from "../../core/labels.ts";
import type { RunRecord, StepRecord } from "../../core/run-record.ts";
import { transcript } from "../../core/transcript.ts";
import type { FinishedStep, Message, ModelResult, ToolResult } from "../../core/transcript.ts";
import { emptyHead, extendFlow, extendHead, startFlow } from "../../gate/offline.ts";
import type { Conversation, Flow, RunContext } from "../../gate/offline.ts";
import { isUnanswered } from "../unanswered.ts";

/** What had been said, and whose words it was, before each step of a record: each step is gone through once, however many come after it. */
export type BeforeSteps = {
  /** Throws where one of the steps with a smaller number has no result, and is not recorded to have been given up without one. */
  conversation(seq: number, rules: FlowRules): Conversation;
  flow(seq: number, rules: FlowRules): Flow;
};

/** What is known so far: by how many steps went before. */
type Known = {
  readonly messages: Message[];
  /** The head over the first messages, and how many they are. */
  readonly heads: { readonly head: Conversation["head"]; readonly count: number }[];
  readonly flows: Map<FlowRules, Flow[]>;
};

export function beforeStepsOf(record: RunRecord, run: RunContext): BeforeSteps {
  const { steps, release, input } = record;
  const opening = transcript(release.prompt, input.prompt, []);
  const start = (): Known => ({
    messages: [...opening],
    heads: [{ head: extendHead(emptyHead, opening), count: opening.length }],
    flows: new Map(),
  });
  const shared = start();
  // What a record has in another order is gone through in that order, and then no step's past is the beginning of the next one's.
  const isInOrder = steps.every(({ seq }, place) => place === 0 || seq > (steps[place - 1]?.seq ?? 0));
  const before = (seq: number): Past =>
    isInOrder
      ? { steps, count: countBelow(steps, seq), known: shared }
      : inAnotherOrder(steps.filter((step) => step.seq < seq));
  const inAnotherOrder = (past: readonly StepRecord[]): Past => ({ steps: past, count: past.length, known: start() });

  function flowOf(past: Past, rules: FlowRules): Flow {
    const { flows } = past.known;
    const known = flows.get(rules) ?? [startFlow(run, rules)];
    flows.set(rules, known);
    return reach(known, past, (flow, step) => extendFlow(flow, run, finished(record, step)));
  }

  return {
    flow: (seq, rules) => flowOf(before(seq), rules),
    conversation(seq, rules) {
      const past = before(seq);
      const { known } = past;
      const { head, count } = reach(known.heads, past, (last, step) => {
        const more = transcript(release.prompt, input.prompt, finished(record, step)).slice(opening.length);
        const next = { head: extendHead(last.head, more), count: last.count + more.length };
        known.messages.push(...more);
        return next;
      });
      return { messages: known.messages.slice(0, count), head, flow: flowOf(past, rules) };
    },
  };
}

/** The first `count` of `steps`, and what is known of them. */
type Past = { readonly steps: readonly StepRecord[]; readonly count: number; readonly known: Known };

/** How many steps have a smaller number, where they are in order. */
function countBelow(steps: readonly StepRecord[], seq: number): number {
  let [from, to] = [0, steps.length];
  while (from < to) {
    const middle = (from + to) >>> 1;
    if ((steps[middle]?.seq ?? 0) < seq) from = middle + 1;
    else to = middle;
  }
  return from;
}

/** The state after a past, from the last one of `known` that is no later; `known` begins with the state before all. */
function reach<State>(
  known: State[],
  { steps, count }: Past,
  extend: (before: State, step: StepRecord) => State,
): State {
  for (let place = known.length - 1; place < count; place += 1)
    known.push(extend(known.at(-1) as State, steps[place] as StepRecord));
  return known[count] as State;
}

/** A step as the conversation has it: none where a model was given up without an answer. */
function finished({ payloads }: RunRecord, step: StepRecord): readonly FinishedStep[] {
  if (isUnanswered(step)) return [];
  const result: Json | undefined = step.result === null ? undefined : payloads[step.result];
  if (result === undefined) throw new Error(`step ${step.seq} before it has no result`);
  return step.kind === "model"
    ? [{ kind: "model", result: result as unknown as ModelResult }]
    : [{ kind: "tool", callId: step.callId ?? "", result: result as unknown as ToolResult }];
}
