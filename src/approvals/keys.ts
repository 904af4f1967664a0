import type { Digest } from "../core/ids.ts";
import type { KeyState } from "../core/states.ts";
import type { Tx } from "../store/index.ts";
import { ApprovalError } from "./errors.ts";
import type { KeyKind } from "./signature.ts";
import { isPublicKey, keyIdOf } from "./statement.ts";

/** What is kept of a passkey from its enrolment: all that its signatures are verified with, and what can be asked about it later. */
export type Passkey = {
  readonly credentialId: string;
  /** The public key as the authenticator gave it: COSE, base64url. */
  readonly cose: string;
  /** What its signatures must be for, and from. */
  readonly rpId: string;
  readonly origin: string;
  /** The model of authenticator, as a UUID; zeros where it does not say. */
  readonly aaguid: string;
  /** The enrolment itself, base64url: what was asked, and what authenticator and browser answered. */
  readonly challenge: string;
  readonly attestationObject: string;
  readonly clientDataJSON: string;
  readonly transports: readonly string[];
};

export type ReviewerKey = {
  readonly keyId: Digest;
  readonly kind: KeyKind;
  readonly principal: string;
  /** SPKI, base64. */
  readonly publicKey: string;
  readonly passkey: Passkey | null;
  readonly addedAt: Date;
  readonly addedBy: string;
  readonly confirmedAt: Date | null;
  readonly confirmedBy: string | null;
  readonly bootstrap: boolean;
  readonly revokedAt: Date | null;
  readonly revokedBy: string | null;
};

/** Keys of one person that are not revoked: more is a mistake, or somebody who fills the list. */
const maxKeys = 20;

const columns = `key_id as "keyId", kind, principal, public_key as "publicKey", passkey, added_at as "addedAt", added_by as "addedBy",
  confirmed_at as "confirmedAt", confirmed_by as "confirmedBy", bootstrap, revoked_at as "revokedAt", revoked_by as "revokedBy"`;

export type NewKey = {
  readonly principal: string;
  /** SPKI, base64. */
  readonly publicKey: string;
  readonly passkey?: Passkey;
  readonly addedBy: string;
  readonly now: Date;
};

/**
 * Proposes a public key for a principal: what it signs does not count until `confirmKey`. Returns its id, and whether it is new. Throws
 * `key_malformed`, `too_many_keys`, `key_revoked` where it was revoked, and `key_taken` where it is somebody else's: one key signs for
 * one person.
 */
export async function proposeKey(
  tx: Tx,
  key: NewKey,
): Promise<{ readonly keyId: Digest; readonly added: boolean; readonly key: ReviewerKey }> {
  const { rows } = await tx.query<{ count: number }>(
    "select count(*) as count from reviewer_key where principal = $1 and revoked_at is null",
    [key.principal],
  );
  const known = await reviewerKey(tx, keyIdOf(key.publicKey));
  if (known === undefined && (rows[0]?.count ?? 0) >= maxKeys) {
    throw new ApprovalError("too_many_keys", `\`${key.principal}\` has ${maxKeys} keys`, {
      hint: "revoke one that is not used: countersign keys revoke KEY",
    });
  }
  return insertKey(tx, key, false);
}

/**
 * Enrols a key without a second person, which the row and the ledger's entry say: for the first key of an empty database, by whoever owns
 * that. Returns and throws as `proposeKey` does.
 */
export async function addReviewerKey(
  tx: Tx,
  key: NewKey,
): Promise<{ readonly keyId: Digest; readonly added: boolean; readonly key: ReviewerKey }> {
  return insertKey(tx, key, true);
}

async function insertKey(tx: Tx, key: NewKey, bootstrap: boolean) {
  if (key.passkey === undefined && !isPublicKey(key.publicKey)) {
    throw new ApprovalError("key_malformed", "public key is not an Ed25519 key as SPKI in base64");
  }
  const keyId = keyIdOf(key.publicKey);
  const kind: KeyKind = key.passkey === undefined ? "ed25519" : "webauthn";
  const { rowCount } = await tx.query(
    `insert into reviewer_key (key_id, kind, principal, public_key, passkey, added_at, added_by, bootstrap, confirmed_at, confirmed_by)
     values ($1, $2, $3, $4, $5, $6, $7, $8, case when $8 then $6::timestamptz end, case when $8 then $7 end)
     on conflict do nothing`,
    [keyId, kind, key.principal, key.publicKey, key.passkey ?? null, key.now, key.addedBy, bootstrap],
  );
  const stored = await reviewerKey(tx, keyId);
  if (stored?.principal !== key.principal || stored.kind !== kind) {
    throw new ApprovalError("key_taken", "the key is enrolled for somebody else", { hint: "make a key of your own" });
  }
  if (stored.revokedAt !== null) {
    throw new ApprovalError("key_revoked", "the key was revoked, for good", { hint: "make a new one" });
  }
  return { keyId, added: rowCount === 1, key: stored };
}

/**
 * Confirms a proposed key, by a person who has the role `admin` for all teams, since people belong to none, and is neither the key's owner nor who proposed it, under whatever
 * account. `confirmed` is false where it was before. Throws `key_missing`, `key_revoked`, `second_person_needed`.
 */
