import { createPublicKey, hash, verify } from "node:crypto";

import { approvalType } from "./statement.schema.ts";

/**
 * A statement signed with a passkey, verified from what is kept alone (WebAuthn Level 3, §7.2): pure, with node:crypto only, the same
 * code when a decision is taken, at execution, and years later without any server.
 */

/** What the authenticator answered: the exact bytes, as base64url. */
export type Assertion = {
  readonly credentialId: string;
  readonly authenticatorData: string;
  readonly clientDataJSON: string;
  /** As the key's algorithm has it: DER for ES256. */
  readonly signature: string;
  /** Whom the authenticator took the passkey's owner for; kept, and not relied on. */
  readonly userHandle?: string | undefined;
};

/** What a passkey was enrolled with, and its signatures must be of. */
export type AssertionTerms = {
  /** SPKI, base64. */
  readonly publicKey: string;
  readonly credentialId: string;
  readonly rpId: string;
  /** Of the page that signs, like `https://countersign.example`. */
  readonly origin: string;
};

const flag = { userPresent: 0x01, userVerified: 0x04 } as const;
const shortestData = 37;

/** What a passkey signs for a statement of a type: SHA-256 over the type, a newline and the text, base64url. */
export function challengeOf(text: string, type: string = approvalType): string {
  return sha256(Buffer.from(`${type}\n${text}`, "utf8")).toString("base64url");
}

/**
 * Why the assertion is not this passkey's signature on exactly this text, as one of this type, by a person who was verified; undefined if it
 * is.
 */
export function assertionFault(
  text: string,
  assertion: Assertion,
  terms: AssertionTerms,
  type: string = approvalType,
): string | undefined {
  const data = bytesOf(assertion.authenticatorData);
  const clientData = bytesOf(assertion.clientDataJSON);
  const signature = bytesOf(assertion.signature);
  if (data === undefined || clientData === undefined || signature === undefined) return "it is not in base64url";
  if (assertion.credentialId !== terms.credentialId) return "it is by another passkey";
  return (
    clientDataFault(clientData, challengeOf(text, type), terms.origin) ??
    dataFault(data, terms.rpId) ??
    (isSignedBy(terms.publicKey, Buffer.concat([data, sha256(clientData)]), signature)
      ? undefined
      : "the passkey's signature does not verify")
  );
}

/** How often the passkey has signed, as it says itself; 0 where it does not count, or the data is none. */
export function counterOf(assertion: Assertion): number {
  const data = bytesOf(assertion.authenticatorData);
  return data === undefined || data.length < shortestData ? 0 : data.readUInt32BE(33);
}

/** The browser's part: what was signed, and where. */
function clientDataFault(bytes: Buffer, challenge: string, origin: string): string | undefined {
  const client = recordIn(bytes);
  if (client === undefined) return "its client data is not JSON";
  if (client["type"] !== "webauthn.get") return "it was not made to sign in or approve";
  if (client["challenge"] !== challenge) return "it signs another statement";
  if (client["origin"] !== origin) return "it was made on another origin than the passkey was enrolled on";
  // A page that another one frames can be put under what the person believes to click on.
  if ((client["crossOrigin"] ?? false) !== false || client["topOrigin"] !== undefined) return "it was made in a frame";
  return undefined;
}

/** The authenticator's part: for whom, and how sure it was of the person. */
function dataFault(data: Buffer, rpId: string): string | undefined {
  if (data.length < shortestData) return "its authenticator data is too short";
  if (!data.subarray(0, 32).equals(sha256(Buffer.from(rpId, "utf8")))) return "it was made for another site";
  const flags = data.readUInt8(32);
  if ((flags & flag.userPresent) === 0) return "nobody was present";
  if ((flags & flag.userVerified) === 0) return "the person was not verified (by PIN, fingerprint or the like)";
  return undefined;
}

function isSignedBy(publicKey: string, signed: Buffer, signature: Buffer): boolean {
  try {
    const key = createPublicKey({ key: Buffer.from(publicKey, "base64"), type: "spki", format: "der" });
    if (key.asymmetricKeyType === "ed25519") return verify(null, signed, key, signature);
    const isKnown =
      key.asymmetricKeyType === "rsa" ||
      (key.asymmetricKeyType === "ec" && key.asymmetricKeyDetails?.namedCurve === "prime256v1");
    return isKnown && verify("sha256", signed, key, signature);
  } catch {
    return false;
  }
}

/** Undefined for anything but the one spelling of some bytes: rows can be written past this code. */
function bytesOf(text: unknown): Buffer | undefined {
  if (typeof text !== "string") return undefined;
  const bytes = Buffer.from(text, "base64url");
  return bytes.toString("base64url") === text ? bytes : undefined;
}

function recordIn(bytes: Buffer): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function sha256(bytes: Uint8Array): Buffer {
  return hash("sha256", bytes, "buffer");
}
