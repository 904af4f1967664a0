import type { LedgerEntry } from "../core/ledger-event.ts";
import type { RunRecord } from "../core/run-record.ts";
import { scanEntry } from "../ledger/proof/index.ts";
import type { Checkpoint } from "../ledger/proof/index.ts";
import { isCovered } from "./ledger/entry-proof.ts";
import { readableEntries } from "./ledger/readable-entries.ts";
import { check, notChecked } from "./report.ts";
import type { AuditCheck } from "./report.ts";

/** The ledger's entry that says that the contents of a run were erased. */
export type Erasure = { readonly index: number; readonly at: string };

/** Whether an entry says that contents of this run were erased: of it alone, or of all that is under its data key. */
export function erases({ kind, log, facts }: LedgerEntry, { id, team, dataKey }: RunRecord["run"]): boolean {
  if (kind !== "payload.erased" || log !== team) return false;
  return facts["run"] === id || (dataKey !== undefined && facts["dataKey"] === dataKey);
}

/**
 * The erasure of the run's contents; undefined where they are there, or are only missing. That the run is under the data key that the entry
 * names is in its first entry, with which the record is joined.
 */
export function erasureOf({ run, salt, ledger }: RunRecord): Erasure | undefined {
  if (salt !== undefined || run.dataKey === undefined) return undefined;
  const found = readableEntries(ledger.erasures ?? []).find(({ entry }) => erases(entry, run));
  return found && { index: found.index, at: found.entry.at };
}

/** How an erasure is told. */
export function erasedText({ index, at }: Erasure): string {
  return `ERASED (ledger entry ${index}, ${at})`;
}

/** Every entry on erasures is of this run, and in the signed log. */
export function checkErasures(record: RunRecord, checkpoint: Checkpoint | string): AuditCheck {
  const problems: string[] = [];
  let uncovered = 0;
  const entries = record.ledger.erasures ?? [];
  for (const told of entries) {
    const { index, leaf } = told;
    try {
      if (!erases(scanEntry(Buffer.from(leaf, "utf8")), record.run)) {
        problems.push(`entry ${index} erases nothing of this run`);
        continue;
      }
      if (!isCovered(told, checkpoint)) uncovered += 1;
    } catch (error) {
      problems.push(`entry ${index}: ${error instanceof Error ? error.message : "malformed"}`);
    }
  }
  if (problems.length === 0 && uncovered > 0)
    return notChecked("erasures", `${uncovered} entries are newer than the checkpoint`);
  const erasure = erasureOf(record);
  return check("erasures", erasure === undefined ? "none" : erasedText(erasure), problems);
}
