import type { Tx } from "../store/index.ts";
import { LedgerError } from "./errors.ts";
import { readLogState } from "./log-state.ts";
import { consistencyRanges, inclusionRanges, ProofError } from "./proof/index.ts";
import type { Hash, LeafRange } from "./proof/index.ts";
import { readRangeRoots } from "./tiles.ts";

/** The audit path of entry `index` in the log's first `size` entries. Throws `not_in_log`. */
export async function proveInclusion(tx: Tx, log: string, index: number, size: number): Promise<readonly Hash[]> {
  return prove(tx, log, size, () => inclusionRanges(index, size));
}

/** The audit paths of several entries, from one reading of the tree. Throws `not_in_log`. */
export async function proveInclusions(
  tx: Tx,
  log: string,
  indexes: readonly number[],
  size: number,
): Promise<readonly (readonly Hash[])[]> {
  if (indexes.length === 0) return [];
  const ranges = indexes.map((index) => inLog(log, () => inclusionRanges(index, size)));
  const roots = await prove(tx, log, size, () => ranges.flat());
  let from = 0;
  return ranges.map(({ length }) => roots.slice(from, (from += length)));
}

/** The proof that the log's first `from` entries are a prefix of its first `to`; `from` is at least 1. Throws `not_in_log`. */
export async function proveConsistency(tx: Tx, log: string, from: number, to: number): Promise<readonly Hash[]> {
  return prove(tx, log, to, () => consistencyRanges(from, to));
}

async function prove(
  tx: Tx,
  log: string,
  size: number,
  rangesOf: () => readonly LeafRange[],
): Promise<readonly Hash[]> {
  const ranges = inLog(log, rangesOf);
  // Sent together; without the size, what is not in the log would be a broken log.
  const [state, roots] = await Promise.allSettled([readLogState(tx, log), readRangeRoots(tx, log, ranges)]);
  if (state.status === "rejected") throw state.reason;
  if (size > state.value.size)
    throw new LedgerError("not_in_log", `log \`${log}\` has ${state.value.size} entries, fewer than ${size}`);
  if (roots.status === "rejected") throw roots.reason;
  return roots.value;
}

function inLog(log: string, rangesOf: () => readonly LeafRange[]): readonly LeafRange[] {
  try {
    return rangesOf();
  } catch (cause) {
    if (!(cause instanceof ProofError)) throw cause;
    throw new LedgerError("not_in_log", `log \`${log}\` has no such proof: ${cause.message}`, { cause });
  }
}
