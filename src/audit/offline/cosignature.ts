/** Cosignatures of witnesses, as C2SP tlog-cosignature describes them: Ed25519 over a time and the checkpoint's text. */
import { createPublicKey, hash, verify } from "node:crypto";

import { parseNote, ProofError } from "../../ledger/proof/index.ts";
import type { VerifierKey } from "../../ledger/proof/index.ts";

const cosignatureType = 0x04;
/** What RFC 8410 puts before the 32 bytes of an Ed25519 public key in DER. */
const spkiPrefix = Buffer.from("302a300506032b6570032100", "hex");

/** Reads a witness's key, `name+hash+base64` with type 0x04. Throws `key_malformed`. */
export function cosignerKey(text: string): VerifierKey {
  const [, name = "", id = "", encoded = ""] = /^([^+\s]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text) ?? [];
  const bytes = Buffer.from(encoded, "base64");
  if (bytes.length !== 33 || bytes[0] !== cosignatureType)
    throw new ProofError("key_malformed", "a witness's key is `name+hash+base64` of an Ed25519 key with type 0x04");
  const publicKey = bytes.subarray(1);
  const keyId = hash("sha256", Buffer.concat([Buffer.from(`${name}\n`), bytes]), "buffer").readUInt32BE(0);
  if (keyId.toString(16).padStart(8, "0") !== id)
    throw new ProofError("key_malformed", "a witness's key does not fit its own hash");
  const key = createPublicKey({ key: Buffer.concat([spkiPrefix, publicKey]), format: "der", type: "spki" });
  return {
    name,
    keyId,
    publicKey,
    verify(message, signature) {
      if (signature.length !== 72) return false;
      const time = Buffer.from(signature).readBigUInt64BE(0);
      const signed = Buffer.concat([Buffer.from(`cosignature/v1\ntime ${time}\n`), message]);
      return verify(null, signed, key, signature.subarray(8));
    },
  };
}

/** The names of those among `witnesses` whose cosignature on the note holds. Throws `note_malformed`. */
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
