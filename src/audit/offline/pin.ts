import { parseCheckpoint, parseNote, ProofError } from "../../ledger/proof/index.ts";
import type { Checkpoint } from "../../ledger/proof/index.ts";
import { EvidenceError } from "./errors.ts";

/** A checkpoint that an auditor kept: its signed note (C2SP tlog-checkpoint), and what it says, unverified. */
export type Pin = { readonly note: string; readonly checkpoint: Checkpoint };

/** Reads the text of `file`. Throws `pin_unreadable`: a file that holds no checkpoint is the auditor's mistake, and says nothing of a log. */
export function parsePin(note: string, file: string): Pin {
  try {
    return { note, checkpoint: parseCheckpoint(parseNote(note).text) };
  } catch (cause) {
    if (!(cause instanceof ProofError)) throw cause;
    throw new EvidenceError("pin_unreadable", `\`${file}\` is no checkpoint: ${cause.message}`, {
      cause,
      hint: "keep what `countersign ledger checkpoint --log TEAM` prints: a signed note and nothing else",
    });
  }
}
