import type { Tx } from "../store/index.ts";
import { LedgerError } from "./errors.ts";
import { CompactRange, equalHashes, ProofError } from "./proof/index.ts";
import type { Hash } from "./proof/index.ts";

/** The committed head of a log. */
export type LogState = { readonly size: number; readonly root: Hash; readonly edge: CompactRange };

/** The log's head; an unknown log is an empty one. Throws `chain_broken` when the row does not fit itself. */
export async function readLogState(tx: Tx, log: string): Promise<LogState> {
  const { rows } = await tx.query<{ size: number; root: Buffer; right_edge: Buffer[] }>(
    "select size, root, right_edge from ledger_state where log = $1",
    [log],
  );
  const [row] = rows;
  if (row === undefined) {
    const edge = CompactRange.empty();
    return { size: 0, root: edge.root(), edge };
  }
  const edge = edgeOf(log, row.size, row.right_edge);
  if (!equalHashes(edge.root(), row.root)) throw broken(log, "its root is not that of its right edge");
  return { size: row.size, root: row.root, edge };
}

/** Grows the log's head from size `from`. Throws `append_conflict` when it is not at that size any more. */
export async function writeLogState(tx: Tx, log: string, from: number, edge: CompactRange): Promise<void> {
  const { rowCount } = await tx.query(
    `insert into ledger_state as head (log, size, root, right_edge) values ($1, $3, $4, $5)
     on conflict (log) do update set size = excluded.size, root = excluded.root, right_edge = excluded.right_edge
     where head.size = $2`,
    [log, from, edge.size, edge.root(), edge.hashes],
  );
  if (rowCount !== 1) throw new LedgerError("append_conflict", `log \`${log}\` is not at size ${from} any more`);
}

export function broken(log: string, what: string, cause?: unknown): LedgerError {
  return new LedgerError("chain_broken", `log \`${log}\` does not fit itself: ${what}`, {
    cause,
    hint: "somebody changed the ledger's tables: verify the log against a checkpoint kept elsewhere, and restore from a backup",
  });
}

function edgeOf(log: string, size: number, hashes: readonly Hash[]): CompactRange {
  try {
    return CompactRange.of(size, hashes);
  } catch (cause) {
    if (!(cause instanceof ProofError)) throw cause;
    throw broken(log, cause.message, cause);
  }
}
