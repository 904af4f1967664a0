import fc from "fast-check";
import { expect, test } from "vitest";

import { align } from "../../src/audit/fork/align.ts";
import { createForkAnswers } from "../../src/audit/fork/answers.ts";
import type { EffectAnswers } from "../../src/audit/fork/answers.ts";
import type { ForkPlan } from "../../src/audit/fork/plan.ts";
import type { Json, JsonObject } from "../../src/core/json.ts";
import type { GovernedToolCall } from "../../src/gate/index.ts";
import { digestOf } from "../../src/store/canonical.ts";

type Call = { readonly name: string; readonly args: string };
const call = fc.record({ name: fc.constantFrom("a", "b", "c"), args: fc.constantFrom("1", "2") });
const aligned = (before: readonly Call[], after: readonly Call[]) =>
  align(
    before,
    after,
    ({ name, args }) => `${name}/${args}`,
    ({ name }) => name,
  );

/** The longest common subsequence by trying everything. */
function longest(a: readonly string[], b: readonly string[]): number {
  const [first, ...rest] = a;
  if (first === undefined || b.length === 0) return 0;
  const at = b.indexOf(first);
  return Math.max(longest(rest, b), at < 0 ? 0 : 1 + longest(rest, b.slice(at + 1)));
}

test("steps are set side by side in both orders, each once, alike with alike and as many as can be", () => {
  fc.assert(
    fc.property(fc.array(call, { maxLength: 8 }), fc.array(call, { maxLength: 8 }), (before, after) => {
      const pairs = aligned(before, after);
      expect(pairs.flatMap(([left]) => left ?? [])).toEqual(before);
      expect(pairs.flatMap(([, right]) => right ?? [])).toEqual(after);
      const both = pairs.flatMap(([left, right]) => (left && right ? [[left.name, right.name]] : []));
      expect(both.filter(([left, right]) => left !== right)).toEqual([]);
      const key = ({ name, args }: Call) => `${name}/${args}`;
      const alike = pairs.filter(([left, right]) => left && right && key(left) === key(right));
      expect(alike.length).toBeGreaterThanOrEqual(longest(before.map(key), after.map(key)));
    }),
  );
});

test("lists too long for a table of all pairs are still told in order", () => {
  const long = Array.from({ length: 3_000 }, (_, index) => ({ name: "a", args: String(index) }));
  const pairs = aligned(long, [...long.slice(0, 10), { name: "b", args: "new" }, ...long.slice(11)]);
  expect(pairs).toHaveLength(3_001);
  expect(pairs.filter(([left, right]) => left === right)).toHaveLength(2_999);
});

const tools = [
  { name: "look", effect: "read" },
  { name: "pay", effect: "write" },
];

/** A plan whose record has these calls, from step 1 on; `was` is the arguments that obligations made of them. */
function planOf(
  at: number,
  calls: readonly {
    readonly name: string;
    readonly args: JsonObject;
    readonly was?: JsonObject;
    readonly result: Json;
    readonly shadow?: boolean;
    readonly state?: string;
    readonly lost?: boolean;
  }[],
): ForkPlan {
  const steps = calls.map(({ name, args, result, state }, index) => {
    return {
      seq: index + 1,
      kind: "tool",
      name,
      arguments: digestOf(args),
      state: state ?? "done",
      result: digestOf(result),
    };
  });
  const decisions = calls.map(({ was, shadow }, index) => {
    return { seq: index + 1, n: 0, effective: was === undefined ? null : digestOf(was), shadow: shadow ?? false };
  });
  const payloads = Object.fromEntries(
    calls.map(({ result, lost }) => [digestOf(result), lost === true ? { status: "ok", value: "forged" } : result]),
  );
  return { at, record: { release: { tools }, steps, decisions, payloads } } as unknown as ForkPlan;
}

async function asks(plan: ForkPlan, name: string, args: JsonObject, seqs: readonly number[], effects?: EffectAnswers) {
  const answers = createForkAnswers(plan, effects ?? "stub");
  const tool = tools.find((one) => one.name === name);
  const given: unknown[] = [];
  for (const seq of seqs) {
    const outcome = await answers.answer({ kind: "tool", seq, tool, args } as unknown as GovernedToolCall);
    given.push(outcome.status === "result" ? outcome.result : outcome);
  }
  return { given, answered: answers.answered() };
}

const ok = (value: Json) => ({ status: "ok", value }) as const;
const box = { thing: "box", deep: { a: 1, b: 2 } };

test("a read is answered with what the record has for the same arguments, in its order and then the last", async () => {
  const plan = planOf(3, [
    { name: "look", args: box, result: ok("first") },
    { name: "look", args: { thing: "lid" }, result: ok("lid") },
    { name: "look", args: box, result: ok("second") },
    { name: "look", args: box, result: ok("third"), state: "failed" },
  ]);
  // The first was answered before the fork. The order of members does not matter; a retry gets the same again.
  const reordered = { deep: { b: 2, a: 1 }, thing: "box" };
  const { given, answered } = await asks(plan, "look", reordered, [7, 9, 9, 11]);
  expect(given).toEqual([ok("second"), ok("third"), ok("third"), ok("third")]);
  expect(answered.map(({ recorded }) => recorded)).toEqual([3, 4, 4]);
  // Parallel calls come in any order: at the same place it is the same.
  expect((await asks(plan, "look", box, [4, 3])).given).toEqual([ok("third"), ok("second")]);
  expect((await asks(plan, "look", { thing: "Box" }, [7])).given).toEqual([
    { status: "error", message: expect.stringContaining("there is no answer, and it was not called now") },
  ]);
});

test("answers to what was made are given, without a reviewer's change; what was denied, shadowed, lost or forged answers nothing", async () => {
  const changed = { ...ok("changed"), changed: { arguments: {}, reason: "" } };
  const plan = planOf(0, [
    { name: "look", args: { thing: "raw" }, was: { thing: "cut" }, result: changed },
    {
      name: "look",
      args: { thing: "secret" },
      result: { status: "denied", code: "forbidden", message: "no" },
      state: "denied",
    },
    { name: "look", args: { thing: "shadow" }, result: ok("shadow"), shadow: true },
    { name: "look", args: { thing: "forged" }, result: ok("genuine"), lost: true },
  ]);
  expect((await asks(plan, "look", { thing: "cut" }, [9])).given).toEqual([ok("changed")]);
  for (const thing of ["raw", "secret", "shadow", "forged"])
    expect((await asks(plan, "look", { thing }, [9])).answered, thing).toMatchObject([{ recorded: null }]);
});

test("a call with an effect is told that it was not made, unless the record's answer is asked for", async () => {
  const plan = planOf(0, [{ name: "pay", args: { amount: 1 }, result: ok({ paid: 1 }) }]);
  expect((await asks(plan, "pay", { amount: 1 }, [1])).given).toMatchObject([
    { status: "ok", value: { executed: false, would: { tool: "pay", effect: "write", arguments: { amount: 1 } } } },
  ]);
  expect((await asks(plan, "pay", { amount: 1 }, [1], "recorded")).given).toEqual([ok({ paid: 1 })]);
  const other = await asks(plan, "pay", { amount: 2 }, [1], "recorded");
  expect(other.given).toMatchObject([{ value: { executed: false } }]);
  expect(other.answered).toMatchObject([{ effect: "write", recorded: null }]);
});
