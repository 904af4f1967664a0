import { expect, test } from "vitest";

import type { DecisionView, StepView } from "../../src/api/index.ts";
import { decisionLines, RunProgress } from "../../src/cli/run-progress.ts";
import { withheldAnswer } from "../../src/core/transcript.ts";
import { createTerminal } from "../../src/cli/terminal.ts";

function shown(step: Partial<StepView>): string {
  let text = "";
  const stdout = { write: (piece: string) => ((text += piece), true) };
  const streams = { stdout, stderr: stdout, stdin: {} } as unknown as Parameters<typeof createTerminal>[1];
  const whole = { seq: 0, state: "done", finishedAt: "2026-01-01T00:00:00.000Z", ...step } as StepView;
  new RunProgress(createTerminal({ json: false, color: false }, streams)).show({ type: "step", step: whole });
  return text.trim();
}

const denied = { status: "denied", code: "no_price", message: "the model has no price" };

test.each<[string, Partial<StepView>, string]>([
  ["an answer", { kind: "model", result: { content: "hello", toolCalls: [], finishReason: "stop" } }, "says: hello"],
  [
    "an answer that policy withheld",
    { kind: "model", result: withheldAnswer("it holds a secret") as never },
    "withheld: Your answer was not let through: it holds a secret. Answer again without that.",
  ],
  [
    "a model step that was denied",
    { kind: "model", state: "denied", result: denied },
    "denied: the model has no price",
  ],
  [
    "a tool step that was denied",
    { kind: "tool", state: "denied", result: denied },
    "told the agent: the model has no price",
  ],
  ["a model step that failed", { kind: "model", state: "failed" }, "failed"],
  [
    "a model step that a budget had no room to try again",
    { kind: "model", state: "failed", code: "no_room" },
    "no answer, and a budget has no room for another attempt; the model is asked again in a new step",
  ],
  ["a tool's result", { kind: "tool", result: { status: "ok", value: { rooms: [] } } }, 'result: {"rooms":[]}'],
  [
    "documents that were found",
    {
      kind: "retrieval",
      result: {
        status: "ok",
        value: {
          documents: [{ id: "a.md#b\u001b[31m", text: "x", origin: "trusted", confidentiality: "internal" }],
          withheld: 2,
        },
      },
    },
    "found: a.md#b\\u{1b}[31m (trusted, internal); 2 withheld",
  ],
])("%s", (_what, step, line) => {
  expect(shown(step)).toBe(line);
});

test("a call that a standing grant let through says which", () => {
  const decision = { outcome: "allow", code: null, policies: [], cosigned: null, standingGrant: "sgr_1" };
  const step = { seq: 1, kind: "tool", name: "pay", arguments: "{}" } as StepView;
  const lines = (of: object) =>
    decisionLines(
      { ...decision, ...of } as unknown as DecisionView,
      step,
      createTerminal({ json: false, color: false }, process as never),
    );
  expect(lines({})).toEqual(["  1 tool pay {}  allow", "      granted ahead: countersign approvals grant show sgr_1"]);
  expect(lines({ standingGrant: null })).toHaveLength(1);
});
