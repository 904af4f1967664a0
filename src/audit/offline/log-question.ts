import type { LedgerEntry } from "../../core/ledger-event.ts";
import type { Findings } from "./findings.ts";
import type { TrustRoots } from "./trust.ts";

/** What is asked about a log of a bundle. */
export type LogQuestion = {
  readonly trust: TrustRoots;
  readonly findings: Findings;
  /** Signed notes that the auditor kept, of any log. */
  readonly pinned: readonly string[];
  readonly runs: ReadonlySet<string>;
  readonly now: Date;
  readonly keep: (entry: LedgerEntry) => boolean;
  readonly onProgress?: ((log: string, entries: number) => void) | undefined;
};
