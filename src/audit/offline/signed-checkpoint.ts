import { parseCheckpoint, parseNote, ProofError, verifyNote } from "../../ledger/proof/index.ts";
import type { Checkpoint } from "../../ledger/proof/index.ts";
import type { FindingCode, Findings } from "./findings.ts";
import type { TrustRoots } from "./trust.ts";

/** The checkpoint of a note that trusted keys of the log signed. Undefined where it is none: why is among the findings. */
export function signedBy(
  note: string,
  trust: TrustRoots,
  log: string,
  where: string,
  check: "checkpoints" | "pinned",
  findings: Findings,
): Checkpoint | undefined {
  try {
    const checkpoint = parseCheckpoint(parseNote(note).text);
    const keys = trust.keysAt(log, checkpoint.size);
    verifyNote(note, keys);
    if (keys.every(({ name }) => name !== checkpoint.origin))
      throw new ProofError("checkpoint_malformed", "the checkpoint is of another log than the keys");
    return checkpoint;
  } catch (error) {
    if (!(error instanceof ProofError)) throw error;
    const known: readonly string[] = ["signature_missing", "signature_invalid"];
    const code = known.includes(error.code) ? (error.code as FindingCode) : "checkpoint_malformed";
    findings.add(check, code, where, error.message);
    return undefined;
  }
}
