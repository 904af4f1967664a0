import fc from "fast-check";
import { describe, expect, test } from "vitest";

import type { Json, JsonObject } from "../../src/core/json.ts";
import { canonicalBytes, canonicalText, digestOf, sha256, streamDigest } from "../../src/store/canonical.ts";

// RFC 8785, appendix B: IEEE 754 bits, and the number as ECMAScript writes it.
test.each([
  ["0000000000000000", "0"],
  ["8000000000000000", "0"],
  ["0000000000000001", "5e-324"],
  ["8000000000000001", "-5e-324"],
  ["7fefffffffffffff", "1.7976931348623157e+308"],
  ["ffefffffffffffff", "-1.7976931348623157e+308"],
  ["4340000000000000", "9007199254740992"],
  ["c340000000000000", "-9007199254740992"],
  ["4430000000000000", "295147905179352830000"],
  ["44b52d02c7e14af5", "9.999999999999997e+22"],
  ["44b52d02c7e14af6", "1e+23"],
  ["44b52d02c7e14af7", "1.0000000000000001e+23"],
  ["444b1ae4d6e2ef4e", "999999999999999700000"],
  ["444b1ae4d6e2ef4f", "999999999999999900000"],
  ["444b1ae4d6e2ef50", "1e+21"],
  ["3eb0c6f7a0b5ed8c", "9.999999999999997e-7"],
  ["3eb0c6f7a0b5ed8d", "0.000001"],
  ["41b3de4355555553", "333333333.3333332"],
  ["41b3de4355555554", "333333333.33333325"],
  ["41b3de4355555555", "333333333.3333333"],
  ["41b3de4355555556", "333333333.3333334"],
  ["41b3de4355555557", "333333333.33333343"],
  ["becbf647612f3696", "-0.0000033333333333333333"],
  ["43143ff3c1cb0959", "1424953923781206.2"],
])("the number with the bits %s is written %s", (bits, text) => {
  expect(canonicalText(Buffer.from(bits, "hex").readDoubleBE())).toBe(text);
});

test("RFC 8785, 3.2.2 and 3.2.4: the sample object, to the byte", () => {
  const sample = {
    numbers: [Number("333333333.33333329"), 1e30, 4.5, 2e-3, 0.000000000000000000000000001],
    string: '\u20ac$\u000f\nA\'B"\\\\"/',
    literals: [null, true, false],
  };
  const expected =
    '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}';
  expect(Buffer.from(canonicalBytes(sample)).toString("utf8")).toBe(expected);
  expect(digestOf(sample)).toBe(sha256(expected));
});

test("RFC 8785, 3.2.3: keys are sorted by UTF-16 code units, not by code points or locale", () => {
  const keys = ["\u20ac", "\r", "\ufb33", "1", "\u{1f600}", "\u0080", "\u00f6"];
  const text = canonicalText(Object.fromEntries(keys.map((key) => [key, 0])));
  expect(Object.keys(JSON.parse(text) as object).toSorted()).toEqual(keys.toSorted());
  // In the order of the text: an object that is parsed again puts `1` first.
  expect([...text.matchAll(/"(?:[^"\\]|\\.)+"/g)].map(([key]) => JSON.parse(key) as string)).toEqual([
    "\r",
    "1",
    "\u0080",
    "\u00f6",
    "\u20ac",
    "\u{1f600}",
    "\ufb33",
  ]);
});

describe("a value has no canonical form that", () => {
  const cycle: unknown[] = [];
  cycle.push(cycle);
  const nested = (depth: number): Json => (depth === 0 ? 0 : [nested(depth - 1)]);

  test.each<[string, unknown]>([
    ["is NaN", Number.NaN],
    ["is infinite", [Number.POSITIVE_INFINITY]],
    ["has a lone surrogate", { a: "\ud800" }],
    ["has one in a key", { "\udc00": 1 }],
    ["is nested deeper than 128", nested(129)],
    ["holds itself", cycle],
    ["is undefined", undefined],
    ["has a hole", [undefined]],
    ["is a bigint", { a: 1n }],
    ["is a function", { a: () => 1 }],
    ["is a date", { a: new Date(0) }],
    // It would be `{}`, whatever it holds.
    ["is a map", new Map([["a", 1]])],
    ["is bytes", new Uint8Array([1])],
  ])("%s", (_, value) => {
    expect(() => canonicalText(value as Json)).toThrow(expect.objectContaining({ code: "not_canonical" }) as Error);
  });

  test("is at the border of the depth has one", () => {
    expect(canonicalText(nested(128))).toBe(`${"[".repeat(128)}0${"]".repeat(128)}`);
  });
});

const wellFormed = fc.string({ unit: "grapheme" });
const json = fc.jsonValue({ stringUnit: "grapheme", maxDepth: 4 }) as fc.Arbitrary<Json>;

test("the digest does not depend on the order of keys, and survives JSON text", () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.tuple(wellFormed, json), { selector: ([key]) => key }),
      fc.integer(),
      (pairs, seed) => {
        const value = Object.fromEntries(pairs) as JsonObject;
        const shuffled = pairs.toSorted(([a], [b]) => sha256(a + seed).localeCompare(sha256(b + seed)));
        expect(digestOf(Object.fromEntries(shuffled))).toBe(digestOf(value));
        expect(digestOf(JSON.parse(JSON.stringify(value, null, 2)) as Json)).toBe(digestOf(value));
      },
    ),
  );
});

test("two values have one digest only where they are the same JSON", () => {
  fc.assert(
    fc.property(json, json, (one, other) => {
      const same = canonicalText(one) === canonicalText(other);
      expect(digestOf(one) === digestOf(other)).toBe(same);
      expect(JSON.parse(canonicalText(one))).toEqual(JSON.parse(JSON.stringify(one)));
    }),
  );
});

test("a stream has the digest of its bytes, however it is cut", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array()), (chunks) => {
      const running = streamDigest();
      for (const chunk of chunks) running.update(chunk);
      expect(running.digest()).toBe(sha256(Buffer.concat(chunks)));
    }),
  );
  // FIPS 180-4's example: it is SHA-256, and not merely some hash.
  expect(sha256("abc")).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
});
