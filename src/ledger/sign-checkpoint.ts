import { faultPoint } from "../faults/index.ts";
import { sha256 } from "../store/canonical.ts";
import type { Tx } from "../store/index.ts";
import { LedgerError } from "./errors.ts";
import { tryLockLog } from "./lock.ts";
import { readLogState } from "./log-state.ts";
import type { LogState } from "./log-state.ts";
import { appendToOutbox } from "./outbox.ts";
import { proveConsistency } from "./prove.ts";
import { latestCheckpoint } from "./reads.ts";
import type { SignedCheckpoint } from "./reads.ts";
import type { SignedNotes } from "./signed-notes.ts";
import {
  equalHashes,
  formatCheckpoint,
  parseCheckpoint,
  parseNote,
  ProofError,
  parseVerifierKey,
  signNote,
  verifyConsistency,
  verifyNote,
} from "./proof/index.ts";
import type { Checkpoint, Signer } from "./proof/index.ts";

/**
 * Signs the committed head of the log, with every signer of it (the current one first, those on their way out after it), if it grew since the last checkpoint. It MUST be a transaction of its own, after the one
 * that grew the log: a signed tree can then never roll back. Throws `checkpoint_conflict` rather than sign anything smaller than,
 * different from, or not grown out of the last signed tree: the database's, and the one that `kept` has outside of it.
 */
export async function signCheckpoint(
  tx: Tx,
  log: string,
  origin: string,
  signers: readonly Signer[],
  kept?: SignedNotes,
): Promise<"signed" | "current" | "busy"> {
  const stranger = signers.find((signer) => signer.name !== origin);
  if (stranger !== undefined) {
    throw new LedgerError(
      "signer_mismatch",
      `signer of log \`${log}\` is named \`${stranger.name}\`, expected \`${origin}\``,
    );
  }
  const [locked, state, last, known] = await Promise.all([
    tryLockLog(tx, log),
    readLogState(tx, log),
    latestCheckpoint(tx, log),
    keysOf(tx, log),
  ]);
  if (!locked) return "busy";
  await assertGrown(tx, log, { state, last, origin, signers, known, kept });
  if (state.size === (last?.size ?? 0)) return "current";
  const note = signNote(formatCheckpoint({ origin, size: state.size, root: state.root }), signers);
  // Kept before anybody can see it: what was published is never forgotten. After a crash in between, the same note is signed again.
  await kept?.keep(log, note);
  const insert = "insert into ledger_checkpoint (log, size, note) values ($1, $2, $3)";
  await faultPoint("ledger.checkpoint", () => tx.query(insert, [log, state.size, note]));
  await faultPoint("ledger.key", () => noteKeys(tx, log, state.size, signers, known));
  return "signed";
}

/**
 * Looks whether the log still is what was signed of it, and keeps what others have signed since. Throws `checkpoint_conflict`. Nothing where
 * somebody else is at work on the log.
 */
export async function lookAtSigned(
  tx: Tx,
  log: string,
  origin: string,
  signers: readonly Signer[],
  kept: SignedNotes,
): Promise<void> {
  if (!(await tryLockLog(tx, log))) return;
  const [state, last, known] = await Promise.all([readLogState(tx, log), latestCheckpoint(tx, log), keysOf(tx, log)]);
  await assertGrown(tx, log, { state, last, origin, signers, known, kept });
}

async function assertGrown(
  tx: Tx,
  log: string,
  signing: {
    readonly state: LogState;
    readonly last: SignedCheckpoint | undefined;
    readonly origin: string;
    readonly signers: readonly Signer[];
    readonly known: readonly string[];
    readonly kept: SignedNotes | undefined;
  },
): Promise<void> {
  const { state, last, origin, signers, known, kept } = signing;
  const inDatabase = last === undefined ? undefined : parseCheckpoint(parseNote(last.note).text);
  if (inDatabase !== undefined) await assertGrownFrom(tx, log, state, origin, inDatabase);
  const outside = await kept?.last(log);
  if (outside !== undefined) await assertGrownFrom(tx, log, state, origin, outside);
  if (kept === undefined || last === undefined || last.size <= (outside?.size ?? 0)) return;
  // Another server signed it. What is no note of this log's keys is nobody's to keep.
  const keys = [...new Set([...signers.map(({ verifierKey }) => verifierKey), ...known])].map(parseVerifierKey);
  try {
    verifyNote(last.note, keys);
  } catch (cause) {
    if (!(cause instanceof ProofError)) throw cause;
    throw conflict(log, `its checkpoint of size ${last.size} is not signed by its keys`, cause);
  }
  await kept.keep(log, last.note);
}

async function keysOf(tx: Tx, log: string): Promise<readonly string[]> {
  const { rows } = await tx.query<{ key: string }>(
    `select verifier_key as key from ledger_key where log = $1 order by since_size, verifier_key`,
    [log],
  );
  return rows.map(({ key }) => key);
}

/** A key that comes after the first is told by the log itself, in an entry that the old key signs too while both are in use. */
async function noteKeys(
  tx: Tx,
  log: string,
  size: number,
  signers: readonly Signer[],
  known: readonly string[],
): Promise<void> {
  const fresh = signers.map(({ verifierKey }) => verifierKey).filter((key) => !known.includes(key));
  if (fresh.length === 0) return;
  const { rows } = await tx.query<{ now: Date }>(
    `insert into ledger_key (log, verifier_key, since_size, at) select $1, key, $3, now() from unnest($2::text[]) key
     returning at as now`,
    [log, fresh, size],
  );
  const at = (rows[0]?.now ?? new Date(0)).toISOString();
  const before = known.at(-1);
  if (before === undefined) return;
  await appendToOutbox(
    tx,
    fresh.map((key) => ({
      log,
      kind: "log.key.rotated" as const,
      dedupKey: `log-key/${sha256(key)}`,
      at,
      facts: { key, before, sinceSize: size },
    })),
  );
}

async function assertGrownFrom(tx: Tx, log: string, state: LogState, origin: string, last: Checkpoint): Promise<void> {
  if (last.origin !== origin)
    throw conflict(log, `it was signed as \`${last.origin}\`, and would be as \`${origin}\` now`);
  if (state.size < last.size) throw conflict(log, `it has ${state.size} entries, and ${last.size} were signed`);
  if (state.size === last.size) {
    if (!equalHashes(state.root, last.root)) throw conflict(log, `its root at size ${last.size} is not the signed one`);
    return;
  }
  const proof = await proveConsistency(tx, log, last.size, state.size);
  try {
    verifyConsistency({ from: last.size, to: state.size, fromRoot: last.root, toRoot: state.root, proof });
  } catch (cause) {
    if (!(cause instanceof ProofError)) throw cause;
    throw conflict(log, `its ${state.size} entries did not grow out of the ${last.size} that were signed`, cause);
  }
}

function conflict(log: string, what: string, cause?: unknown): LedgerError {
  return new LedgerError("checkpoint_conflict", `log \`${log}\` contradicts its last checkpoint: ${what}`, {
    cause,
    hint: 'the database was changed or restored from an older state: entries are taken in, but nothing is signed until that is resolved; see docs/ledger.md, "A restored database"',
  });
}
