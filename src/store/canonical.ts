import { createHash, createHmac, createSecretKey, hash } from "node:crypto";

import canonicalize from "canonicalize";

import { CodedError } from "../core/errors.ts";
import type { Digest } from "../core/ids.ts";
import type { Json } from "../core/json.ts";

/** One payload's most canonical bytes: a message, a document, a tool's result. */
export const maxPayloadBytes = 8 * 1024 * 1024;

/** Deeper values overflow the stack of JCS implementations, ours and other people's. */
const maxDepth = 128;

export class CanonicalError extends CodedError<"not_canonical"> {}

/**
 * The RFC 8785 (JCS) bytes of `value`. Throws `not_canonical` for what JCS cannot express: non-finite numbers, lone
 * surrogates, nesting deeper than 128, and what is no JSON value at all (`undefined` as a property is left out).
 */
export function canonicalBytes(value: Json): Uint8Array {
  return Buffer.from(canonicalText(value), "utf8");
}

/** The same as text. */
export function canonicalText(value: Json): string {
  assertExpressible(value, 0);
  let text: string | undefined;
  try {
    text = canonicalize(value);
  } catch (cause) {
    throw new CanonicalError("not_canonical", "value has no canonical JSON form", { cause });
  }
  if (text === undefined) throw new CanonicalError("not_canonical", "value has no canonical JSON form");
  return text;
}

function assertExpressible(value: unknown, depth: number): void {
  if (depth > maxDepth) throw new CanonicalError("not_canonical", `value is nested deeper than ${maxDepth}`);
  if (value === null || typeof value === "boolean") return;
  if (typeof value === "object") {
    assertContainer(value, depth);
  } else if (typeof value === "string") {
    if (!value.isWellFormed()) throw new CanonicalError("not_canonical", "text has a lone surrogate");
  } else if (typeof value !== "number") {
    throw new CanonicalError("not_canonical", `${typeof value} is not a JSON value`);
  } else if (!Number.isFinite(value)) {
    throw new CanonicalError("not_canonical", "number is not finite");
  }
}

function assertContainer(value: object, depth: number): void {
  if (Array.isArray(value)) {
    for (const inner of value) assertExpressible(inner, depth + 1);
    return;
  }
  if (!isPlain(value)) throw new CanonicalError("not_canonical", "object of a class is not a JSON value");
  for (const [key, inner] of Object.entries(value)) {
    if (!key.isWellFormed()) throw new CanonicalError("not_canonical", "key has a lone surrogate");
    // Left out, as everywhere in JavaScript.
    if (inner !== undefined) assertExpressible(inner, depth + 1);
  }
}

/** Of any realm. A Map would become `{}`, and a Date a text that is no longer one. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** SHA-256 of bytes, as hexadecimal. */
export function sha256(bytes: Uint8Array | string): Digest {
  return hash("sha256", bytes, "hex") as Digest;
}

/** SHA-256 over the RFC 8785 bytes of `value`. */
export function digestOf(value: Json): Digest {
  return sha256(canonicalBytes(value));
}

/** Goes before what is committed to, so that a commitment can be taken for nothing else. */
const contentTag = Buffer.from("countersign/content/v1\n", "utf8");

/**
 * What names contents whose RFC 8785 bytes are `bytes`: HMAC-SHA-256 of tag and bytes under the run's `salt` (32 bytes in hexadecimal), which
 * nobody can guess from it who does not have the salt. Without a salt: SHA-256 of the bytes, as in runs of before there were salts.
 */
export function commitmentOf(salt: string | undefined, bytes: Uint8Array): Digest {
  if (salt === undefined) return sha256(bytes);
  // A key that is given as bytes costs Node three times as much.
  const key = createSecretKey(salt, "hex");
  // HMAC takes a short key for the same one with zeros behind.
  if (key.symmetricKeySize !== 32 || salt.length !== 64) throw new RangeError("a salt has 32 bytes");
  return createHmac("sha256", key).update(contentTag).update(bytes).digest("hex") as Digest;
}

/** The same of a value. */
export function contentDigest(salt: string | undefined, value: Json): Digest {
  return commitmentOf(salt, canonicalBytes(value));
}

/** SHA-256 of a stream of chunks, for what is too large to hold. */
export function streamDigest(): { update(chunk: Uint8Array): void; digest(): Digest } {
  const running = createHash("sha256");
  return {
    update: (chunk) => void running.update(chunk),
    digest: () => running.digest("hex") as Digest,
  };
}
