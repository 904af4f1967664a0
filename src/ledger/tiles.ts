import type { Tx } from "../store/index.ts";
import { broken } from "./log-state.ts";
import type { Hash, LeafRange, NodeId } from "./proof/index.ts";
import { completeNodes, nodeHash } from "./proof/index.ts";
import { isStored, nodeFromTile, rangeRoots, tileOf, tileWidth } from "./tile-math.ts";
import type { Tile, TileId } from "./tile-math.ts";

export async function insertTiles(tx: Tx, log: string, tiles: readonly Tile[]): Promise<void> {
  if (tiles.length === 0) return;
  await tx.query(
    `insert into ledger_tile (log, level, n, width, data)
     select $1, * from unnest($2::smallint[], $3::bigint[], $4::smallint[], $5::bytea[])`,
    [
      log,
      tiles.map((tile) => tile.level),
      tiles.map((tile) => tile.n),
      tiles.map((tile) => tile.width),
      tiles.map((tile) => tile.data),
    ],
  );
}

/**
 * The data of tiles at least as wide as asked for, in the order of `wanted`. Leaf tiles that are not full are read from the entries.
 * Throws `chain_broken` when hashes are missing.
 */
export async function readTiles(tx: Tx, log: string, wanted: readonly TileId[]): Promise<readonly Tile[]> {
  if (wanted.length === 0) return [];
  const leaves = wanted.filter((tile) => tile.level === 0);
  const [stored, fresh] = await Promise.all([
    readStored(tx, log, wanted),
    // Which leaf tiles are full is not known yet; asking for the last one's entries is cheaper than asking twice.
    readLastLeaves(tx, log, leaves),
  ]);
  return wanted.map((tile) => {
    const found = [...stored, ...fresh].find(
      (row) => row.level === tile.level && row.n === tile.n && row.width >= tile.width,
    );
    if (found === undefined) throw broken(log, `tile ${tile.level}/${tile.n} with ${tile.width} hashes is missing`);
    return found;
  });
}

async function readStored(tx: Tx, log: string, wanted: readonly TileId[]): Promise<readonly Tile[]> {
  const { rows } = await tx.query<Tile>(
    `select distinct on (tile.level, tile.n) tile.level, tile.n, tile.width, tile.data
     from unnest($2::smallint[], $3::bigint[], $4::smallint[]) as wanted (level, n, width)
     join ledger_tile tile on tile.log = $1 and tile.level = wanted.level and tile.n = wanted.n and tile.width >= wanted.width
     order by tile.level, tile.n, tile.width desc`,
    [log, wanted.map((tile) => tile.level), wanted.map((tile) => tile.n), wanted.map((tile) => tile.width)],
  );
  return rows;
}

/** The hashes of the highest leaf tile of `wanted`, from its entries. It is the only one that can be incomplete. */
async function readLastLeaves(tx: Tx, log: string, wanted: readonly TileId[]): Promise<readonly Tile[]> {
  if (wanted.length === 0) return [];
  const n = Math.max(...wanted.map((tile) => tile.n));
  const { rows } = await tx.query<{ data: Buffer; width: number }>(
    `select string_agg(leaf_hash, ''::bytea order by idx) as data, count(*) as width
     from ledger_entry where log = $1 and idx >= $2 and idx < $3`,
    [log, n * tileWidth, (n + 1) * tileWidth],
  );
  return rows.filter((row) => row.width > 0).map((row) => ({ level: 0, n, width: row.width, data: row.data }));
}

/** The roots over `ranges` of leaves, read from tiles: a few kilobytes, however large the log is. */
export async function readRangeRoots(tx: Tx, log: string, ranges: readonly LeafRange[]): Promise<readonly Hash[]> {
  const wanted = widest(ranges.flatMap(completeNodes).map(tileOf));
  const tiles = new Map((await readTiles(tx, log, wanted)).map((tile) => [keyOf(tile), tile.data]));
  // The paths of a run's entries, which lie side by side, are of the same nodes, or of nodes over the same: each is hashed once.
  const known = new Map<string, Hash>();
  const hashOf = (node: NodeId): Hash => {
    const key = `${node.level}/${node.index}`;
    const hash = known.get(key) ?? (isStored(node) ? stored(node) : madeOf(node));
    known.set(key, hash);
    return hash;
  };
  const madeOf = ({ level, index }: NodeId): Hash =>
    nodeHash(hashOf({ level: level - 1, index: 2 * index }), hashOf({ level: level - 1, index: 2 * index + 1 }));
  const stored = (node: NodeId): Hash => {
    const data = tiles.get(keyOf(tileOf(node)));
    if (data === undefined) throw broken(log, `the tile of node ${node.level}/${node.index} is missing`);
    return nodeFromTile(node, data);
  };
  return rangeRoots(ranges, hashOf);
}

/** Each tile once, as wide as any of its nodes needs it. */
function widest(tiles: readonly TileId[]): readonly TileId[] {
  const byKey = new Map<string, TileId>();
  for (const tile of tiles) {
    const known = byKey.get(keyOf(tile));
    if (known === undefined || known.width < tile.width) byKey.set(keyOf(tile), tile);
  }
  return [...byKey.values()];
}

function keyOf(tile: Pick<TileId, "level" | "n">): string {
  return `${tile.level}/${tile.n}`;
}
