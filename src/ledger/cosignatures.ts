import type { Tx } from "../store/index.ts";
import { parseNote, ProofError, verifyNote } from "./proof/index.ts";
import type { VerifierKey } from "./proof/index.ts";
import { checkpointOfSize, latestCheckpoint } from "./reads.ts";
import type { SignedCheckpoint } from "./reads.ts";

/** Rows that are looked at for one that holds. */
const mostRows = 20;

/**
 * The size of the largest checkpoint that a witness cosigned, by a line that holds on a checkpoint that is here; 0 for none. `bogus`: the sizes of
 * larger rows that do not: nobody who is not the database's administrator can have made those.
 */
export async function cosignedSize(
  tx: Tx,
  log: string,
  witness: { readonly verifierKey: string; readonly key: VerifierKey },
): Promise<{ readonly size: number; readonly bogus: readonly number[] }> {
  const { rows } = await tx.query<{ size: number; line: string; note: string | null }>(
    `select said.size, said.line, checkpoint.note from ledger_cosignature said
     left join ledger_checkpoint checkpoint on checkpoint.log = said.log and checkpoint.size = said.size
     where said.log = $1 and said.witness = $2 order by said.size desc limit ${mostRows}`,
    [log, witness.verifierKey],
  );
  const found = rows.findIndex(({ note, line }) => note !== null && lineHolds(note, line, witness.key));
  const bogus = rows.slice(0, found === -1 ? rows.length : found).map(({ size }) => size);
  return { size: rows[found]?.size ?? 0, bogus };
}

/** Whether the signature line is by the key, over the note's text. */
export function lineHolds(note: string, line: string, key: VerifierKey): boolean {
  try {
    return verifyNote(`${parseNote(note).text}\n${line}`, [key]).signedBy.length === 1;
  } catch (error) {
    if (error instanceof ProofError) return false;
    throw error;
  }
}

/** Keeps a verified cosignature line. The same one again changes nothing. */
export async function keepCosignature(
  tx: Tx,
  cosignature: {
    readonly log: string;
    readonly size: number;
    readonly witness: string;
    readonly line: string;
    readonly now: Date;
  },
): Promise<void> {
  const { log, size, witness, line, now } = cosignature;
  await tx.query(
    "insert into ledger_cosignature (log, size, witness, line, at) values ($1, $2, $3, $4, $5) on conflict do nothing",
    [log, size, witness, line, now],
  );
}

/**
 * The checkpoint to publish, with all its cosignatures: the newest that `quorum` of `witnesses` cosigned, and where there is none (yet), the
 * newest signed one. Undefined while nothing was signed.
 */
export async function publishedCheckpoint(
  tx: Tx,
  log: string,
  witnesses: readonly string[],
  quorum: number,
): Promise<SignedCheckpoint | undefined> {
  const { rows } = await tx.query<SignedCheckpoint>(
    `select checkpoint.size, checkpoint.note || string_agg(said.line, '' order by said.witness) as note,
       checkpoint.signed_at as "signedAt"
     from ledger_checkpoint checkpoint
     join ledger_cosignature said on said.log = checkpoint.log and said.size = checkpoint.size
     where checkpoint.log = $1
     group by checkpoint.log, checkpoint.size
     having $3::int > 0 and count(*) filter (where said.witness = any($2::text[])) >= $3::int
     order by checkpoint.size desc limit 1`,
    [log, witnesses, quorum],
  );
  return rows[0] ?? cosignedLatest(tx, log);
}

/** The newest signed checkpoint, with the cosignatures that it has by now. */
export async function cosignedLatest(tx: Tx, log: string): Promise<SignedCheckpoint | undefined> {
  return withCosignatures(tx, log, await latestCheckpoint(tx, log));
}

/** The checkpoint that was signed at this very size, with the cosignatures that it has by now. */
export async function cosignedCheckpoint(tx: Tx, log: string, size: number): Promise<SignedCheckpoint | undefined> {
  return withCosignatures(tx, log, await checkpointOfSize(tx, log, size));
}

async function withCosignatures(
  tx: Tx,
  log: string,
  checkpoint: SignedCheckpoint | undefined,
): Promise<SignedCheckpoint | undefined> {
  if (checkpoint === undefined) return undefined;
  const { rows } = await tx.query<{ line: string }>(
    "select line from ledger_cosignature where log = $1 and size = $2 order by witness",
    [log, checkpoint.size],
  );
  return { ...checkpoint, note: checkpoint.note + rows.map(({ line }) => line).join("") };
}
