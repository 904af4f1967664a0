import { cosignatureTime, equalHashes, parseNote, ProofError, verifyNote } from "../../ledger/proof/index.ts";
import type { Checkpoint } from "../../ledger/proof/index.ts";
import type { Findings } from "./findings.ts";
import type { TrustRoots } from "./trust.ts";

const hourMs = 3_600_000;

/**
 * Whether a log's checkpoint is as new as the trust file asks for: by the times at which trusted witnesses saw no larger tree, since what its
 * operator says of the time proves nothing.
 */
export function checkAge(log: string, note: string, now: Date, trust: TrustRoots, findings: Findings): void {
  if (trust.maxAgeHours === undefined) return;
  const oldest = now.getTime() - trust.maxAgeHours * hourMs;
  const times = cosignedAt(note, trust);
  const wanted = Math.max(1, trust.quorum);
  const newest = times.toSorted((a, b) => b - a)[wanted - 1];
  if (newest !== undefined && newest >= oldest) return;
  const said =
    newest === undefined
      ? `fewer than ${wanted} trusted witnesses say when they saw it`
      : `witnesses saw it as the newest at ${new Date(newest).toISOString()}`;
  findings.add(
    "checkpoints",
    "checkpoint_stale",
    log,
    `${said}; no older than ${trust.maxAgeHours} hours is asked for`,
  );
}

/** When each trusted witness cosigned the note, in milliseconds since 1970. */
function cosignedAt(note: string, { witnesses }: TrustRoots): readonly number[] {
  const { text, signatures } = parseNote(note);
  const times = new Map<string, number>();
  for (const { name, keyId, signature } of signatures) {
    const witness = witnesses.find((one) => one.name === name && one.keyId === keyId);
    const seconds = witness?.verify(Buffer.from(text), signature) === true ? cosignatureTime(signature) : undefined;
    if (seconds !== undefined) times.set(name, Math.max(seconds * 1_000, times.get(name) ?? 0));
  }
  return [...times.values()];
}

/**
 * A checkpoint that only a retired key signed, which may have been stolen since: it stands where the auditor kept the very same one, or where
 * witnesses cosigned it.
 */
export function checkRetired(
  log: string,
  note: string,
  checkpoint: Checkpoint,
  pins: readonly Checkpoint[],
  witnesses: readonly string[],
  trust: TrustRoots,
  findings: Findings,
): void {
  if (isSignedBy(note, trust, log) || witnesses.length >= Math.max(1, trust.quorum)) return;
  if (pins.some(({ size, root }) => size === checkpoint.size && equalHashes(root, checkpoint.root))) return;
  findings.add("checkpoints", "retired_unproven", log);
}

function isSignedBy(note: string, trust: TrustRoots, log: string): boolean {
  try {
    verifyNote(note, trust.currentKeysOf(log));
    return true;
  } catch (error) {
    if (error instanceof ProofError) return false;
    throw error;
  }
}
