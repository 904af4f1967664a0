import { parseNote } from "./note.ts";
import type { VerifierKey } from "./verifier-key.ts";

/** The names of those among `witnesses` (keys of type 0x04) whose cosignature on the note holds. Throws `note_malformed`. */
export function cosignedBy(note: string, witnesses: readonly VerifierKey[]): readonly string[] {
  const { text, signatures } = parseNote(note);
  const message = Buffer.from(text);
  const names = signatures.flatMap(({ name, keyId, signature }) =>
    witnesses
      .filter((witness) => witness.name === name && witness.keyId === keyId && witness.verify(message, signature))
      .map((witness) => witness.name),
  );
  return [...new Set(names)];
}
