import { createPublicKey, hash, verify } from "node:crypto";
import type { KeyObject } from "node:crypto";

import { ProofError } from "./errors.ts";

/** Signature type 0x01 of C2SP signed-note: Ed25519 over the note's text. */
const ed25519Type = 0x01;
const publicKeyBytes = 32;
/** What RFC 8410 puts before the 32 bytes of an Ed25519 public key in DER. */
const spkiPrefix = Buffer.from("302a300506032b6570032100", "hex");

/** A key that notes are verified with. */
export type VerifierKey = {
  readonly name: string;
  /** The first 4 bytes of SHA-256(name || 0x0A || 0x01 || public key). */
  readonly keyId: number;
  readonly publicKey: Uint8Array;
  verify(message: Uint8Array, signature: Uint8Array): boolean;
};

export function verifierKeyOf(name: string, publicKey: Uint8Array): VerifierKey {
  assertKeyName(name);
  if (publicKey.length !== publicKeyBytes) {
    throw new ProofError("key_malformed", `public key has ${publicKey.length} bytes, expected ${publicKeyBytes}`);
  }
  const key = importKey(publicKey);
  return {
    name,
    keyId: keyIdOf(name, publicKey),
    publicKey,
    verify: (message, signature) => signature.length === 64 && verify(null, message, key, signature),
  };
}

/** Reads `name+hash+base64`, the form of Go's `sumdb/note`. Throws `key_malformed`. */
export function parseVerifierKey(text: string): VerifierKey {
  // Base64 has `+` too, so only the first two separate.
  const match = /^([^+]+)\+([0-9a-f]{8})\+(\S+)$/.exec(text);
  if (match === null) throw new ProofError("key_malformed", "verifier key is not `name+hash+base64`");
  const [, name, id, encoded] = match as unknown as [string, string, string, string];
  const bytes = decodeBase64(encoded);
  if (bytes === undefined || bytes[0] !== ed25519Type) {
    throw new ProofError("key_malformed", "verifier key is not base64 of an Ed25519 key (type 0x01)");
  }
  const key = verifierKeyOf(name, bytes.subarray(1));
  if (formatKeyId(key.keyId) !== id) throw new ProofError("key_malformed", "verifier key does not fit its own hash");
  return key;
}

export function formatVerifierKey(key: Pick<VerifierKey, "name" | "keyId" | "publicKey">): string {
  const encoded = Buffer.concat([Buffer.of(ed25519Type), key.publicKey]).toString("base64");
  return `${key.name}+${formatKeyId(key.keyId)}+${encoded}`;
}

/** Key names are not empty and have neither Unicode spaces nor `+`. */
export function isKeyName(name: string): boolean {
  return name.length > 0 && name.isWellFormed() && !/[\s\u0085+]|\p{Cc}/u.test(name);
}

/** Standard base64 with padding, in its one canonical form; anything else is undefined. */
export function decodeBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? bytes : undefined;
}

export function formatKeyId(keyId: number): string {
  return keyId.toString(16).padStart(8, "0");
}

function keyIdOf(name: string, publicKey: Uint8Array): number {
  const input = Buffer.concat([Buffer.from(`${name}\n`), Buffer.of(ed25519Type), publicKey]);
  return hash("sha256", input, "buffer").readUInt32BE(0);
}

function assertKeyName(name: string): void {
  if (!isKeyName(name)) throw new ProofError("key_malformed", "key name is empty, or has spaces or `+`");
}

function importKey(publicKey: Uint8Array): KeyObject {
  try {
    return createPublicKey({ key: Buffer.concat([spkiPrefix, publicKey]), format: "der", type: "spki" });
  } catch (cause) {
    throw new ProofError("key_malformed", "public key is not a point of Ed25519", { cause });
  }
}
