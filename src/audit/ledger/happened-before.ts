import type { LedgerEntry } from "../../core/ledger-event.ts";

/** An entry of a log, at its place. */
export type Placed = { readonly index: number; readonly entry: LedgerEntry };

/** Two logs have no common order but what each decision notes of the other, and what the clock said. */
export function happenedBefore({ index, entry }: Placed, { facts, at }: LedgerEntry, time = at): boolean {
  const { keysSize } = facts;
  return (typeof keysSize === "number" && index < keysSize) || entry.at <= time;
}
