import { verifyText } from "./signed-text.ts";
import { approvalType } from "./statement.schema.ts";
import { keyIdOf } from "./statement.ts";
import { assertionFault } from "./webauthn.ts";
import type { Assertion } from "./webauthn.ts";

/** `ed25519`: a key file, for the command line and services. `webauthn`: a passkey, which a person unlocks for each signature. */
export const keyKinds = ["ed25519", "webauthn"] as const;
export type KeyKind = (typeof keyKinds)[number];

type Signed = {
  /** The exact text that was signed. */
  readonly statement: string;
  /** SHA-256 of the public key's SPKI bytes. */
  readonly keyId: string;
};
export type SignedWithKey = Signed & {
  /** Records and clients from before passkeys do not say it. */
  readonly kind?: "ed25519" | undefined;
  /** Ed25519 over domain and statement, base64. */
  readonly signature: string;
};
export type SignedWithPasskey = Signed & Assertion & { readonly kind: "webauthn" };

/** A statement with its signature. */
export type SignedStatement = SignedWithKey | SignedWithPasskey;

/** What a signature is verified with: the key as it was enrolled. */
export type SigningKey = {
  readonly keyId: string;
  readonly kind: KeyKind;
  /** SPKI, base64. */
  readonly publicKey: string;
  readonly passkey: { readonly credentialId: string; readonly rpId: string; readonly origin: string } | null;
};

/** How it was signed: what `@signed` asks about. */
export function kindOf(signed: { readonly kind?: KeyKind | undefined }): KeyKind {
  return signed.kind ?? "ed25519";
}

/**
 * Why the signature is not by this key over exactly this statement, as one of this type; undefined if it is. Pure, with node:crypto only.
 * Whose the key is, and whether it counted then, is another question.
 */
export function signatureFault(
  signed: SignedStatement,
  key: SigningKey,
  type: string = approvalType,
): string | undefined {
  if (keyIdOf(key.publicKey) !== key.keyId || signed.keyId !== key.keyId) return "the key is not the one that it names";
  if (kindOf(signed) !== key.kind) return "the key signs in another way";
  if (signed.kind === "webauthn") {
    if (key.passkey === null) return "the key is no passkey";
    const { credentialId, rpId, origin } = key.passkey;
    return assertionFault(signed.statement, signed, { publicKey: key.publicKey, credentialId, rpId, origin }, type);
  }
  return verifyText(type, signed.statement, signed.signature, key.publicKey)
    ? undefined
    : "the signature does not verify";
}

/** Of a signature by a passkey, what it has beside the signature; null for the others. */
export function assertionOf(signed: SignedStatement): Omit<Assertion, "signature"> | null {
  if (signed.kind !== "webauthn") return null;
  const { credentialId, authenticatorData, clientDataJSON, userHandle } = signed;
  return { credentialId, authenticatorData, clientDataJSON, ...(userHandle === undefined ? {} : { userHandle }) };
}