export async function confirmKey(
  tx: Tx,
  keyId: string,
  by: string,
  now: Date,
): Promise<{ readonly key: ReviewerKey; readonly confirmed: boolean }> {
  const key = await lockKey(tx, keyId);
  if (key.revokedAt !== null) throw new ApprovalError("key_revoked", "the key was revoked, for good");
  await assertSecondPerson(tx, key, by);
  if (key.confirmedAt !== null) return { key, confirmed: false };
  await tx.query("update reviewer_key set confirmed_at = $2, confirmed_by = $3 where key_id = $1", [keyId, now, by]);
  return { key: { ...key, confirmedAt: now, confirmedBy: by }, confirmed: true };
}

async function assertSecondPerson(tx: Tx, key: ReviewerKey, by: string): Promise<void> {
  const { rows } = await tx.query<{ id: string; person: string; roles: string[] }>(
    "select id, coalesce(person, id) as person, roles_for(roles, role_teams, null) as roles from principal where id = any($1::text[])",
    [[key.principal, key.addedBy, by]],
  );
  const personOf = (id: string): string => rows.find((row) => row.id === id)?.person ?? id;
  const isAdmin = rows.some((row) => row.id === by && row.roles.includes("admin"));
  if (isAdmin && personOf(by) !== personOf(key.principal) && personOf(by) !== personOf(key.addedBy)) return;
  throw new ApprovalError("second_person_needed", `\`${by}\` may not confirm this key`, {
    hint: "an admin confirms it, who is neither its owner nor who proposed it",
  });
}

/** Ends a key's validity. Grants that rest on it hold no more. False where it was revoked already, or is unknown. */
export async function revokeReviewerKey(tx: Tx, keyId: Digest, now: Date, by: string | null = null): Promise<boolean> {
  const { rowCount } = await tx.query(
    "update reviewer_key set revoked_at = $2, revoked_by = $3 where key_id = $1 and revoked_at is null",
    [keyId, now, by],
  );
  return rowCount === 1;
}

export async function reviewerKey(tx: Tx, keyId: string): Promise<ReviewerKey | undefined> {
  const { rows } = await tx.query<ReviewerKey>(`select ${columns} from reviewer_key where key_id = $1`, [keyId]);
  return rows[0];
}

/** The same, and nobody revokes it until the transaction ends. */
export async function heldKey(tx: Tx, keyId: string): Promise<ReviewerKey | undefined> {
  const { rows } = await tx.query<ReviewerKey>(`select ${columns} from reviewer_key where key_id = $1 for share`, [
    keyId,
  ]);
  return rows[0];
}

/**
 * A key that `reviewer` may sign with now: their own, confirmed, and not revoked until the transaction ends. Throws `key_unknown`,
 * `key_revoked` or `key_unconfirmed`.
 */
export async function keyToSignWith(tx: Tx, keyId: string, reviewer: string): Promise<ReviewerKey> {
  const key = await heldKey(tx, keyId);
  if (key === undefined || key.principal !== reviewer) {
    throw new ApprovalError("key_unknown", `key is not enrolled for \`${reviewer}\``, {
      hint: "sign with the key that was enrolled for you",
    });
  }
  if (key.revokedAt !== null) throw new ApprovalError("key_revoked", "key was revoked");
  if (key.confirmedAt === null) {
    throw new ApprovalError("key_unconfirmed", "key is proposed, and not confirmed yet", {
      hint: `another person, who is an admin, confirms it: countersign keys confirm ${key.keyId}`,
    });
  }
  return key;
}

/**
 * The same, for whoever will change it: its time is taken after this, so that a revocation is later than every use that it did not stop.
 * Throws `key_missing`.
 */
export async function lockKey(tx: Tx, keyId: string): Promise<ReviewerKey> {
  const { rows } = await tx.query<ReviewerKey>(`select ${columns} from reviewer_key where key_id = $1 for update`, [
    keyId,
  ]);
  if (rows[0] !== undefined) return rows[0];
  throw new ApprovalError("key_missing", "there is no such key", { hint: "see `countersign keys list`" });
}

export type KeyFilter = {
  readonly principal?: string | undefined;
  readonly state?: KeyState | undefined;
  /** Only keys older than this one: the cursor of the page before. */
  readonly before?: string | undefined;
  readonly limit: number;
};

/** Keys, newest first. */
export async function listKeys(tx: Tx, filter: KeyFilter): Promise<readonly ReviewerKey[]> {
  const { rows } = await tx.query<ReviewerKey>(
    `select ${columns} from reviewer_key
     where ($1::text is null or principal = $1)
       and ($2::text is null or $2 = case when revoked_at is not null then 'revoked' when confirmed_at is null then 'proposed' else 'active' end)
       and ($3::text is null or (added_at, key_id) < (select added_at, key_id from reviewer_key where key_id = $3))
     order by added_at desc, key_id desc limit $4`,
    [filter.principal ?? null, filter.state ?? null, filter.before ?? null, filter.limit],
  );
  return rows;
}
