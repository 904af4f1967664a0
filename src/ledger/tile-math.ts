/** Tiles of height 8, as in C2SP tlog-tiles. Pure: what a tree's growth adds, and in which tile a node is found. */
import { completeNodes, rootOf, rootOfSubtrees } from "./proof/index.ts";
import type { Hash, LeafRange, NodeId } from "./proof/index.ts";

export const tileWidth = 256;
const tileHeight = 8;

/** Node hashes `n * 256` … `n * 256 + width - 1` of tree level `8 * level`, one after the other. */
export type TileId = { readonly level: number; readonly n: number; readonly width: number };
export type Tile = TileId & { readonly data: Uint8Array };

/** The partial tiles of a tree of `size` that are completed or widened when it grows to `newSize`. */
export function tilesToExtend(size: number, newSize: number): readonly TileId[] {
  const tiles: TileId[] = [];
  for (
    let level = 0, before = size, after = newSize;
    after > 0;
    level += 1, before = parents(before), after = parents(after)
  ) {
    const width = before % tileWidth;
    const grows = level === 0 ? parents(after) > parents(before) : after > before;
    if (width > 0 && grows) tiles.push({ level, n: parents(before), width });
  }
  return tiles;
}

/** Collects the nodes that growth completes, and cuts them into the tiles to be written. */
export class TileBuilder {
  readonly #levels: { first: number; hashes: Hash[] }[] = [];

  /** A `NodeVisitor`, to be given to `CompactRange.append`. */
  readonly visit = (level: number, index: number, hash: Hash): void => {
    if (level % tileHeight !== 0) return;
    const row = (this.#levels[level / tileHeight] ??= { first: index, hashes: [] });
    row.hashes.push(hash);
  };

  /** The tiles to write. `extended` are the partial ones of `tilesToExtend`, with their data. */
  tiles(extended: readonly Tile[]): readonly Tile[] {
    return this.#levels.flatMap((row, level) => {
      const partial = extended.find((tile) => tile.level === level);
      const first = row.first - (partial?.width ?? 0);
      const data = Buffer.concat([...(partial === undefined ? [] : [partial.data]), ...row.hashes]);
      return cut(level, first, data);
    });
  }
}

/** The tile that holds the leaves-side hashes of `node`: those of its own tile level, or of the level below it in the tile. */
export function tileOf(node: NodeId): TileId & { readonly from: number } {
  const level = Math.floor(node.level / tileHeight);
  const span = 2 ** (node.level % tileHeight);
  const first = node.index * span;
  const from = first % tileWidth;
  return { level, n: Math.floor(first / tileWidth), from, width: from + span };
}

/** Whether the node's hash stands in its tile; others are made of those. */
export function isStored({ level }: NodeId): boolean {
  return level % tileHeight === 0;
}

/** A node's hash, from the data of its tile. */
export function nodeFromTile(node: NodeId, data: Uint8Array): Hash {
  const { from, width } = tileOf(node);
  return rootOf(hashesOf(data.subarray(from * 32, width * 32)));
}

export function hashesOf(data: Uint8Array): readonly Hash[] {
  return Array.from({ length: data.length / 32 }, (_, place) => data.subarray(place * 32, place * 32 + 32));
}

/** The roots over `ranges`, from the hashes of complete nodes. */
export function rangeRoots(ranges: readonly LeafRange[], nodeOf: (node: NodeId) => Hash): readonly Hash[] {
  return ranges.map((range) => rootOfSubtrees(completeNodes(range).map(nodeOf)));
}

function cut(level: number, first: number, data: Uint8Array): readonly Tile[] {
  const tiles: Tile[] = [];
  for (let index = first, offset = 0; offset < data.length;) {
    // The first piece may begin inside a tile only when that tile is incomplete and not extended: leaves wait in their entries.
    const width = Math.min(tileWidth - (index % tileWidth), (data.length - offset) / 32);
    const starts = index % tileWidth === 0;
    if (starts && (level > 0 || width === tileWidth)) {
      tiles.push({ level, n: index / tileWidth, width, data: data.subarray(offset, offset + width * 32) });
    }
    index += width;
    offset += width * 32;
  }
  return tiles;
}

function parents(nodes: number): number {
  return Math.floor(nodes / tileWidth);
}
