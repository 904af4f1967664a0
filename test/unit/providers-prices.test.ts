import { describe, expect, test } from "vitest";

import { parsePriceOverrides, priceOf, scriptedPrice } from "../../src/providers/index.ts";
import { microUsdOf } from "../../src/providers/prices.ts";

const at = new Date("2026-01-01T12:00:00Z");

describe("priceOf", () => {
  test.each([
    ["gpt-4o", 2_500_000, 1_250_000, 10_000_000],
    ["gpt-4o-mini-2024-07-18", 150_000, 75_000, 600_000],
    // Tiers by the prompt's length: the highest.
    ["gemini-2.5-pro", 2_500_000, 250_000, 15_000_000],
    // Two prices by the time of day: the higher, at any time.
    ["deepseek-chat", 270_000, 70_000, 1_100_000],
  ])("%s in micro-USD for a million tokens", (model, inputPerMillion, cachedInputPerMillion, outputPerMillion) => {
    expect(priceOf(model, { at })).toEqual({ inputPerMillion, cachedInputPerMillion, outputPerMillion });
  });

  test("the price is the one in force", () => {
    expect(priceOf("o3", { at: new Date("2025-05-01T00:00:00Z") })?.inputPerMillion).toBe(10_000_000);
    expect(priceOf("o3", { at })?.inputPerMillion).toBe(2_000_000);
  });

  test("every price is in whole micro-USD", () => {
    for (const model of ["gpt-5", "gpt-4.1-nano", "claude-sonnet-4-5", "deepseek-chat"]) {
      for (const amount of Object.values(priceOf(model, { at }) ?? {})) expect(Number.isSafeInteger(amount)).toBe(true);
    }
  });

  test("an unknown model has none; a scripted one has the documented one", () => {
    expect(priceOf("no-such-model-7")).toBeUndefined();
    expect(priceOf("constructor", { overrides: {} })).toBeUndefined();
    expect(priceOf("scripted/support")).toEqual(scriptedPrice);
  });

  test("an operator's prices come first", () => {
    const overrides = parsePriceOverrides(
      {
        "gpt-4o": { inputPerMillion: 1, outputPerMillion: 2 },
        "scripted/x": { inputPerMillion: 0, outputPerMillion: 0 },
      },
      "prices.json",
    );
    expect(priceOf("gpt-4o", { overrides })).toEqual({
      inputPerMillion: 1,
      cachedInputPerMillion: 1,
      outputPerMillion: 2,
    });
    expect(priceOf("scripted/x", { overrides })?.inputPerMillion).toBe(0);
  });

  test("the address decides whose price it is, where the table knows it", () => {
    expect(priceOf("openai/gpt-4o")).toBeUndefined();
    expect(priceOf("openai/gpt-4o", { baseUrl: "https://openrouter.ai/api/v1", at })).toBeDefined();
    expect(priceOf("gpt-4o", { baseUrl: "http://127.0.0.1:4000/v1", at })?.inputPerMillion).toBe(2_500_000);
  });
});

test.each([
  [{ m: { inputPerMillion: 2.5, outputPerMillion: 1 } }, "m.inputPerMillion"],
  [{ m: { inputPerMillion: -1, outputPerMillion: 1 } }, "m.inputPerMillion"],
  [{ m: { inputPerMillion: 1, output: 1 } }, "m.outputPerMillion"],
  [[], "file"],
])("a price file with %j is refused where it is wrong", (value, path) => {
  expect(() => parsePriceOverrides(value, "prices.json")).toThrow(`prices.json: ${path}`);
});

test.each([
  [2.5, 2_500_000],
  [16.1, 16_100_000],
  [0.0375, 37_500],
  [0.1234561, 123_457],
  [0.000_000_01, 1],
  [0, 0],
])("%s dollars are %s micro-USD, rounded up", (dollars, expected) => {
  expect(microUsdOf(dollars)).toBe(expected);
});
