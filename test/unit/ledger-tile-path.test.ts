import fc from "fast-check";
import { expect, test } from "vitest";
import { parseTilePath, tilePath } from "../../src/ledger/index.ts";
import { widthInTree } from "../../src/ledger/tile-path.ts";

test.each([
  ["0/000", { kind: "hashes", level: 0, n: 0, width: 256 }],
  ["1/x001/x234/067", { kind: "hashes", level: 1, n: 1_234_067, width: 256 }],
  ["entries/005.p/112", { kind: "entries", n: 5, width: 112 }],
  ["63/000.p/255", { kind: "hashes", level: 63, n: 0, width: 255 }],
])("%s", (path, resource) => {
  expect(parseTilePath(path)).toEqual(resource);
});

test.each([
  "",
  "0",
  "0/0",
  "00/000",
  "64/000",
  "0/x000/001",
  "0/000/001",
  "0/000.p/0",
  "0/000.p/256",
  "0/000.p/007",
  "0/-01",
  "entries/../checkpoint",
  "entries/000.p/1/",
  "0/x001/x001/x001/x001/x001/001",
])("%s is no tile", (path) => {
  expect(parseTilePath(path)).toBeUndefined();
});

test("each resource has one path", () => {
  const resource = fc.record({
    kind: fc.constant("hashes" as const),
    level: fc.nat(63),
    n: fc.nat(2 ** 40),
    width: fc.integer({ min: 1, max: 256 }),
  });
  fc.assert(
    fc.property(resource, (one) => {
      expect(parseTilePath(tilePath(one))).toEqual(one);
    }),
  );
});

test("a tree of 70,000 has the tiles of the specification's example", () => {
  const width = (level: number, n: number) => widthInTree({ kind: "hashes", level, n, width: 256 }, 70_000);
  expect([width(0, 272), width(0, 273), width(0, 274)]).toEqual([256, 112, 0]);
  expect([width(1, 0), width(1, 1), width(2, 0), width(3, 0)]).toEqual([256, 17, 1, 0]);
});
