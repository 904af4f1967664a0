import fc from "fast-check";
import { expect, test } from "vitest";

import { beforeStepsOf } from "../../src/audit/decisions/before-steps.ts";
import { runContextOf } from "../../src/audit/decisions/recorded-step.ts";
import type { Json } from "../../src/core/json.ts";
import { flowRules } from "../../src/core/labels.ts";
import type { RunRecord } from "../../src/core/run-record.ts";
import { transcript } from "../../src/core/transcript.ts";
import type { FinishedStep } from "../../src/core/transcript.ts";
import { emptyHead, extendFlow, extendHead, startFlow } from "../../src/gate/offline.ts";

/** A step that asks for a call, one that answers it, one that has no result, and a model that was given up without one. */
const kinds = fc.constantFrom("model", "tool", "open", "unanswered");
const recorded = fc
  .array(fc.tuple(fc.nat(8), kinds, fc.lorem({ maxCount: 4 })), { maxLength: 8 })
  .map((steps) => recordOf(steps));

function recordOf(steps: readonly (readonly [seq: number, kind: string, text: string])[]): RunRecord {
  const payloads: Record<string, Json> = {};
  const made = steps.map(([seq, kind, text], place) => {
    const digest = `d${place}`;
    if (kind === "model")
      payloads[digest] = { content: text, toolCalls: [{ id: "c1", name: "look", arguments: `{"q":"${text}"}` }] };
    if (kind === "tool") payloads[digest] = { status: "ok", value: { text } };
    if (kind === "unanswered") return { seq, kind: "model", state: "failed", code: "no_room", result: null };
    return { seq, kind: kind === "model" ? "model" : "tool", callId: "c1", result: kind === "open" ? null : digest };
  });
  const release = { prompt: "You look things up.", tools: [] };
  return { run: {}, release, input: { prompt: "Look." }, steps: made, payloads } as unknown as RunRecord;
}

/** What went before a step, from the beginning. */
function fromTheBeginning(record: RunRecord, seq: number) {
  const run = runContextOf(record);
  const past = record.steps.filter((step) => step.seq < seq && step.code !== "no_room");
  const steps = past.map((step) => finishedOf(record, step));
  const messages = transcript(record.release.prompt, record.input.prompt, steps);
  const flow = extendFlow(startFlow(run, flowRules), run, steps);
  return { messages, head: extendHead(emptyHead, messages), flow };
}

function finishedOf({ payloads }: RunRecord, { seq, kind, callId, result }: RunRecord["steps"][number]): FinishedStep {
  if (result === null) throw new Error(`step ${seq} before it has no result`);
  return { kind, callId, result: payloads[result] } as unknown as FinishedStep;
}

function outcomeOf(work: () => unknown): unknown {
  try {
    return work();
  } catch (error) {
    return (error as Error).message;
  }
}

test("what went before a step is the same, whichever steps were asked about first, and in whatever order a record has them", () => {
  fc.assert(
    fc.property(
      recorded,
      fc.array(fc.integer({ min: -1, max: 9 }), { maxLength: 6 }),
      fc.boolean(),
      (any, asked, sort) => {
        const steps = sort ? any.steps.map((step, seq) => ({ ...step, seq })) : any.steps;
        const record = { ...any, steps };
        const before = beforeStepsOf(record, runContextOf(record));
        for (const seq of asked) {
          const expected = outcomeOf(() => fromTheBeginning(record, seq));
          expect(outcomeOf(() => before.conversation(seq, flowRules))).toEqual(expected);
          const flow = typeof expected === "string" ? expected : (expected as { flow: unknown }).flow;
          expect(outcomeOf(() => before.flow(seq, flowRules))).toEqual(flow);
        }
      },
    ),
    { numRuns: 300 },
  );
});
