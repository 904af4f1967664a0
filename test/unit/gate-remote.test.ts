import { setImmediate as later } from "node:timers/promises";

import fc from "fast-check";
import { beforeEach, describe, expect, it, onTestFinished } from "vitest";

import { noFacts } from "../../src/core/decision.ts";
import { createRemote } from "../../src/gate/decision/remote.ts";
import { createTurns } from "../../src/gate/turns.ts";
import { noAnswer } from "../../src/policy/index.ts";
import type { PolicyRequest, RemoteAnswer } from "../../src/policy/index.ts";
import { startDecisionPoint } from "../support/decision-point.ts";
import type { DecisionPoint } from "../support/decision-point.ts";

const request = (steps: number): PolicyRequest => ({
  agent: { team: "shop", name: "support", release: "0".repeat(64), useCase: "support", riskTier: "limited" },
  run: { id: "run_1", requestedBy: "helpdesk" },
  step: { kind: "tool", tool: "refund", arguments: {} },
  facts: { ...noFacts, steps },
});
const place = [{ name: "a", exclusive: true }];
const never = (): never => {
  throw new Error("it was not settled");
};

describe("a remote decision point", () => {
  let point: DecisionPoint;
  beforeEach(async () => {
    point = await startDecisionPoint(({ context }) => context.steps < 5);
    onTestFinished(() => point.close());
  });
  const stepsAsked = () => point.asked.map(({ context }) => context.steps);

  it("is asked between transactions, about what the last one came to, and answers that alone", async () => {
    const open: boolean[] = [];
    let [steps, isOpen] = [3, false];
    point.decides(({ context }) => {
      open.push(isOpen);
      // Meanwhile, others go on.
      if (context.steps < 7) steps += 2;
      return context.steps < 5;
    });
    const decided = await createRemote(point.options)(
      place,
      async (asking) => {
        isOpen = true;
        try {
          return [steps, await asking?.told(request(steps))] as const;
        } finally {
          isOpen = false;
        }
      },
      never,
    );
    expect(decided).toEqual([7, expect.objectContaining({ decision: "deny", code: "forbidden" })]);
    expect([stepsAsked(), open]).toEqual([
      [3, 5, 7],
      [false, false, false],
    ]);
  });

  it("is not asked twice about the same by one decision, and anew by the next", async () => {
    const remotely = createRemote(point.options);
    const twice = async (): Promise<readonly (RemoteAnswer | undefined)[]> =>
      remotely(
        place,
        async (asking) => [
          await asking?.ask(request(1)),
          await asking?.told(request(1)),
          await asking?.told(request(1)),
        ],
        never,
      );
    expect(await twice()).toEqual(Array(3).fill({ decision: "allow" }));
    expect(stepsAsked()).toEqual([1]);
    await twice();
    expect(stepsAsked()).toEqual([1, 1]);
  });

  it.each([
    ["after so many questions", undefined, 10],
    ["after so long a time", { requests: 10, ms: 0 }, 1],
  ])(
    "ends where its facts change each time, %s: with what the caller says, and with no permit",
    async (_, limits, most) => {
      let steps = 0;
      const changing = (unsettled: () => RemoteAnswer) =>
        createRemote(point.options, limits)(
          place,
          async (asking) => asking?.told(request((steps += 1) / 100)),
          unsettled,
        );
      expect(await changing(() => noAnswer("is late"))).toMatchObject({ decision: "deny", code: "undecidable" });
      expect(point.asked).toHaveLength(most);
      await expect(changing(never)).rejects.toThrow("it was not settled");
      expect(point.asked).toHaveLength(2 * most);
    },
  );

  it("decides on the facts of each of twenty that change each other's, of two workers, and no others", async () => {
    let steps = 0;
    const workers = [createRemote(point.options), createRemote(point.options)];
    const one = async (worker: number): Promise<string> =>
      workers[worker]!(
        place,
        async (asking) => {
          const before = steps;
          const answer = await asking?.told(request(before));
          // A transaction: what it was asked about is still so.
          expect(steps).toBe(before);
          if (answer?.decision === "allow") steps += 1;
          return answer?.decision ?? "none";
        },
        never,
      );
    const decided = await Promise.all(Array.from({ length: 20 }, (_, index) => one(index % 2)));
    expect([steps, decided.filter((decision) => decision === "allow").length]).toEqual([5, 5]);
    expect(new Set(stepsAsked())).toEqual(new Set([0, 1, 2, 3, 4, 5]));
  });

  it("passes on what goes wrong for other reasons, and is no more than a call where there is none", async () => {
    await expect(createRemote(point.options)(place, async () => never(), never)).rejects.toThrow("not settled");
    expect(await createRemote(undefined)(place, async (asking) => asking, never)).toBeUndefined();
  });
});

describe("turns", () => {
  it("keep apart what is exclusive, in order, and let shared ones go together, whatever places they want", async () => {
    const places = fc.uniqueArray(fc.record({ name: fc.constantFrom("a", "b", "c"), exclusive: fc.boolean() }), {
      selector: ({ name }) => name,
      maxLength: 3,
    });
    await fc.assert(
      fc.asyncProperty(fc.array(places, { maxLength: 12 }), async (wanted) => {
        const inTurn = createTurns();
        const inside = new Map<string, { readonly exclusive: boolean; readonly order: number }[]>();
        const begun: number[] = [];
        await Promise.all(
          wanted.map((mine, order) =>
            inTurn(mine, async () => {
              begun.push(order);
              for (const { name, exclusive } of mine) {
                const others = inside.get(name) ?? [];
                expect(exclusive ? others.length : others.filter((other) => other.exclusive).length).toBe(0);
                inside.set(name, [...others, { exclusive, order }]);
              }
              await later();
              for (const { name } of mine) {
                inside.set(
                  name,
                  (inside.get(name) ?? []).filter((other) => other.order !== order),
                );
              }
            }),
          ),
        );
        expect(begun.toSorted((a, b) => a - b)).toEqual(wanted.map((_, order) => order));
        const clash = (a: number, b: number) =>
          wanted[a]!.some(({ name, exclusive }) =>
            wanted[b]!.some((other) => other.name === name && (other.exclusive || exclusive)),
          );
        const overtook = begun.flatMap((order, index) =>
          begun.slice(0, index).filter((before) => before > order && clash(before, order)),
        );
        expect(overtook).toEqual([]);
      }),
      { numRuns: 100 },
    );
  });

  it("let shared ones be under way at once", async () => {
    const [inTurn, shared] = [createTurns(), [{ name: "a", exclusive: false }]];
    const second = Promise.withResolvers<string>();
    const first = inTurn(shared, () => second.promise);
    await inTurn(shared, async () => second.resolve("met"));
    expect(await first).toBe("met");
  });

  it("go on after one that fails, and after one that lasts too long", async () => {
    const inTurn = createTurns(1);
    await expect(inTurn(place, async () => never())).rejects.toThrow("not settled");
    const { promise, resolve } = Promise.withResolvers<string>();
    const first = inTurn(place, () => promise);
    expect(await inTurn(place, async () => "overtaken")).toBe("overtaken");
    resolve("late");
    expect(await first).toBe("late");
  });
});
