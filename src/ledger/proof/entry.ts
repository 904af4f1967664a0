import type { LedgerEntry } from "../../core/ledger-event.ts";
import type { Json } from "../../core/json.ts";
import { canonicalBytes } from "../../store/canonical.ts";
import { ledgerEntrySchema, maxEntryBytes } from "./entry.schema.ts";
import { ProofError } from "./errors.ts";

/** The `prev` of a run's first entry. */
export const noPrevious = "0".repeat(64);

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * A leaf's bytes as an entry. Throws `entry_malformed` for what is not the canonical form (RFC 8785) of an entry: another
 * spelling of the same facts would be another leaf.
 */
export function parseEntry(bytes: Uint8Array): LedgerEntry {
  if (bytes.length > maxEntryBytes) {
    throw new ProofError("entry_malformed", `entry has ${bytes.length} bytes, at most ${maxEntryBytes} are allowed`);
  }
  const value = parseJson(bytes);
  if (Buffer.compare(canonicalOrThrow(value), bytes) !== 0)
    throw new ProofError("entry_malformed", "entry is not canonical JSON");
  const parsed = ledgerEntrySchema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new ProofError(
      "entry_malformed",
      `entry is not of version 1: \`${issue?.path.join(".") ?? ""}\` ${issue?.code ?? ""}`,
    );
  }
  return parsed.data as LedgerEntry;
}

function parseJson(bytes: Uint8Array): Json {
  try {
    return JSON.parse(utf8.decode(bytes)) as Json;
  } catch (cause) {
    throw new ProofError("entry_malformed", "entry is not JSON", { cause });
  }
}

function canonicalOrThrow(value: Json): Uint8Array {
  try {
    return canonicalBytes(value);
  } catch (cause) {
    throw new ProofError("entry_malformed", "entry has no canonical form", { cause });
  }
}
