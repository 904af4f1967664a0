import type { Tx } from "../store/index.ts";
import { ApprovalError } from "./errors.ts";
import { heldKey, keyToSignWith } from "./keys.ts";
import { kindOf, signatureFault } from "./signature.ts";
import type { KeyKind, SignedStatement, SigningKey } from "./signature.ts";

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

/** What is signed with a key file only: there is no page for it. */
const keyFile: readonly KeyKind[] = ["ed25519"];

/**
 * Throws `key_unknown`, `key_revoked`, `key_unconfirmed` or `signature_invalid` where the signature is not the person's, by a key of one of
 * these kinds that counts now.
 */
export async function assertSignedBy(
  tx: Tx,
  type: string,
  signed: SignedStatement,
  person: string,
  kinds: readonly KeyKind[] = keyFile,
): Promise<void> {
  const key = await keyToSignWith(tx, signed.keyId, person);
  if (!kinds.includes(kindOf(signed)) || !kinds.includes(key.kind)) {
    throw new ApprovalError("signature_invalid", "this is signed with a key file, not with a passkey", {
      hint: "make one and have it enrolled: countersign keys propose --help",
    });
  }
  const fault = signatureFault(signed, key, type);
  if (fault !== undefined) throw new ApprovalError("signature_invalid", `signature does not count: ${fault}`);
}

/**
 * Whether a stored signature is the person's, by a key of one of these kinds that counted when it was made and is not revoked now, nor until
 * the transaction ends.
 */
export async function isSignedBy(
  tx: Tx,
  type: string,
  signed: StoredKey & SignedStatement & { readonly at: Date },
  person: string,
  kinds: readonly KeyKind[] = keyFile,
): Promise<boolean> {
  const { key, keyOwner, keyConfirmedAt, at } = signed;
  const held = await heldKey(tx, signed.keyId);
  if (keyOwner !== person || held === undefined || held.revokedAt !== null || !kinds.includes(key.kind)) return false;
  if (keyConfirmedAt === null || keyConfirmedAt > at) return false;
  return signatureFault(signed, key, type) === undefined;
}
