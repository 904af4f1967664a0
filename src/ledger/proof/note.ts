/** Signed notes, as C2SP signed-note describes them: text, an empty line, and one line per signature. */
import { createPrivateKey, createPublicKey, sign } from "node:crypto";

import { ProofError } from "./errors.ts";
import {
  cosignedMessage,
  cosignerKeyOf,
  decodeBase64,
  formatCosignerKey,
  formatVerifierKey,
  isKeyName,
  verifierKeyOf,
} from "./verifier-key.ts";
import type { VerifierKey } from "./verifier-key.ts";

/** The specification asks for at least 16. */
const maxSignatures = 100;
/** What RFC 8410 puts before the 32 bytes of an Ed25519 seed in DER. */
const pkcs8Prefix = Buffer.from("302e020100300506032b657004220420", "hex");

export type NoteSignature = { readonly name: string; readonly keyId: number; readonly signature: Uint8Array };
/** `text` ends in a newline, and is what is signed. */
export type Note = { readonly text: string; readonly signatures: readonly NoteSignature[] };

/** A key that notes are signed with. */
export type Signer = {
  readonly name: string;
  readonly keyId: number;
  /** `name+hash+base64`: what verifiers are given. */
  readonly verifierKey: string;
  sign(message: Uint8Array): Uint8Array;
};

/** A signer from the 32-byte seed of an Ed25519 key (RFC 8032). For a log, `name` is its origin. */
export function createSigner(name: string, seed: Uint8Array): Signer {
  const { key, publicKey } = keyPairOf(seed);
  const verifier = verifierKeyOf(name, publicKey);
  return {
    name,
    keyId: verifier.keyId,
    verifierKey: formatVerifierKey(verifier),
    sign: (message) => sign(null, message, key),
  };
}

/** A witness's signer (C2SP tlog-cosignature). `time` tells the seconds since 1970 that it states. */
export function createCosigner(name: string, seed: Uint8Array, time: () => number): Signer {
  const { key, publicKey } = keyPairOf(seed);
  const verifier = cosignerKeyOf(name, publicKey);
  return {
    name,
    keyId: verifier.keyId,
    verifierKey: formatCosignerKey(verifier),
    sign(message) {
      const now = time();
      const stamp = Buffer.alloc(8);
      stamp.writeBigUInt64BE(BigInt(now));
      return Buffer.concat([stamp, sign(null, cosignedMessage(message, now), key)]);
    },
  };
}

function keyPairOf(seed: Uint8Array) {
  if (seed.length !== 32) throw new ProofError("key_malformed", `seed has ${seed.length} bytes, expected 32`);
  const key = createPrivateKey({ key: Buffer.concat([pkcs8Prefix, seed]), format: "der", type: "pkcs8" });
  return { key, publicKey: createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-32) };
}

/** `text` with a signature line per signer. Throws `note_malformed` for text that a note cannot carry. */
export function signNote(text: string, signers: readonly Signer[]): string {
  assertText(text);
  if (!text.endsWith("\n")) throw new ProofError("note_malformed", "note text does not end in a newline");
  if (signers.length === 0) throw new ProofError("invalid_argument", "a note needs at least one signer");
  const message = Buffer.from(text);
  return `${text}\n${signers.map((signer) => signatureLine(signer, message)).join("")}`;
}

/** Reads a note without verifying anything. Throws `note_malformed`. */
export function parseNote(note: string): Note {
  assertText(note);
  // The text may have empty lines: the last one separates.
  const split = note.lastIndexOf("\n\n");
  if (split < 0 || !note.endsWith("\n"))
    throw new ProofError("note_malformed", "note has no signatures after an empty line");
  const lines = note.slice(split + 2, -1).split("\n");
  if (lines.length > maxSignatures) {
    throw new ProofError("note_malformed", `note has ${lines.length} signatures, at most ${maxSignatures} are read`);
  }
  return { text: note.slice(0, split + 1), signatures: lines.map(parseSignature) };
}

/**
 * The note's text, after every signature of a known key was verified, with the names of those keys. Signatures of unknown keys are
 * ignored. Throws `note_malformed`, `signature_invalid` (a known key's does not hold) or `signature_missing` (none is of a known
 * key).
 */
export function verifyNote(
  note: string,
  keys: readonly VerifierKey[],
): { readonly text: string; readonly signedBy: readonly string[] } {
  const { text, signatures } = parseNote(note);
  const message = Buffer.from(text);
  const signedBy = new Set<string>();
  for (const signature of signatures) {
    const key = keys.find((known) => known.name === signature.name && known.keyId === signature.keyId);
    if (key === undefined) continue;
    if (!key.verify(message, signature.signature)) {
      throw new ProofError("signature_invalid", `signature of \`${key.name}\` does not fit the note`);
    }
    signedBy.add(key.name);
  }
  if (signedBy.size === 0) throw new ProofError("signature_missing", "note has no signature of a known key");
  return { text, signedBy: [...signedBy] };
}

/** `— name base64`, the line that a signer adds to a note with the text `message`. */
export function signatureLine(signer: Signer, message: Uint8Array): string {
  const keyId = Buffer.alloc(4);
  keyId.writeUInt32BE(signer.keyId);
  return `— ${signer.name} ${Buffer.concat([keyId, signer.sign(message)]).toString("base64")}\n`;
}

function parseSignature(line: string): NoteSignature {
  const [dash, name, encoded, ...rest] = line.split(" ");
  const bytes = encoded === undefined ? undefined : decodeBase64(encoded);
  if (
    dash !== "—" ||
    name === undefined ||
    !isKeyName(name) ||
    rest.length > 0 ||
    bytes === undefined ||
    bytes.length < 5
  ) {
    throw new ProofError("note_malformed", "signature line is not `— name base64`");
  }
  return { name, keyId: bytes.readUInt32BE(0), signature: bytes.subarray(4) };
}

function assertText(text: string): void {
  if (!text.isWellFormed()) throw new ProofError("note_malformed", "note is not valid UTF-8");
  // oxlint-disable-next-line no-control-regex
  if (/[\u0000-\u0009\u000b-\u001f]/.test(text)) throw new ProofError("note_malformed", "note has control characters");
}
