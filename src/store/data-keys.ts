import { createSecretKey, randomBytes } from "node:crypto";
import type { KeyObject } from "node:crypto";

import { ulid } from "ulid";

import type { RunId } from "../core/ids.ts";
import { StoreError } from "./database.ts";
import type { Tx } from "./database.ts";
import { openBytes, sealBytes } from "./key-provider.ts";
import type { ContentKey, PayloadKeys, Sealing } from "./payload-keys.ts";

export type DataKey = { readonly id: string; readonly key: KeyObject };

/** A run's own key as it is stored, with the data key that it is under; null where there is none, or it was destroyed. */
export type SealedRunKey = {
  readonly sealedKey: Buffer | null;
  readonly dataKey: string | null;
  readonly subject: string | null;
  readonly provider: string | null;
  readonly wrapped: Buffer | null;
};

type DataKeyRow = { readonly id: string; readonly provider: string; readonly wrapped: Buffer };

/**
 * The data key in use of a subject (as in `run.subject_key`), made where there is none: after an erasure, a new one. In its own statements,
 * since the provider is asked in between. Throws `key_provider_failed`.
 */
export async function dataKeyOf(tx: Tx, keys: PayloadKeys, subject: string, now: Date): Promise<DataKey> {
  const known = await dataKeyInUse(tx, subject);
  if (known !== undefined) return { id: known.id, key: await unwrapped(keys, subject, known) };
  const id = `key_${ulid(now.getTime())}`;
  const wrapped = await keys.provider.wrap(randomBytes(32), contextOf(id, subject));
  await tx.query(
    `insert into data_key (id, subject, provider, wrapped, created_at) values ($1, $2, $3, $4, $5)
     on conflict (subject) where destroyed_at is null do nothing`,
    [id, subject, keys.provider.name, wrapped, now],
  );
  // Whoever was first: this one or another's.
  const made = await dataKeyInUse(tx, subject);
  if (made === undefined) throw new StoreError("contents_erased", "a data key was destroyed as it was made");
  return { id: made.id, key: await unwrapped(keys, subject, made) };
}

async function dataKeyInUse(tx: Tx, subject: string): Promise<DataKeyRow | undefined> {
  const { rows } = await tx.query<DataKeyRow>(
    "select id, provider, wrapped from data_key where subject = $1 and destroyed_at is null",
    [subject],
  );
  return rows[0];
}

/**
 * Keeps the data key from being destroyed until the transaction ends: what is written under it is erased with it, or not written. False where
 * it was destroyed.
 */
export async function holdDataKey(tx: Tx, id: string): Promise<boolean> {
  const { rowCount } = await tx.query("select from data_key where id = $1 and destroyed_at is null for key share", [
    id,
  ]);
  return rowCount === 1;
}

/** A new run's key and salt, and how they are stored. `salt`: 32 bytes, where digests are to be those of another run. */
export function newRunKey(
  dataKey: DataKey,
  run: RunId,
  salt: Buffer = randomBytes(32),
): { readonly sealing: Sealing; readonly sealedKey: Buffer } {
  const bytes = Buffer.concat([randomBytes(32), salt]);
  return {
    sealing: { current: contentKey(run, bytes) },
    sealedKey: sealBytes(dataKey.key, bytes, runKeyAad(dataKey.id, run)),
  };
}

/** Undefined where it was destroyed. Throws `payload_corrupt` where it is of another run or data key, and `key_provider_failed`. */
export async function contentKeyOf(keys: PayloadKeys, run: RunId, row: SealedRunKey): Promise<ContentKey | undefined> {
  const { sealedKey, dataKey, subject, provider, wrapped } = row;
  if (sealedKey === null || dataKey === null || subject === null || provider === null || wrapped === null)
    return undefined;
  const key = await unwrapped(keys, subject, { id: dataKey, provider, wrapped });
  try {
    return contentKey(run, openBytes(key, sealedKey, runKeyAad(dataKey, run)));
  } catch (cause) {
    throw new StoreError("payload_corrupt", `the key of run \`${run}\` does not decrypt`, { cause });
  }
}

/** What a run's contents are encrypted under: its own key, or the deployment's for a run of before. Throws `contents_erased`. */
export async function sealingOf(tx: Tx, keys: PayloadKeys, run: RunId): Promise<Sealing> {
  const current = await runContentKey(tx, keys, run);
  return current === undefined ? keys : { current };
}

/** The run's own key; undefined where there is no such run, or it is one of before. Throws `contents_erased`. */
export async function runContentKey(tx: Tx, keys: PayloadKeys, run: RunId): Promise<ContentKey | undefined> {
  const { rows } = await tx.query<SealedRunKey>(
    `select run.sealed_key as "sealedKey", run.data_key as "dataKey", data_key.subject, data_key.provider, data_key.wrapped
     from run left join data_key on data_key.id = run.data_key where run.id = $1`,
    [run],
  );
  const [row] = rows;
  if (row === undefined || row.dataKey === null) return undefined;
  const current = await contentKeyOf(keys, run, row);
  if (current === undefined) throw new StoreError("contents_erased", `the contents of run \`${run}\` were erased`);
  return current;
}

/** The salt of a run's digests; undefined for a run of before, or one whose contents were erased. */
export async function saltOf(tx: Tx, keys: PayloadKeys, run: RunId): Promise<string | undefined> {
  try {
    return (await sealingOf(tx, keys, run)).current.salt;
  } catch (error) {
    if (error instanceof StoreError && error.code === "contents_erased") return undefined;
    throw error;
  }
}

async function unwrapped(keys: PayloadKeys, subject: string, row: DataKeyRow): Promise<KeyObject> {
  const known = keys.unwrapped.get(row.id);
  if (known !== undefined) return known;
  if (row.provider !== keys.provider.name) {
    throw new StoreError(
      "key_unusable",
      `data key \`${row.id}\` is wrapped by \`${row.provider}\`, and this process asks \`${keys.provider.name}\``,
      { hint: "set COUNTERSIGN_KEY_PROVIDER as it was when the database was written" },
    );
  }
  const key = createSecretKey(await keys.provider.unwrap(row.wrapped, contextOf(row.id, subject)));
  if (key.symmetricKeySize !== 32) throw new StoreError("key_unusable", `data key \`${row.id}\` has not 32 bytes`);
  keys.unwrapped.set(row.id, key);
  return key;
}

function contextOf(id: string, subject: string): string {
  return `${id}\n${subject}`;
}

function runKeyAad(dataKey: string, run: RunId): string {
  return `countersign/run-key/v1\n${dataKey}\n${run}`;
}

/** `bytes`: 32 of the key, 32 of the salt. */
function contentKey(run: RunId, bytes: Buffer): ContentKey {
  return { id: run, key: createSecretKey(bytes.subarray(0, 32)), salt: bytes.subarray(32, 64).toString("hex") };
}
