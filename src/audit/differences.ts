import type { LedgerEntry } from "../core/ledger-event.ts";

export type ExpectedFacts = Readonly<Record<string, string | number | readonly string[] | null>>;

/** Where an entry's facts are not the record's; null stands for a fact that must not be there. */
export function differences(what: string, entry: LedgerEntry, expected: ExpectedFacts): readonly string[] {
  return Object.entries(expected).flatMap(([name, value]) => {
    const inLedger = shown(entry.facts[name] ?? null);
    const inRecord = shown(value);
    return inLedger === inRecord
      ? []
      : [`${what}: \`${name}\` is \`${inLedger}\` in the ledger, \`${inRecord}\` in the record`];
  });
}

/** The same of when it happened. */
export function timeDifference(what: string, entry: LedgerEntry, at: string | null): readonly string[] {
  return entry.at === at ? [] : [`${what}: it was at \`${entry.at}\` in the ledger, \`${at ?? "none"}\` in the record`];
}

function shown(value: string | number | readonly string[] | null): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
