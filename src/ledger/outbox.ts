import type { RunId } from "../core/ids.ts";
import type { LedgerEvent } from "../core/ledger-event.ts";
import { CanonicalError, canonicalText } from "../store/index.ts";
import type { Tx } from "../store/index.ts";
import { LedgerError } from "./errors.ts";
import { ledgerEventSchema, maxEntryBytes } from "./proof/entry.schema.ts";

/** What the sequencer adds to an event of a run, at the most: `"run":{"id":…,"prev":…,"seq":…},` with a seq of 16 digits. */
const runBytes = 142;

/**
 * Hands events to the ledger as part of the caller's transaction: one round trip, in the order given. An event whose log and
 * `dedupKey` are known already, waiting or sequenced, is dropped silently. Throws `event_invalid` or `event_too_large` before
 * anything is written: whatever gets past here can be sequenced.
 */
export async function appendToOutbox(tx: Tx, events: readonly LedgerEvent[]): Promise<void> {
  if (events.length === 0) return;
  await tx.query(outboxSql("$1"), [JSON.stringify(outboxRows(events))]);
}

/** The same as part of a larger statement, for whoever writes what the events tell of: `rows` is SQL for the JSON of what `outboxRows` returns. */
export function outboxSql(rows: string): string {
  return `insert into ledger_outbox (log, dedup_key, run, event)
     select log, dedup_key, run, event
     from rows from (jsonb_to_recordset(${rows}::jsonb) as (log text, dedup_key text, run text, event text)) with ordinality
       as given (log, dedup_key, run, event, place)
     order by place
     on conflict (log, dedup_key) do nothing`;
}

/** A row of the outbox, to be given as JSON. */
export type OutboxRow = {
  readonly log: string;
  readonly dedup_key: string;
  readonly run: RunId | undefined;
  readonly event: string;
};

/** Throws as `appendToOutbox` does. */
export function outboxRows(events: readonly LedgerEvent[]): readonly OutboxRow[] {
  return events.map((event) => ({
    log: event.log,
    dedup_key: event.dedupKey,
    run: event.run,
    event: eventText(event),
  }));
}

/** The entry's canonical JSON, `run` left out: its place in the run is known when it is sequenced. */
function eventText(event: LedgerEvent): string {
  const parsed = ledgerEventSchema.safeParse(event);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new LedgerError(
      "event_invalid",
      `ledger event has a wrong \`${issue?.path.join(".") ?? ""}\`: ${issue?.code ?? "invalid"}`,
      {
        hint: "facts are strings, integers and lists of strings; contents go to the payload store, and their digest here",
      },
    );
  }
  const { log, kind, dedupKey, at, facts } = event;
  const text = canonicalOrThrow(() => canonicalText({ v: 1, kind, log, dedupKey, at, facts }));
  const bytes = Buffer.byteLength(text) + (event.run === undefined ? 0 : runBytes);
  if (bytes > maxEntryBytes) {
    throw new LedgerError(
      "event_too_large",
      `ledger event \`${kind}\` has ${bytes} bytes, at most ${maxEntryBytes} are kept`,
      {
        hint: "put contents into the payload store, and their digest into the event",
      },
    );
  }
  return text;
}

function canonicalOrThrow(work: () => string): string {
  try {
    return work();
  } catch (cause) {
    if (!(cause instanceof CanonicalError)) throw cause;
    throw new LedgerError("event_invalid", `ledger event is not canonical: ${cause.message}`, { cause });
  }
}
