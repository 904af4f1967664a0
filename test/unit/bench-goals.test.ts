import { expect, test } from "vitest";

import { missed, printGoals } from "../../bench/goals.ts";

test("a goal that is missed is said and counted, which is what `--strict` ends by", () => {
  const lines: string[] = [];
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [some, none] = [mean([3]), mean([])];
  printGoals(
    (line) => lines.push(line),
    [
      ["at least 2", some, some >= 2],
      ["at most 2", some, some <= 2],
      ["below 1, of nothing at all", none, none < 1],
    ],
  );
  expect(lines.map((line) => line.split(", ").at(-1))).toEqual(["met", "missed", "missed"]);
  expect(missed()).toBe(2);
});
