import fc from "fast-check";
import { describe, expect, it } from "vitest";

import type { HistoryFact, HistoryScope } from "../../src/core/decision.ts";
import type { RunId } from "../../src/core/ids.ts";
import { wideLocks } from "../../src/gate/history/history.ts";
import { countRunHistory } from "../../src/gate/history/run-history.ts";

const now = new Date("2026-03-01T12:00:00.000Z");
const fact = (changed: Partial<HistoryFact>): HistoryFact => {
  return { name: "f", measure: "count", actions: ["tool/a"], per: "run", ...changed };
};

const run = (changed: Partial<{ team: string; agent: string; requestedBy: string; subject: string }> = {}) => {
  const { subject, ...rest } = changed;
  const input = { prompt: "", ...(subject === undefined ? {} : { subject: { id: subject } }) };
  return { id: "run_1" as RunId, team: "t", agent: "a", requestedBy: "p", input, ...rest };
};

describe("wideLocks", () => {
  const call = { actions: ["tool/a", "effect/read", "tool"], reads: new Set(["read"]) };
  const names = (facts: readonly HistoryFact[], of = run()) => wideLocks(facts, call, of).map(({ name }) => name);

  it("are of what the call adds to, and of what is read for it", () => {
    const facts = [
      fact({ name: "own", per: "run" }),
      fact({ name: "adds", per: "team", actions: ["effect/read"] }),
      fact({ name: "read", per: "agent", actions: ["tool/b"] }),
      fact({ name: "neither", per: "team", actions: ["tool/b"] }),
    ];
    expect(wideLocks(facts, call, run())).toEqual([
      { name: "history/adds/team/t", exclusive: true },
      { name: "history/read/agent/t/a", exclusive: false },
    ]);
  });

  it.each<[HistoryScope, ReturnType<typeof run>, boolean]>([
    ["team", run({ agent: "b", requestedBy: "q", subject: "s" }), true],
    ["team", run({ team: "u" }), false],
    ["agent", run({ requestedBy: "q" }), true],
    ["agent", run({ agent: "b" }), false],
    ["requester", run({ agent: "b" }), true],
    ["requester", run({ requestedBy: "q" }), false],
    ["requester", run({ team: "u" }), false],
    ["subject", run({ requestedBy: "q" }), true],
    ["subject", run({ subject: "s" }), false],
  ])("per %s are shared by those whose steps count together", (per, other, shared) => {
    expect(names([fact({ per })], other)[0] === names([fact({ per })])[0]).toBe(shared);
  });

  it("come in one order, whatever the facts' order is, and name nobody", () => {
    const facts = ["c", "a", "b"].flatMap((name) =>
      (["team", "requester", "subject"] as const).map((per) => fact({ name: `${name}${per}`, per })),
    );
    const of = run({ requestedBy: "ada@example.com", subject: "customer-7" });
    fc.assert(
      fc.property(fc.shuffledSubarray(facts, { minLength: facts.length }), (shuffled) => {
        expect(names(shuffled, of)).toEqual(names(facts, of));
      }),
    );
    expect(names(facts, of)).toEqual(names(facts, of).toSorted());
    expect(names(facts, of).join()).not.toMatch(/ada|customer/);
  });
});

describe("countRunHistory", () => {
  const parameters = { type: "object", properties: { n: { type: "integer", default: 4 } } };
  const step = (args: object, secondsAgo = 0) => {
    const at = new Date(now.getTime() - secondsAgo * 1_000);
    return { kind: "tool" as const, name: "a", arguments: args as Record<string, never>, at };
  };
  const count = (facts: readonly HistoryFact[], steps: readonly ReturnType<typeof step>[]) =>
    countRunHistory(facts, steps, now, [{ name: "a", parameters }], ({ name }) => [`tool/${name}`]);
  const sum = fact({ measure: "sum", argument: "n" });

  it.each([
    ["its values", [step({ n: 2 }), step({ n: 3 })], 5],
    ["the default of one that is not given", [step({ n: 2 }), step({})], 6],
    ["no negative ones, which would make room", [step({ n: 2 }), step({ n: -9 })], 2],
    ["no text", [step({ n: "9" })], 0],
  ])("sums %s", (_what, steps, expected) => {
    expect(count([sum], steps)).toEqual({ f: expected });
  });

  it.each([[[step({ n: 0.5 })]], [[step({ n: Number.MAX_SAFE_INTEGER }), step({ n: 1 })]]])("refuses %j", (steps) => {
    expect(() => count([sum], steps)).toThrow(expect.objectContaining({ code: "history_uncountable" }));
  });

  it("counts up to the very edge of a window, and only what is the run's own", () => {
    const window = fact({ withinMs: 10_000 });
    expect(count([window], [step({}, 10), step({}, 10.001), step({}, -1)])).toEqual({ f: 2 });
    expect(count([fact({ per: "team" })], [step({})])).toEqual({});
  });
});
