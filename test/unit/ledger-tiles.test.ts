import fc from "fast-check";
import { expect, test } from "vitest";
import {
  CompactRange,
  inclusionRanges,
  leafHash,
  nodeHash,
  rootOf,
  verifyInclusion,
} from "../../src/ledger/proof/index.ts";
import type { Hash, NodeId } from "../../src/ledger/proof/index.ts";
import { nodeFromTile, rangeRoots, TileBuilder, tileOf, tilesToExtend, tileWidth } from "../../src/ledger/tile-math.ts";
import type { Tile, TileId } from "../../src/ledger/tile-math.ts";

/** Tiles as the tables keep them: each width a row, and leaves that fill no tile yet on their own. */
class Tiles {
  readonly edge = CompactRange.empty();
  readonly leaves: Hash[] = [];
  readonly rows = new Map<string, Tile>();

  grow(leaves: readonly Hash[]): void {
    const extended = tilesToExtend(this.edge.size, this.edge.size + leaves.length).map((tile) => this.exact(tile));
    const builder = new TileBuilder();
    for (const leaf of leaves) this.edge.append(leaf, builder.visit);
    this.leaves.push(...leaves);
    for (const tile of builder.tiles(extended)) {
      const key = `${tile.level}/${tile.n}/${tile.width}`;
      if (this.rows.has(key)) throw new Error(`tile ${key} is written twice`);
      if (tile.data.length !== tile.width * 32) throw new Error(`tile ${key} has ${tile.data.length} bytes`);
      this.rows.set(key, tile);
    }
  }

  exact(tile: TileId): Tile {
    if (tile.level > 0) return must(this.rows.get(`${tile.level}/${tile.n}/${tile.width}`));
    return { ...tile, data: Buffer.concat(this.leaves.slice(tile.n * tileWidth)) };
  }

  node(node: NodeId): Hash {
    const tile = tileOf(node);
    for (let width = tile.width; width <= tileWidth; width += 1) {
      const row = this.rows.get(`${tile.level}/${tile.n}/${width}`);
      if (row !== undefined) return nodeFromTile(node, row.data);
    }
    return nodeFromTile(node, this.exact({ ...tile, level: 0 }).data);
  }
}

function must<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new Error("expected a value");
  return value;
}

const leaf = (n: number): Hash => leafHash(Buffer.from(`leaf ${n}`));

test("however a tree grows, its tiles give every proof", { timeout: 30_000 }, () => {
  const steps = fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(steps, fc.nat(), fc.nat(), (counts, a, b) => {
      const tiles = new Tiles();
      for (const count of counts) tiles.grow(Array.from({ length: count }, (_, n) => leaf(tiles.edge.size + n)));
      const size = 1 + (a % tiles.edge.size);
      const index = b % size;
      const proof = rangeRoots(inclusionRanges(index, size), (node) => tiles.node(node));
      const claim = { index, size, leafHash: must(tiles.leaves[index]), proof };
      expect(() => verifyInclusion({ ...claim, root: rootOf(tiles.leaves.slice(0, size)) })).not.toThrow();
    }),
    { numRuns: 40 },
  );
});

test("past 65,536 leaves a third row of tiles begins", { timeout: 30_000 }, () => {
  const tiles = new Tiles();
  // Batches that begin and end inside tiles.
  while (tiles.edge.size < 66_000) tiles.grow(Array.from({ length: 250 }, (_, n) => leaf(tiles.edge.size + n)));
  expect(tiles.rows.get("2/0/1")?.data).toEqual(rootOf(tiles.leaves.slice(0, 65_536)));
  expect(tiles.rows.get("1/0/256")).toBeDefined();
  const size = tiles.edge.size;
  for (const index of [0, 255, 65_535, 65_536, size - 1]) {
    const proof = rangeRoots(inclusionRanges(index, size), (node) => tiles.node(node));
    verifyInclusion({ index, size, leafHash: must(tiles.leaves[index]), proof, root: tiles.edge.root() });
  }
});

test("a node is found in its tile, or above the hashes of its tile", () => {
  const hashes = Array.from({ length: 8 }, (_, n) => leaf(n));
  const data = Buffer.concat(hashes);
  expect(tileOf({ level: 9, index: 300 })).toEqual({ level: 1, n: 2, from: 88, width: 90 });
  expect(nodeFromTile({ level: 0, index: 5 }, data)).toEqual(hashes[5]);
  expect(nodeFromTile({ level: 1, index: 3 }, data)).toEqual(nodeHash(must(hashes[6]), must(hashes[7])));
});
