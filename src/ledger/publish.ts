import type { Tx } from "../store/index.ts";
import { tileWidth } from "./tile-math.ts";
import { widthInTree } from "./tile-path.ts";
import type { TileResource } from "./tile-path.ts";
import { readTiles } from "./tiles.ts";

/**
 * A resource of C2SP tlog-tiles, from what a signed checkpoint covers. Undefined where no checkpoint has it: what is not signed yet is not
 * published.
 */
export async function publishedTile(
  tx: Tx,
  log: string,
  resource: TileResource,
): Promise<{ readonly bytes: Buffer } | undefined> {
  const { rows } = await tx.query<{ size: number | null }>(
    "select max(size) as size from ledger_checkpoint where log = $1",
    [log],
  );
  if (resource.width > widthInTree(resource, rows[0]?.size ?? 0)) return undefined;
  return { bytes: resource.kind === "entries" ? await bundle(tx, log, resource) : await hashes(tx, log, resource) };
}

async function hashes(tx: Tx, log: string, tile: Extract<TileResource, { kind: "hashes" }>): Promise<Buffer> {
  const [found] = await readTiles(tx, log, [tile]);
  return Buffer.from(found?.data ?? []).subarray(0, tile.width * 32);
}

/** Entries one after the other, each after its length as a big-endian uint16. */
async function bundle(tx: Tx, log: string, { n, width }: TileResource): Promise<Buffer> {
  const { rows } = await tx.query<{ body: Buffer }>(
    "select body from ledger_entry where log = $1 and idx >= $2 and idx < $3 order by idx",
    [log, n * tileWidth, n * tileWidth + width],
  );
  return Buffer.concat(
    rows.flatMap(({ body }) => {
      const length = Buffer.alloc(2);
      length.writeUInt16BE(body.length);
      return [length, body];
    }),
  );
}
