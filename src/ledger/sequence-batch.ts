import type { LedgerEntry } from "../core/ledger-event.ts";
import type { Digest, RunId } from "../core/ids.ts";
import { faultPoint } from "../faults/index.ts";
import { canonicalBytes } from "../store/index.ts";
import type { Tx } from "../store/index.ts";
import { tryLockLog } from "./lock.ts";
import { broken, readLogState, writeLogState } from "./log-state.ts";
import { hexOf, leafHash, noPrevious } from "./proof/index.ts";
import type { CompactRange, Hash } from "./proof/index.ts";
import { TileBuilder, tilesToExtend } from "./tile-math.ts";
import { insertTiles, readTiles } from "./tiles.ts";

/** Commits are what costs most; this many events of the largest size are 16 MiB. */
export const batchSize = 1_024;

export type BatchResult =
  /** Another sequencer is at this log. */
  | { readonly status: "busy" }
  /** `taken` rows left the outbox, `lastId` the highest of them; `appended` became entries, the others had done so before. */
  | { readonly status: "done"; readonly taken: number; readonly appended: number; readonly lastId: number };

type Waiting = {
  readonly id: number;
  readonly dedup_key: string;
  readonly run: RunId | null;
  readonly event: string;
  /** The run's last entry, if it has one. */
  readonly last_seq: number | null;
  readonly last_hash: Buffer | null;
  readonly sequenced: boolean;
};

type Leaf = {
  readonly index: number;
  readonly hash: Hash;
  readonly body: Uint8Array;
  readonly dedupKey: string;
  readonly run: { readonly id: RunId; readonly seq: number } | undefined;
};

/**
 * Moves the next rows of the log's outbox to its tree, all in the caller's transaction. Rows are taken by id among those that are
 * committed, and deleted one by one: a lower id that commits later is taken later, and nothing waits for it.
 */
export async function sequenceBatch(tx: Tx, log: string): Promise<BatchResult> {
  // In this order on one connection: the reads begin after the lock, so they see what its last holder committed.
  const [locked, state, waiting] = await Promise.all([
    tryLockLog(tx, log),
    readLogState(tx, log),
    takeWaiting(tx, log),
  ]);
  if (!locked) return { status: "busy" };
  const last = waiting.at(-1);
  if (last === undefined) return { status: "done", taken: 0, appended: 0, lastId: 0 };
  const fresh = waiting.filter((row) => !row.sequenced);
  if (fresh.length > 0) await append(tx, log, state.edge, fresh);
  await deleteWaiting(tx, log, waiting);
  return { status: "done", taken: waiting.length, appended: fresh.length, lastId: last.id };
}

async function append(tx: Tx, log: string, edge: CompactRange, rows: readonly Waiting[]): Promise<void> {
  const from = edge.size;
  const partial = tilesToExtend(from, from + rows.length);
  // Read before this transaction adds entries of its own.
  const extended = await readTiles(tx, log, partial);
  if (extended.some((tile, place) => tile.width !== partial[place]?.width))
    throw broken(log, "its tiles are ahead of its head");
  const tiles = new TileBuilder();
  const leaves = chainLeaves(rows, from);
  for (const leaf of leaves) edge.append(leaf.hash, tiles.visit);
  await Promise.all([
    faultPoint("ledger.entries", () => insertEntries(tx, log, leaves)),
    insertTiles(tx, log, tiles.tiles(extended)),
    upsertRuns(tx, log, leaves),
    faultPoint("ledger.state", () => writeLogState(tx, log, from, edge)),
  ]);
}

/** The rows as leaves: each knows its place in the log, and in its run. */
function chainLeaves(rows: readonly Waiting[], from: number): readonly Leaf[] {
  const lastOf = new Map<RunId, { seq: number; hash: string }>();
  return rows.map((row, place) => {
    const event = JSON.parse(row.event) as Omit<LedgerEntry, "run">;
    if (row.run === null) return leafOf(from + place, event);
    const last = lastOf.get(row.run) ?? storedLast(row);
    const run = { id: row.run, seq: last.seq + 1, prev: last.hash as Digest };
    const leaf = leafOf(from + place, { ...event, run });
    lastOf.set(row.run, { seq: run.seq, hash: hexOf(leaf.hash) });
    return leaf;
  });
}

function storedLast(row: Waiting): { seq: number; hash: string } {
  return row.last_seq === null || row.last_hash === null
    ? { seq: -1, hash: noPrevious }
    : { seq: row.last_seq, hash: hexOf(row.last_hash) };
}

function leafOf(index: number, entry: LedgerEntry): Leaf {
  const body = canonicalBytes(entry);
  return { index, hash: leafHash(body), body, dedupKey: entry.dedupKey, run: entry.run };
}

// Scalar look-ups by primary key, so that no plan ever scans the ledger. Duplicates are known by the ledger, not by the outbox:
// a row that was sequenced has left it.
async function takeWaiting(tx: Tx, log: string): Promise<readonly Waiting[]> {
  const { rows } = await tx.query<Waiting>(
    `select waiting.id, waiting.dedup_key, waiting.run, waiting.event, last.seq as last_seq, last.leaf_hash as last_hash,
       exists (select from ledger_entry entry where entry.log = waiting.log and entry.dedup_key = waiting.dedup_key) as sequenced
     from (select * from ledger_outbox where log = $1 order by id limit $2) waiting
     left join lateral (
       select seq, leaf_hash from ledger_run run where run.log = waiting.log and run.run = waiting.run limit 1
     ) last on true
     order by waiting.id`,
    [log, batchSize],
  );
  return rows;
}

async function insertEntries(tx: Tx, log: string, leaves: readonly Leaf[]): Promise<void> {
  await tx.query(
    `insert into ledger_entry (log, idx, leaf_hash, body, dedup_key, run, seq)
     select $1, * from unnest($2::bigint[], $3::bytea[], $4::bytea[], $5::text[], $6::text[], $7::bigint[])`,
    [
      log,
      leaves.map((leaf) => leaf.index),
      leaves.map((leaf) => leaf.hash),
      leaves.map((leaf) => leaf.body),
      leaves.map((leaf) => leaf.dedupKey),
      leaves.map((leaf) => leaf.run?.id ?? null),
      leaves.map((leaf) => leaf.run?.seq ?? null),
    ],
  );
}

async function upsertRuns(tx: Tx, log: string, leaves: readonly Leaf[]): Promise<void> {
  const last = new Map(
    leaves.flatMap((leaf) => (leaf.run === undefined ? [] : [[leaf.run.id, { seq: leaf.run.seq, hash: leaf.hash }]])),
  );
  if (last.size === 0) return;
  await tx.query(
    `insert into ledger_run (log, run, seq, leaf_hash) select $1, * from unnest($2::text[], $3::bigint[], $4::bytea[])
     on conflict (log, run) do update set seq = excluded.seq, leaf_hash = excluded.leaf_hash`,
    [log, [...last.keys()], [...last.values()].map((run) => run.seq), [...last.values()].map((run) => run.hash)],
  );
}

async function deleteWaiting(tx: Tx, log: string, rows: readonly Waiting[]): Promise<void> {
  await tx.query("delete from ledger_outbox where log = $1 and id = any($2::bigint[])", [
    log,
    rows.map((row) => row.id),
  ]);
}
