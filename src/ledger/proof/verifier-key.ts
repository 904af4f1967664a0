import { createPublicKey, hash, verify } from "node:crypto";
import type { KeyObject } from "node:crypto";

import { ProofError } from "./errors.ts";

/** Signature type 0x01 of C2SP signed-note: Ed25519 over the note's text. */
const ed25519Type = 0x01;
/** Signature type 0x04 of C2SP tlog-cosignature: a witness's Ed25519 over the time and the note's text. */
const cosignatureType = 0x04;
type SignatureType = typeof ed25519Type | typeof cosignatureType;
const publicKeyBytes = 32;
/** What RFC 8410 puts before the 32 bytes of an Ed25519 public key in DER. */
const spkiPrefix = Buffer.from("302a300506032b6570032100", "hex");

/** A key that notes are verified with. */
export type VerifierKey = {
  readonly name: string;
  /** The first 4 bytes of SHA-256(name || 0x0A || type || public key). */
  readonly keyId: number;
  readonly publicKey: Uint8Array;
  /** Whether `signature` is one over the note's text `message`. */
  verify(message: Uint8Array, signature: Uint8Array): boolean;
};

/** The key of a log. */
export function verifierKeyOf(name: string, publicKey: Uint8Array): VerifierKey {
  const key = importKey(publicKey);
  return {
    ...identityOf(name, ed25519Type, publicKey),
    verify: (message, signature) => signature.length === 64 && verify(null, message, key, signature),
  };
}

/** The key of a witness (C2SP tlog-cosignature). */
export function cosignerKeyOf(name: string, publicKey: Uint8Array): VerifierKey {
  const key = importKey(publicKey);
  return {
    ...identityOf(name, cosignatureType, publicKey),
    verify(message, signature) {
      const time = cosignatureTime(signature);
      return time !== undefined && verify(null, cosignedMessage(message, time), key, signature.subarray(8));
    },
  };
}

/** What a witness signs: that it saw no larger tree of the log by `time`, seconds since 1970. */
export function cosignedMessage(text: Uint8Array, time: number): Uint8Array {
  return Buffer.concat([Buffer.from(`cosignature/v1\ntime ${time}\n`), text]);
}

/** The time that a cosignature states, seconds since 1970; undefined where it is none. */
export function cosignatureTime(signature: Uint8Array): number | undefined {
  if (signature.length !== 72) return undefined;
  const time = Buffer.from(signature).readBigUInt64BE(0);
  return time <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(time) : undefined;
}

/** Reads the key of a log, `name+hash+base64`, the form of Go's `sumdb/note`. Throws `key_malformed`. */
export function parseVerifierKey(text: string): VerifierKey {
  return parseKey(text, ed25519Type, verifierKeyOf);
}

/** Reads the key of a witness, in the same form. Throws `key_malformed`. */
export function parseCosignerKey(text: string): VerifierKey {
  return parseKey(text, cosignatureType, cosignerKeyOf);
}

function parseKey(
  text: string,
  type: SignatureType,
  keyOf: (name: string, publicKey: Uint8Array) => VerifierKey,
): VerifierKey {
  // Base64 has `+` too, so only the first two separate.
  const match = /^([^+]+)\+([0-9a-f]{8})\+(\S+)$/.exec(text);
  if (match === null) throw new ProofError("key_malformed", "verifier key is not `name+hash+base64`");
  const [, name, id, encoded] = match as unknown as [string, string, string, string];
  const bytes = decodeBase64(encoded);
  if (bytes === undefined || bytes[0] !== type) {
    throw new ProofError(
      "key_malformed",
      `verifier key is not base64 of an Ed25519 key of type 0x0${type} (${type === cosignatureType ? "a witness's" : "a log's"})`,
    );
  }
  const key = keyOf(name, bytes.subarray(1));
  if (formatKeyId(key.keyId) !== id) throw new ProofError("key_malformed", "verifier key does not fit its own hash");
  return key;
}

export function formatVerifierKey(key: Pick<VerifierKey, "name" | "keyId" | "publicKey">): string {
  return formatKey(key, ed25519Type);
}

export function formatCosignerKey(key: Pick<VerifierKey, "name" | "keyId" | "publicKey">): string {
  return formatKey(key, cosignatureType);
}

function formatKey(key: Pick<VerifierKey, "name" | "keyId" | "publicKey">, type: SignatureType): string {
  const encoded = Buffer.concat([Buffer.of(type), key.publicKey]).toString("base64");
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

function identityOf(name: string, type: SignatureType, publicKey: Uint8Array) {
  assertKeyName(name);
  const input = Buffer.concat([Buffer.from(`${name}\n`), Buffer.of(type), publicKey]);
  return { name, keyId: hash("sha256", input, "buffer").readUInt32BE(0), publicKey };
}

function assertKeyName(name: string): void {
  if (!isKeyName(name)) throw new ProofError("key_malformed", "key name is empty, or has spaces or `+`");
}

function importKey(publicKey: Uint8Array): KeyObject {
  if (publicKey.length !== publicKeyBytes) {
    throw new ProofError("key_malformed", `public key has ${publicKey.length} bytes, expected ${publicKeyBytes}`);
  }
  try {
    return createPublicKey({ key: Buffer.concat([spkiPrefix, publicKey]), format: "der", type: "spki" });
  } catch (cause) {
    throw new ProofError("key_malformed", "public key is not a point of Ed25519", { cause });
  }
}
