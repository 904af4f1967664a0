import fc from "fast-check";
import { expect, test } from "vitest";

import { ceilingOf, costOf, formatUsd } from "../../src/core/money.ts";
import type { TokenPrice, TokenUsage } from "../../src/core/money.ts";

const price: TokenPrice = {
  inputPerMillion: 2_500_000,
  cachedInputPerMillion: 1_250_000,
  outputPerMillion: 10_000_000,
};

test.each<[string, Partial<TokenUsage>, number]>([
  ["nothing", {}, 0],
  ["a million of input", { input: 1_000_000 }, 2_500_000],
  ["a million of input that is cached", { input: 1_000_000, cachedInput: 1_000_000 }, 1_250_000],
  ["half of it cached", { input: 1_000_000, cachedInput: 500_000 }, 1_875_000],
  ["a million of output", { output: 1_000_000 }, 10_000_000],
  // Reasoning is in the output: it is not paid for twice.
  ["output that is reasoning", { output: 10, reasoning: 10 }, 100],
  // 2.5 micro-USD: never recorded as cheaper than it was.
  ["one token of input, rounded up", { input: 1 }, 3],
  // 1.25 + 10: rounded once, not token by token.
  ["two parts of a micro-USD, rounded once", { input: 1, cachedInput: 1, output: 1 }, 12],
])("the cost of %s", (_, usage, cost) => {
  expect(costOf({ input: 0, cachedInput: 0, output: 0, reasoning: 0, ...usage }, price)).toBe(cost);
});

const count = fc.nat({ max: 50_000_000 });
const prices = fc.record({
  inputPerMillion: fc.nat({ max: 1_000_000_000 }),
  cachedInputPerMillion: fc.nat({ max: 1_000_000_000 }),
  outputPerMillion: fc.nat({ max: 1_000_000_000 }),
});

test("a cost is whole, less than one above the exact one, and never below it", () => {
  fc.assert(
    fc.property(count, fc.nat({ max: 1_000 }), count, prices, (cached, share, output, given) => {
      const input = cached + share;
      const cost = BigInt(costOf({ input, cachedInput: cached, output, reasoning: 0 }, given));
      const exact =
        BigInt(share) * BigInt(given.inputPerMillion) +
        BigInt(cached) * BigInt(given.cachedInputPerMillion) +
        BigInt(output) * BigInt(given.outputPerMillion);
      expect(cost * 1_000_000n >= exact && cost * 1_000_000n < exact + 1_000_000n).toBe(true);
    }),
  );
});

test("no call within its bounds costs more than what was held for it", () => {
  const bounded = fc.tuple(count, count).chain(([input, output]) =>
    fc.record({
      input: fc.constant(input),
      output: fc.constant(output),
      usedInput: fc.nat({ max: input }),
      usedOutput: fc.nat({ max: output }),
      cachedShare: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
  );
  fc.assert(
    fc.property(bounded, prices, (call, given) => {
      // Cached input is never dearer than input: the bound rests on that.
      const sane = { ...given, cachedInputPerMillion: Math.min(given.cachedInputPerMillion, given.inputPerMillion) };
      const cachedInput = Math.floor(call.usedInput * call.cachedShare);
      const cost = costOf({ input: call.usedInput, cachedInput, output: call.usedOutput, reasoning: 0 }, sane);
      expect(cost).toBeLessThanOrEqual(ceilingOf(call.input, call.output, sane));
    }),
  );
});

test.each([
  [0, "$0.00"],
  [1, "$0.000001"],
  [10_000, "$0.01"],
  [1_234_567, "$1.234567"],
  [1_500_000, "$1.50"],
  [1_000_000, "$1.00"],
  [-250_000, "-$0.25"],
])("%i micro-USD reads %s", (amount, text) => {
  expect(formatUsd(amount)).toBe(text);
});
