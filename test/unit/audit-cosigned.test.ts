import { expect, test } from "vitest";

import { cosignedCalls } from "../../src/audit/ledger/cosigned.ts";
import { cosigningOf } from "../../src/core/decision.ts";
import type { Decision } from "../../src/core/decision.ts";
import type { LedgerEntry, LedgerFacts, LedgerKind } from "../../src/core/ledger-event.ts";

const at = "2026-01-01T00:00:00.000Z";
const entry = (index: number, kind: LedgerKind, facts: LedgerFacts) => ({
  index,
  entry: { v: 1, kind, log: "shop", dedupKey: `e-${index}`, at, facts: { seq: 3, ...facts } } satisfies LedgerEntry,
});
const decided = (facts: LedgerFacts = { witnesses: 2 }) => entry(4, "step.decided", { outcome: "allow", ...facts });
const intent = entry(5, "step.intent", {});
const call = (size: number) => [{ seq: 3, size, witnesses: 2 }];

test.each([
  [
    "is made on a checkpoint between its intent and its end",
    [decided(), intent, entry(9, "step.result", { state: "done", checkpoint: 6 })],
    { calls: call(6), problems: [] },
  ],
  [
    "may be the last before its end",
    [decided(), intent, entry(9, "step.result", { state: "done", checkpoint: 9 })],
    { calls: call(9), problems: [] },
  ],
  [
    "may have an unknown end",
    [decided(), intent, entry(9, "step.unknown", { state: "unknown", checkpoint: 6 })],
    { calls: call(6), problems: [] },
  ],
  ["may have none yet", [decided(), intent], { calls: [], problems: [] }],
  [
    "need not have been made",
    [decided(), intent, entry(9, "step.result", { state: "failed", code: "not_cosigned" })],
    { calls: [], problems: [] },
  ],
  [
    "may be cancelled before",
    [decided(), intent, entry(9, "step.result", { state: "cancelled" })],
    { calls: [], problems: [] },
  ],
  [
    "asks for none where its decision does not",
    [decided({}), intent, entry(9, "step.result", { state: "done" })],
    { calls: [], problems: [] },
  ],
  [
    "without a checkpoint",
    [decided(), intent, entry(9, "step.result", { state: "done" })],
    { calls: [], problems: [/without a checkpoint/] },
  ],
  [
    "on one that has not its intent",
    [decided(), intent, entry(9, "step.result", { state: "done", checkpoint: 5 })],
    { calls: [], problems: [/has not its intent/] },
  ],
  [
    "on one that was not there yet",
    [decided(), intent, entry(9, "step.result", { state: "done", checkpoint: 10 })],
    { calls: [], problems: [/newer than its end/] },
  ],
  [
    "told not to be made, on one",
    [decided(), intent, entry(9, "step.result", { state: "failed", code: "not_cosigned", checkpoint: 6 })],
    { calls: [], problems: [/was not made/] },
  ],
])("a call %s", (_, entries, { calls, problems }) => {
  const found = cosignedCalls(entries);
  expect(found.calls).toEqual(calls);
  expect(found.problems).toEqual(problems.map((problem) => expect.stringMatching(problem)));
});

test("a decision wants the most witnesses that its policies ask for, in the shortest time, and none of what is only recorded", () => {
  const allow = (...obligations: Extract<Decision, { outcome: "allow" }>["obligations"] & object[]): Decision => ({
    outcome: "allow",
    policies: [],
    obligations,
  });
  const one = { kind: "cosigned", policy: "a", witnesses: 1, withinMs: 1_000 } as const;
  const two = { kind: "cosigned", policy: "b", witnesses: 2, withinMs: 9_000 } as const;
  expect(cosigningOf(allow(one, two))).toEqual({ witnesses: 2, withinMs: 1_000 });
  expect(cosigningOf(allow(one, { kind: "shadow", policy: "c" }))).toBeUndefined();
  expect(cosigningOf(allow())).toBeUndefined();
  expect(cosigningOf({ outcome: "deny", code: "forbidden", policies: [] })).toBeUndefined();
});
