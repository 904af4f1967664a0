import type { Tx } from "../store/index.ts";
import { ApprovalError } from "./errors.ts";
import { heldKey, keyToSignWith } from "./keys.ts";
import { kindOf } from "./signature.ts";
import type { SignedStatement, SigningKey } from "./signature.ts";
import { verifyText } from "./signed-text.ts";
import { keyIdOf } from "./statement.ts";

/** A key as it was enrolled, with who it was enrolled for, and when it counts. */
export type StoredKey = {
  readonly key: SigningKey;
  readonly keyOwner: string;
  /** Null where no second person has confirmed it. */
  readonly keyConfirmedAt: Date | null;
};

/** The columns of `StoredKey`, of the key `k`. */
export const storedKeyColumns = `json_build_object('keyId', k.key_id, 'kind', k.kind, 'publicKey', k.public_key, 'passkey', k.passkey) as key,
  k.principal as "keyOwner", k.confirmed_at as "keyConfirmedAt"`;

/**
 * Throws `key_unknown`, `key_revoked`, `key_unconfirmed` or `signature_invalid` where the signature is not the person's, by a key file that
 * counts now. Passkeys sign decisions only.
 */
export async function assertSignedBy(tx: Tx, type: string, signed: SignedStatement, person: string): Promise<void> {
  const key = await keyToSignWith(tx, signed.keyId, person);
  if (kindOf(signed) !== "ed25519" || key.kind !== "ed25519") {
    throw new ApprovalError("signature_invalid", "this is signed with a key file, not with a passkey", {
      hint: "make one and have it enrolled: countersign keys propose --help",
    });
  }
  if (!verifyText(type, signed.statement, signed.signature, key.publicKey))
    throw new ApprovalError("signature_invalid", "signature does not verify");
}

/**
 * Whether a stored signature is the person's, by a key file that counted when it was made and is not revoked now, nor until the transaction
 * ends.
 */
export async function isSignedBy(
  tx: Tx,
  type: string,
  signed: StoredKey & {
    readonly statement: string;
    readonly signature: string;
    readonly keyId: string;
    readonly at: Date;
  },
  person: string,
): Promise<boolean> {
  const { key, keyOwner, keyConfirmedAt, at } = signed;
  const held = await heldKey(tx, signed.keyId);
  if (keyOwner !== person || held === undefined || held.revokedAt !== null || key.kind !== "ed25519") return false;
  if (keyConfirmedAt === null || keyConfirmedAt > at) return false;
  return (
    key.keyId === signed.keyId &&
    keyIdOf(key.publicKey) === signed.keyId &&
    verifyText(type, signed.statement, signed.signature, key.publicKey)
  );
}
