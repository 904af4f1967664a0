import { expect, test } from "vitest";

import { sinceOf, timeOf } from "../../src/cli/times.ts";

const now = new Date("2026-03-10T12:00:00.000Z");

test.each([
  ["15m", "2026-03-10T11:45:00.000Z"],
  ["2w", "2026-02-24T12:00:00.000Z"],
  ["2026-02-28", "2026-02-28T00:00:00.000Z"],
  ["2028-02-29", "2028-02-29T00:00:00.000Z"],
  ["2026-03-01T10:30+02:00", "2026-03-01T08:30:00.000Z"],
  ["2026-03-01T10:30:15.5Z", "2026-03-01T10:30:15.500Z"],
])("since %s is %s", (text, expected) => expect(sinceOf(text, now)).toBe(expected));

test("until a date is until its midnight here, and a span counts from the beginning", () => {
  expect(timeOf("2026-03-31", "--until", now)).toEqual(new Date("2026-03-31T00:00"));
  expect(timeOf("2026-03-31T18:00Z", "--until", now)).toEqual(new Date("2026-03-31T18:00Z"));
  expect(timeOf("8h", "--until", now)).toEqual(new Date("2026-03-10T20:00Z"));
});

test.each([
  "2026-02-30",
  "2026-02-29",
  "2026-04-31T10:00",
  "2026-13-01",
  "2026-00-10",
  "2026-03-01T25:00",
  "2026-03-01x",
  "2026-3-1",
  "yesterday",
  "",
])("`%s` is no time for any flag", (text) => {
  expect(() => sinceOf(text, now)).toThrow("is no time");
  expect(() => timeOf(text, "--until", now)).toThrow("--until: ");
});
