/** Checkpoints, as C2SP tlog-checkpoint describes them: a note whose text is origin, size and root, a line each. */
import { ProofError } from "./errors.ts";
import { hashBytes } from "./hash.ts";
import type { Hash } from "./hash.ts";
import { verifyNote } from "./note.ts";
import { decodeBase64 } from "./verifier-key.ts";
import type { VerifierKey } from "./verifier-key.ts";

/** A tree head: the log `origin` had `size` entries with this root. */
export type Checkpoint = { readonly origin: string; readonly size: number; readonly root: Hash };

/** The text that is signed. */
export function formatCheckpoint(checkpoint: Checkpoint): string {
  const text = `${checkpoint.origin}\n${checkpoint.size}\n${Buffer.from(checkpoint.root).toString("base64")}\n`;
  parseCheckpoint(text);
  return text;
}

/** Reads the text of a checkpoint; extension lines are skipped. Throws `checkpoint_malformed`. */
export function parseCheckpoint(text: string): Checkpoint {
  const [origin, size, root, ...extensions] = text.split("\n");
  if (!text.endsWith("\n") || origin === undefined || origin === "" || size === undefined || root === undefined) {
    throw new ProofError("checkpoint_malformed", "checkpoint does not have the lines origin, size and root");
  }
  if (extensions.slice(0, -1).includes(""))
    throw new ProofError("checkpoint_malformed", "checkpoint has an empty line");
  if (!/^(0|[1-9][0-9]{0,15})$/.test(size) || !Number.isSafeInteger(Number(size))) {
    throw new ProofError("checkpoint_malformed", "checkpoint size is not a decimal number below 2^53");
  }
  const hash = decodeBase64(root);
  if (hash?.length !== hashBytes)
    throw new ProofError("checkpoint_malformed", "checkpoint root is not base64 of 32 bytes");
  return { origin, size: Number(size), root: hash };
}

/**
 * The checkpoint in a signed note, after its signature was verified. The origin MUST be the key's name: a key signs for one log.
 * Throws what `verifyNote` throws, and `checkpoint_malformed`.
 */
export function openCheckpoint(note: string, key: VerifierKey): Checkpoint {
  const checkpoint = parseCheckpoint(verifyNote(note, [key]).text);
  if (checkpoint.origin !== key.name) {
    throw new ProofError("checkpoint_malformed", `checkpoint is of another log than \`${key.name}\``);
  }
  return checkpoint;
}
