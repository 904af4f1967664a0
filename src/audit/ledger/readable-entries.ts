import type { LedgerExcerpt } from "../../core/run-record.ts";
import { scanEntry } from "../../ledger/proof/index.ts";
import type { Placed } from "./happened-before.ts";

/** Entries of a record with their places in the log. What cannot be read is none: to say so of a run's own is the `chain` check's matter. */
export function readableEntries(entries: LedgerExcerpt["entries"]): readonly Placed[] {
  return entries.flatMap(({ index, leaf }) => {
    try {
      return [{ index, entry: scanEntry(Buffer.from(leaf, "utf8")) }];
    } catch {
      return [];
    }
  });
}
