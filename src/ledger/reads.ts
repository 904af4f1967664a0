import type { Digest, RunId } from "../core/ids.ts";
import type { LedgerEntry } from "../core/ledger-event.ts";
import type { Tx } from "../store/index.ts";
import { hexOf, scanEntry } from "./proof/index.ts";

/** A signed note: verify it with `openCheckpoint`. */
export type SignedCheckpoint = { readonly size: number; readonly note: string; readonly signedAt: Date };

/** An entry in its place. `body` is the exact bytes that `leafHash` is over. */
export type SequencedEntry = {
  readonly log: string;
  readonly index: number;
  readonly leafHash: Digest;
  readonly body: Uint8Array;
  readonly entry: LedgerEntry;
};

const pageSize = 1_000;

/** The newest checkpoint, or undefined while nothing was signed. */
export async function latestCheckpoint(tx: Tx, log: string): Promise<SignedCheckpoint | undefined> {
  const { rows } = await tx.query<SignedCheckpoint>(
    `select size, note, signed_at as "signedAt" from ledger_checkpoint where log = $1 order by size desc limit 1`,
    [log],
  );
  return rows[0];
}

/** The checkpoint that was signed at this very size, or undefined. */
export async function checkpointOfSize(tx: Tx, log: string, size: number): Promise<SignedCheckpoint | undefined> {
  const { rows } = await tx.query<SignedCheckpoint>(
    `select size, note, signed_at as "signedAt" from ledger_checkpoint where log = $1 and size = $2`,
    [log, size],
  );
  return rows[0];
}

/** What a run of `release` is judged against: the entries of the log's policy activations and of the release's registration. */
export async function readContextEntries(tx: Tx, log: string, release: Digest): Promise<readonly SequencedEntry[]> {
  const { rows } = await tx.query<EntryRow>(
    `select log, idx, leaf_hash, body from ledger_entry
     where log = $1 and run is null and dedup_key ~ '^policy/[0-9]+$'
     union all
     select log, idx, leaf_hash, body from ledger_entry
     where log = $1 and run is null and dedup_key = 'release/' || $2
     order by idx`,
    [log, release],
  );
  return rows.map(sequencedEntry);
}

/** Up to `limit` entries of the log from index `from` on. Throws `entry_malformed` for a row that is not an entry. */
export async function readEntries(
  tx: Tx,
  log: string,
  from: number,
  limit: number,
): Promise<readonly SequencedEntry[]> {
  const { rows } = await tx.query<EntryRow>(
    "select log, idx, leaf_hash, body from ledger_entry where log = $1 and idx >= $2 order by idx limit $3",
    [log, from, limit],
  );
  return rows.map(sequencedEntry);
}

/** The entries of a run in the order of their `seq`. */
export async function readRunEntries(tx: Tx, run: RunId): Promise<readonly SequencedEntry[]> {
  const { rows } = await tx.query<EntryRow>(
    "select log, idx, leaf_hash, body from ledger_entry where run = $1 order by seq",
    [run],
  );
  return rows.map(sequencedEntry);
}

/** The entries of the log with these keys, in their order in the log. */
export async function readKeyedEntries(
  tx: Tx,
  log: string,
  dedupKeys: readonly string[],
): Promise<readonly SequencedEntry[]> {
  if (dedupKeys.length === 0) return [];
  const { rows } = await tx.query<EntryRow>(
    "select log, idx, leaf_hash, body from ledger_entry where log = $1 and dedup_key = any($2::text[]) order by idx",
    [log, dedupKeys],
  );
  return rows.map(sequencedEntry);
}

/** How many events under these keys wait to be sequenced. */
export async function unsequencedKeyed(tx: Tx, log: string, dedupKeys: readonly string[]): Promise<number> {
  if (dedupKeys.length === 0) return 0;
  const { rows } = await tx.query<{ waiting: number }>(
    "select count(*) as waiting from ledger_outbox where log = $1 and dedup_key = any($2::text[])",
    [log, dedupKeys],
  );
  return rows[0]?.waiting ?? 0;
}

/** How many entries the log has; 0 for one that has not begun. */
export async function logSize(tx: Tx, log: string): Promise<number> {
  const { rows } = await tx.query<{ size: number }>("select size from ledger_state where log = $1", [log]);
  return rows[0]?.size ?? 0;
}

/** Every log that has begun, by name, with its entries and those that a checkpoint covers. */
export async function logHeads(
  tx: Tx,
): Promise<readonly { readonly log: string; readonly size: number; readonly signed: number }[]> {
  const { rows } = await tx.query<{ log: string; size: number; signed: number }>(
    `select log, greatest(coalesce(state.size, 0), coalesce(signed.size, 0)) as size, coalesce(signed.size, 0) as signed
     from ledger_state state
     full join (select log, max(size) as size from ledger_checkpoint group by log) signed using (log) order by log`,
  );
  return rows;
}

/** How many events of the run wait to be sequenced. */
export async function unsequenced(tx: Tx, run: RunId): Promise<number> {
  const { rows } = await tx.query<{ waiting: number }>("select count(*) as waiting from ledger_outbox where run = $1", [
    run,
  ]);
  return rows[0]?.waiting ?? 0;
}

/** The bytes of the log's first `size` entries, as they are stored: what `verifyLog` takes. Read in pages. */
export async function* entryBodies(tx: Tx, log: string, size: number): AsyncGenerator<Uint8Array> {
  for (let from = 0; from < size; from += pageSize) {
    const { rows } = await tx.query<{ body: Buffer }>(
      "select body from ledger_entry where log = $1 and idx >= $2 and idx < $3 order by idx",
      [log, from, Math.min(from + pageSize, size)],
    );
    for (const row of rows) yield row.body;
  }
}

type EntryRow = { readonly log: string; readonly idx: number; readonly leaf_hash: Buffer; readonly body: Buffer };

function sequencedEntry(row: EntryRow): SequencedEntry {
  return {
    log: row.log,
    index: row.idx,
    leafHash: hexOf(row.leaf_hash) as Digest,
    body: row.body,
    entry: scanEntry(row.body),
  };
}
