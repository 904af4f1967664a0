import { createHmac, createCipheriv, createDecipheriv, createSecretKey, randomBytes } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { chmod, link, mkdir, readFile, unlink, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

import type { Digest } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import { canonicalBytes, sha256 } from "./canonical.ts";
import { StoreError } from "./database.ts";
import type { Tx } from "./database.ts";

/** One payload's most canonical bytes: a message, a document, a tool's result. */
export const maxPayloadBytes = 8 * 1024 * 1024;

/** Keys that contents are encrypted with: new ones under `current`, old ones found by their id. */
export type PayloadKeys = {
  readonly current: { readonly id: string; readonly key: KeyObject };
  find(id: string): KeyObject | undefined;
};

/** Reads the 256-bit data key in `path`, or makes it (mode 0600). Two processes that start at once get the same key. */
export async function loadOrCreatePayloadKeys(path: string): Promise<PayloadKeys> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const fresh = `${path}.${process.pid}.${randomBytes(4).toString("hex")}`;
  await writeFile(fresh, randomBytes(32).toString("base64"), { mode: 0o600, flag: "wx" });
  // A link fails where the name is taken, so the first one wins whole.
  await link(fresh, path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error;
  });
  await unlink(fresh);
  await chmod(path, 0o600);
  return payloadKeysOf(Buffer.from(await readFile(path, "utf8"), "base64"));
}

/** Keys with the single 32-byte `key`. Its id is derived from it, so that a wrong key is noticed as such. */
export function payloadKeysOf(key: Uint8Array): PayloadKeys {
  if (key.length !== 32) throw new StoreError("key_unusable", `payload key has ${key.length} bytes, expected 32`);
  const id = sha256(Buffer.concat([Buffer.from("countersign/payload-key/v1\n"), key])).slice(0, 16);
  // Made once: a cipher makes a key object of raw bytes at every call.
  const secret = createSecretKey(key);
  return { current: { id, key: secret }, find: (wanted) => (wanted === id ? secret : undefined) };
}

/** A name for a person that tells two runs for the same one from others, and does not tell who it is: HMAC-SHA-256 under the payload key. */
export function subjectKey(keys: PayloadKeys, id: string): string {
  return createHmac("sha256", keys.current.key).update(`countersign/subject/v1\n${id}`).digest("hex");
}

/**
 * Stores values under the SHA-256 of their RFC 8785 bytes, encrypted with AES-256-GCM (the digest is the associated data),
 * and returns their digests in order. A value that is there already is not written again. One round trip.
 */
export async function putPayloads(tx: Tx, keys: PayloadKeys, values: readonly Json[]): Promise<readonly Digest[]> {
  return writeSealed(
    tx,
    values.map((value) => sealPayload(keys, value)),
  );
}

export type SealedPayload = {
  readonly digest: Digest;
  readonly keyId: string;
  readonly nonce: Buffer;
  readonly ciphertext: Buffer;
  /** What will be read back: the canonical form's members are in another order than the value's. */
  readonly value: Json;
};

/** Encrypts `value`, ready to be written by `writeSealed`: hashing and encryption need no transaction to be open. */
export function sealPayload(keys: PayloadKeys, value: Json): SealedPayload {
  const bytes = Buffer.from(canonicalBytes(value));
  if (bytes.length > maxPayloadBytes) {
    throw new StoreError("payload_too_large", `payload has ${bytes.length} bytes, at most ${maxPayloadBytes} are kept`);
  }
  const digest = sha256(bytes);
  const nonce = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", keys.current.key, nonce);
  cipher.setAAD(Buffer.from(digest));
  const ciphertext = Buffer.concat([cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
  return { digest, keyId: keys.current.id, nonce, ciphertext, value: JSON.parse(bytes.toString()) as Json };
}

export async function writeSealed(tx: Tx, sealed: readonly SealedPayload[]): Promise<readonly Digest[]> {
  if (sealed.length === 0) return [];
  // Rows in one order everywhere: two transactions that store the same contents cannot lock each other out.
  const rows = sealed.toSorted((a, b) => (a.digest < b.digest ? -1 : a.digest > b.digest ? 1 : 0));
  await tx.query(
    `insert into payload (digest, key_id, nonce, ciphertext)
     select * from unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[]) on conflict (digest) do nothing`,
    [
      rows.map((row) => row.digest),
      rows.map((row) => row.keyId),
      rows.map((row) => row.nonce),
      rows.map((row) => row.ciphertext),
    ],
  );
  return sealed.map((row) => row.digest);
}

/** The same as part of a larger statement: `rows` is SQL for the JSON of what `sealedRows` returns. */
export function sealedSql(rows: string): string {
  return `insert into payload (digest, key_id, nonce, ciphertext)
    select digest, key_id, decode(nonce, 'base64'), decode(ciphertext, 'base64')
    from jsonb_to_recordset(${rows}::jsonb) as sealed (digest text, key_id text, nonce text, ciphertext text)
    order by digest on conflict (digest) do nothing`;
}

export function sealedRows(sealed: readonly SealedPayload[]): readonly Record<string, string>[] {
  return sealed.map(({ digest, keyId, nonce, ciphertext }) => ({
    digest,
    key_id: keyId,
    nonce: nonce.toString("base64"),
    ciphertext: ciphertext.toString("base64"),
  }));
}

/** The value stored under `digest`, checked against it. Throws `payload_missing`, `payload_corrupt` or `key_unusable`. */
export async function getPayload(tx: Tx, keys: PayloadKeys, digest: Digest): Promise<Json> {
  const found = (await getPayloads(tx, keys, [digest])).get(digest);
  if (found === undefined) throw new StoreError("payload_missing", `no payload \`${digest}\``);
  return found;
}

/** Those of `digests` that are stored. One round trip. */
export async function getPayloads(
  tx: Tx,
  keys: PayloadKeys,
  digests: readonly Digest[],
): Promise<ReadonlyMap<Digest, Json>> {
  if (digests.length === 0) return new Map();
  const { rows } = await tx.query<{ digest: Digest; key_id: string; nonce: Buffer; ciphertext: Buffer }>(
    "select digest, key_id, nonce, ciphertext from payload where digest = any($1::text[])",
    [[...new Set(digests)]],
  );
  return new Map(rows.map((row) => [row.digest, open(keys, row)]));
}

function open(keys: PayloadKeys, row: { digest: Digest; key_id: string; nonce: Buffer; ciphertext: Buffer }): Json {
  const key = keys.find(row.key_id);
  if (key === undefined) {
    throw new StoreError(
      "key_unusable",
      `payload \`${row.digest}\` is encrypted with key \`${row.key_id}\`, which is not here`,
      {
        hint: "start with the data directory, or the key file, that this database was written with",
      },
    );
  }
  let bytes: Buffer;
  try {
    const decipher = createDecipheriv("aes-256-gcm", key, row.nonce);
    decipher.setAAD(Buffer.from(row.digest));
    decipher.setAuthTag(row.ciphertext.subarray(-16));
    bytes = Buffer.concat([decipher.update(row.ciphertext.subarray(0, -16)), decipher.final()]);
  } catch (cause) {
    throw new StoreError("payload_corrupt", `payload \`${row.digest}\` does not decrypt`, { cause });
  }
  if (sha256(bytes) !== row.digest)
    throw new StoreError("payload_corrupt", `payload \`${row.digest}\` has other contents`);
  return JSON.parse(bytes.toString("utf8")) as Json;
}
