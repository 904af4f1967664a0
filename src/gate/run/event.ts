import type { RunId } from "../../core/ids.ts";
import type { LedgerEvent, LedgerFacts, LedgerKind } from "../../core/ledger-event.ts";

/** A ledger event of a run. `name` makes its dedup key, which is unique in the team's log. */
export function runEvent(
  run: { readonly id: RunId; readonly team: string },
  kind: LedgerKind,
  name: string,
  now: Date,
  facts: LedgerFacts,
): LedgerEvent {
  return { log: run.team, kind, dedupKey: `${run.id}/${name}`, run: run.id, at: now.toISOString(), facts };
}
