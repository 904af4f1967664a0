import type { Digest } from "../core/ids.ts";
import type { Tx } from "../store/index.ts";
import { ApprovalError } from "./errors.ts";
import { isPublicKey, keyIdOf } from "./statement.ts";

export type ReviewerKey = {
  readonly keyId: Digest;
  readonly principal: string;
  readonly publicKey: string;
  readonly addedAt: Date;
  readonly revokedAt: Date | null;
};

const columns = `key_id as "keyId", principal, public_key as "publicKey", added_at as "addedAt", revoked_at as "revokedAt"`;

/**
 * Enrols a public key (SPKI of Ed25519, base64) for a principal. Returns its id, and whether it is new. Throws `key_malformed`, and
 * `key_taken` where it is somebody else's: one key signs for one person.
 */
export async function addReviewerKey(
  tx: Tx,
  key: { readonly principal: string; readonly publicKey: string; readonly addedBy: string; readonly now: Date },
): Promise<{ readonly keyId: Digest; readonly added: boolean }> {
  if (!isPublicKey(key.publicKey)) {
    throw new ApprovalError("key_malformed", "public key is not an Ed25519 key as SPKI in base64");
  }
  const keyId = keyIdOf(key.publicKey);
  const { rowCount } = await tx.query(
    `insert into reviewer_key (key_id, principal, public_key, added_at, added_by) values ($1, $2, $3, $4, $5)
     on conflict (key_id) do nothing`,
    [keyId, key.principal, key.publicKey, key.now, key.addedBy],
  );
  if (rowCount === 1) return { keyId, added: true };
  if ((await reviewerKey(tx, keyId))?.principal !== key.principal) {
    throw new ApprovalError("key_taken", "the key is enrolled for somebody else", { hint: "make a key of your own" });
  }
  return { keyId, added: false };
}

/** Ends a key's validity. Grants that rest on it hold no more. False where it was revoked already, or is unknown. */
export async function revokeReviewerKey(tx: Tx, keyId: Digest, now: Date): Promise<boolean> {
  const { rowCount } = await tx.query(
    "update reviewer_key set revoked_at = $2 where key_id = $1 and revoked_at is null",
    [keyId, now],
  );
  return rowCount === 1;
}

export async function reviewerKey(tx: Tx, keyId: string): Promise<ReviewerKey | undefined> {
  const { rows } = await tx.query<ReviewerKey>(`select ${columns} from reviewer_key where key_id = $1`, [keyId]);
  return rows[0];
}
