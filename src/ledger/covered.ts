import type { LedgerEntry } from "../core/ledger-event.ts";
import type { Tx } from "../store/index.ts";
import { LedgerError } from "./errors.ts";
import {
  cosignedBy,
  leafHash,
  parseCheckpoint,
  scanEntry,
  ProofError,
  verifyInclusion,
  verifyNote,
} from "./proof/index.ts";
import type { VerifierKey } from "./proof/index.ts";
import { proveInclusion } from "./prove.ts";
import type { Witness } from "./witnesses.ts";

/** Whom somebody who waits for cosignatures believes: nothing of it comes from the database. */
export type Cosigners = {
  readonly witnesses: readonly Pick<Witness, "verifierKey" | "key">[];
  /** The verifier keys of a log: their name is its origin. */
  readonly logKeys: (log: string) => readonly VerifierKey[];
};

/** Checkpoints that are looked at in one go: who writes nonsense into the tables delays, and does not tire. */
const looked = 8;

/**
 * The smallest checkpoint of the log that covers the entry under `dedupKey` and that `quorum` of the witnesses cosigned; undefined while there
 * is none. The log's signature, the cosignatures and the entry's place in the signed tree are verified here: rows of the database alone cover
 * nothing. `isIt` tells whether the entry is the one that is meant.
 */
export async function coveringCheckpoint(
  tx: Tx,
  { witnesses, logKeys }: Cosigners,
  wanted: {
    readonly log: string;
    readonly dedupKey: string;
    readonly quorum: number;
    readonly isIt: (entry: LedgerEntry) => boolean;
  },
): Promise<{ readonly size: number } | undefined> {
  const { log, dedupKey, quorum, isIt } = wanted;
  const { rows } = await tx.query<{ idx: number; body: Buffer }>(
    "select idx, body from ledger_entry where log = $1 and dedup_key = $2",
    [log, dedupKey],
  );
  const [entry] = rows;
  if (entry === undefined || quorum < 1 || !isEntry(entry.body, isIt)) return undefined;
  const { rows: notes } = await tx.query<{ size: number; note: string }>(
    `select checkpoint.size, checkpoint.note || string_agg(said.line, '' order by said.witness) as note
     from ledger_checkpoint checkpoint
     join ledger_cosignature said on said.log = checkpoint.log and said.size = checkpoint.size
     where checkpoint.log = $1 and checkpoint.size > $2 and said.witness = any($3::text[])
     group by checkpoint.log, checkpoint.size
     having count(*) >= $4::int order by checkpoint.size limit ${looked}`,
    [log, entry.idx, witnesses.map(({ verifierKey }) => verifierKey), quorum],
  );
  const keys = witnesses.map(({ key }) => key);
  for (const { note, size } of notes) {
    if (await covers(tx, note, size, { log, index: entry.idx, body: entry.body, quorum, keys, logKeys: logKeys(log) }))
      return { size };
  }
  return undefined;
}

async function covers(
  tx: Tx,
  note: string,
  size: number,
  wanted: {
    readonly log: string;
    readonly index: number;
    readonly body: Uint8Array;
    readonly quorum: number;
    readonly keys: readonly VerifierKey[];
    readonly logKeys: readonly VerifierKey[];
  },
): Promise<boolean> {
  const { log, index, body, quorum, keys, logKeys } = wanted;
  try {
    const { text, signedBy } = verifyNote(note, logKeys);
    const checkpoint = parseCheckpoint(text);
    if (checkpoint.size !== size || !signedBy.includes(checkpoint.origin)) return false;
    if (cosignedBy(note, keys).length < quorum) return false;
    const proof = await proveInclusion(tx, log, index, size);
    verifyInclusion({ index, size, leafHash: leafHash(body), proof, root: checkpoint.root });
    return true;
  } catch (error) {
    if (error instanceof ProofError || error instanceof LedgerError) return false;
    throw error;
  }
}

function isEntry(body: Uint8Array, isIt: (entry: LedgerEntry) => boolean): boolean {
  try {
    return isIt(scanEntry(body));
  } catch (error) {
    if (error instanceof ProofError) return false;
    throw error;
  }
}
