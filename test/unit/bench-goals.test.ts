import { expect, test } from "vitest";

import { missed, printGoals } from "../../bench/goals.ts";

test("a goal that is missed is said and counted, which is what `--strict` ends by", () => {
  const lines: string[] = [];
  printGoals(
    (line) => lines.push(line),
    [
      ["at least 2", 3, 3 >= 2],
      ["at most 2", 3, 3 <= 2],
      ["below 1, of nothing at all", Number.NaN, Number.NaN < 1],
    ],
  );
  expect(lines.map((line) => line.split(", ").at(-1))).toEqual(["met", "missed", "missed"]);
  expect(missed()).toBe(2);
});
