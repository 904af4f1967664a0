import fc from "fast-check";
import { expect, test } from "vitest";

import { createTogether } from "../../src/gate/together.ts";

type Item = { readonly key: string; readonly id: number; readonly bad: boolean };
class Refused extends Error {}
class Lost extends Error {}

const items = fc.array(fc.record({ key: fc.constantFrom("a", "b", "c", "d"), bad: fc.boolean() }), { maxLength: 40 });

test("each item is done once or fails for itself, and no two of one key together", async () => {
  await fc.assert(
    fc.asyncProperty(items, fc.array(fc.nat(3), { minLength: 1, maxLength: 5 }), async (wanted, pauses) => {
      const done: number[] = [];
      const together = createTogether<Item, number>({
        key: ({ key }) => key,
        all: async (group) => {
          expect(new Set(group.map(({ key }) => key)).size).toBe(group.length);
          await turns(pauses[group.length % pauses.length] ?? 0);
          if (group.some(({ bad }) => bad)) throw new Refused();
          done.push(...group.map(({ id }) => id));
          return group.map(({ id }) => id);
        },
        one: async ({ id, bad }) => {
          await turns(1);
          if (bad) throw new Refused();
          done.push(id);
          return id;
        },
        undone: (error) => error instanceof Refused,
      });
      const asked = wanted.map((item, id) => together({ ...item, id }).catch(() => "refused"));
      expect(await Promise.all(asked)).toEqual(wanted.map(({ bad }, id) => (bad ? "refused" : id)));
      expect(done.toSorted((a, b) => a - b)).toEqual(wanted.flatMap(({ bad }, id) => (bad ? [] : [id])));
    }),
  );
});

test("what may have been done is not done again", async () => {
  let attempts = 0;
  const lose = async (): Promise<never> => {
    attempts += 1;
    throw new Lost();
  };
  const together = createTogether<Item, number>({ key: ({ key }) => key, all: lose, one: lose, undone: () => false });
  const ends = await Promise.allSettled(["a", "b", "c"].map((key, id) => together({ key, id, bad: false })));
  expect(ends.map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
  expect(attempts).toBe(1);
});

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise(setImmediate);
}
