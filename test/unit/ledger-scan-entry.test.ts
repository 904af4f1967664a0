import fc from "fast-check";
import { expect, test } from "vitest";

import { parseEntry, ProofError, scanEntry } from "../../src/ledger/proof/index.ts";
import { canonicalText } from "../../src/store/canonical.ts";

const runId = `run_${"0".repeat(26)}`;
const entry = (facts: unknown, more: object = {}) => ({
  v: 1,
  kind: "step.result",
  log: "shop",
  dedupKey: "a/1",
  at: "2026-01-01T00:00:00.000Z",
  run: { id: runId, seq: 3, prev: "0".repeat(64) },
  facts,
  ...more,
});

/** What either reader says of these bytes. */
function outcomeOf(read: (bytes: Uint8Array) => unknown, bytes: Uint8Array): unknown {
  try {
    return { entry: read(bytes) };
  } catch (error) {
    if (error instanceof ProofError) return { code: error.code, message: error.message };
    throw error;
  }
}

const fact = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.maxSafeInteger(),
  fc.array(fc.string({ unit: "grapheme" }), { maxLength: 3 }),
  fc.oneof(
    fc.double(),
    fc.boolean(),
    fc.constant(null),
    fc.bigInt().map(Number),
    fc.constant({ a: 1 }),
    fc.constant([1]),
  ),
);
const key = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.constantFrom("1", "10", "2", "__proto__", "é", "\u{1F600}", "\uFFFD", "a\ud800"),
);

test("the quick reader of leaves says what the thorough one says, of any facts", () => {
  fc.assert(
    fc.property(fc.dictionary(key, fact), fc.boolean(), (facts, canonical) => {
      let text: string;
      try {
        text = canonical ? canonicalText(entry(facts) as never) : JSON.stringify(entry(facts));
      } catch {
        text = JSON.stringify(entry(facts));
      }
      const bytes = Buffer.from(text, "utf8");
      expect(outcomeOf(scanEntry, bytes)).toEqual(outcomeOf(parseEntry, bytes));
    }),
    { numRuns: 2_000 },
  );
});

test("and of any bytes near a leaf", () => {
  const text = canonicalText(entry({ a: "é\n\u0007", b: 12, c: ["x"] }) as never);
  fc.assert(
    fc.property(fc.nat(text.length - 1), fc.nat(4), fc.uint8Array({ maxLength: 6 }), (at, cut, put) => {
      const bytes = Buffer.from(text, "utf8");
      const near = Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + cut)]);
      expect(outcomeOf(scanEntry, near)).toEqual(outcomeOf(parseEntry, near));
    }),
    { numRuns: 3_000 },
  );
});

test.each([
  ["a key twice", (text: string) => text.replace('"a":', '"a":"1","a":')],
  ["white space", (text: string) => text.replace(",", ", ")],
  ["1e2 for 100", (text: string) => text.replace("100", "1e2")],
  ["-0", (text: string) => text.replace("100", "-0")],
  ["100.0", (text: string) => text.replace("100", "100.0")],
  ["1e5 for 100000, and spaces where digits were saved", (text: string) => text.replace("100,", "1e5,   ")],
  [
    "1e4 for 10000 in the run, and two spaces",
    (text: string) => text.replace("100", "101").replace('"seq":3', '"seq":1e4  '),
  ],
  ["1e9 for its ten digits, and a key twice", (text: string) => text.replace('100,"b":"t"', '1e9,"b":"","b":"t"')],
  ["names like numbers that are not in order", (text: string) => text.replace('"a":100', '"a":1,"1":2')],
  ["beyond 2^53", (text: string) => text.replace("100", "9007199254740993")],
  ["half a character", (text: string) => text.replace('"t"', '"\\ud800"')],
  ["an escape that is none", (text: string) => text.replace('"t"', '"\\u0074"')],
  ["upper-case escapes", (text: string) => text.replace('"t"', '"\\u000B"')],
  ["a key that is not an entry's", (text: string) => text.replace('"v":1', '"v":1,"w":1')],
  ["keys in another order", (text: string) => text.replace('"a":100,"b":"t"', '"b":"t","a":100')],
  ["a byte order mark", (text: string) => `\uFEFF${text}`],
  ["17 KiB", (text: string) => text.replace('"t"', `"${"t".repeat(17_000)}"`)],
])("%s is no leaf", (_, change) => {
  const text = canonicalText(entry({ a: 100, b: "t" }) as never);
  expect(outcomeOf(scanEntry, Buffer.from(text))).toHaveProperty("entry");
  const bytes = Buffer.from(change(text), "utf8");
  expect(outcomeOf(scanEntry, bytes)).toMatchObject({ code: "entry_malformed" });
  expect(outcomeOf(scanEntry, bytes)).toEqual(outcomeOf(parseEntry, bytes));
});
