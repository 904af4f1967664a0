import fc from "fast-check";
import { expect, test } from "vitest";

import { elapsed, enter, leave, startClock } from "../../src/core/active-clock.ts";

type Interval = { readonly from: number; readonly to: number };
type Moment = { readonly at: number; readonly begins: boolean };

const intervals = fc.array(
  fc
    .tuple(fc.nat({ max: 1_000 }), fc.nat({ max: 200 }))
    .map(([from, length]): Interval => ({ from, to: from + length })),
  { maxLength: 12 },
);

/** Counted millisecond by millisecond: no cleverness that could share the clock's mistakes. */
function unionLength(given: readonly Interval[], until = Infinity): number {
  const covered = new Set<number>();
  for (const { from, to } of given) for (let at = from; at < Math.min(to, until); at += 1) covered.add(at);
  return covered.size;
}

function momentsOf(given: readonly Interval[], beginningsFirst: boolean): readonly Moment[] {
  const rank = ({ begins }: Moment): number => (begins === beginningsFirst ? 0 : 1);
  return given
    .flatMap(({ from, to }) => [
      { at: from, begins: true },
      { at: to, begins: false },
    ])
    .toSorted((a, b) => a.at - b.at || rank(a) - rank(b));
}

test("however steps overlap, the time worked is the union of their times, at the end and on the way", () => {
  fc.assert(
    fc.property(
      intervals,
      fc.nat({ max: 10_000 }),
      fc.boolean(),
      fc.nat({ max: 1_300 }),
      (given, before, first, look) => {
        // A step of no length begins before it ends, whatever the order of the others at that moment.
        const moments = momentsOf(first ? given : given.filter(({ from, to }) => to > from), first);
        const run = (upTo: readonly Moment[]) =>
          upTo.reduce((clock, { at, begins }) => (begins ? enter(clock, at) : leave(clock, at)), startClock(before));
        const end = run(moments);
        expect(end).toMatchObject({ activeMs: before + unionLength(given), running: 0 });
        expect(elapsed(end, 1_000_000)).toBe(end.activeMs);
        expect(elapsed(run(moments.filter(({ at }) => at <= look)), look)).toBe(before + unionLength(given, look));
      },
    ),
  );
});

test("waiting for people is not work, unless something else is under way", () => {
  let clock = enter(startClock(0), 1_000);
  clock = leave(clock, 1_010);
  // Three weeks go by.
  expect(elapsed(clock, 1_814_400_000)).toBe(10);
  clock = leave(enter(clock, 1_814_400_000), 1_814_400_005);
  expect(elapsed(clock, 1_814_400_005)).toBe(15);
});

test("a clock that is set back takes nothing away", () => {
  const clock = enter(startClock(100), 1_000);
  expect(elapsed(clock, 900)).toBe(100);
  expect(leave(clock, 900).activeMs).toBe(100);
});
