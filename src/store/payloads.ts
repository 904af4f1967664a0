import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";

import { runIdPattern } from "../core/ids.ts";
import type { Digest, RunId } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import { canonicalBytes, commitmentOf, maxPayloadBytes } from "./canonical.ts";
import { contentKeyOf } from "./data-keys.ts";
import type { SealedRunKey } from "./data-keys.ts";
import { StoreError } from "./database.ts";
import type { Tx } from "./database.ts";
import type { ContentKey, PayloadKeys, Sealing } from "./payload-keys.ts";

/**
 * Stores values under the digests of their RFC 8785 bytes, encrypted with AES-256-GCM, and returns their digests in order. A value that is
 * there already is not written again. One round trip.
 */
export async function putPayloads(tx: Tx, keys: Sealing, values: readonly Json[]): Promise<readonly Digest[]> {
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
export function sealPayload({ current }: Sealing, value: Json): SealedPayload {
  const bytes = Buffer.from(canonicalBytes(value));
  if (bytes.length > maxPayloadBytes) {
    throw new StoreError("payload_too_large", `payload has ${bytes.length} bytes, at most ${maxPayloadBytes} are kept`);
  }
  const digest = commitmentOf(current.salt, bytes);
  const nonce = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", current.key, nonce);
  cipher.setAAD(associatedData(current, digest));
  const ciphertext = Buffer.concat([cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
  return { digest, keyId: current.id, nonce, ciphertext, value: JSON.parse(bytes.toString()) as Json };
}

/** Binds a ciphertext to its row. Rows under the deployment's key have the digest alone, as from the beginning. */
function associatedData({ id, salt }: ContentKey, digest: Digest): Buffer {
  return Buffer.from(salt === undefined ? digest : `countersign/payload/v2\n${id}\n${digest}`, "utf8");
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

/** Those of `digests` that are stored, and not erased. One round trip. */
export async function getPayloads(
  tx: Tx,
  keys: PayloadKeys,
  digests: readonly Digest[],
): Promise<ReadonlyMap<Digest, Json>> {
  const found = await getContents(tx, keys, digests);
  return new Map([...found].map(([digest, { value }]) => [digest, value]));
}

/** A value with the salt of its run, which its digest and those of its parts are made with; none: bare digests. */
export type Content = { readonly value: Json; readonly salt: string | undefined };

type PayloadRow = SealedRunKey & {
  readonly digest: Digest;
  readonly keyId: string;
  readonly nonce: Buffer;
  readonly ciphertext: Buffer;
};

/** The same with their salts. That a key is destroyed is seen by the statement that reads the row, whatever is remembered of the key. */
export async function getContents(
  tx: Tx,
  keys: PayloadKeys,
  digests: readonly Digest[],
): Promise<ReadonlyMap<Digest, Content>> {
  if (digests.length === 0) return new Map();
  const { rows } = await tx.query<PayloadRow>(
    `select payload.digest, payload.key_id as "keyId", payload.nonce, payload.ciphertext, run.id as run, run.sealed_key as "sealedKey",
       data_key.id as "dataKey", data_key.subject, data_key.provider, data_key.wrapped
     from payload left join run on run.id = payload.key_id left join data_key on data_key.id = run.data_key
     where payload.digest = any($1::text[])`,
    [[...new Set(digests)]],
  );
  const ofRuns = new Map<string, Promise<ContentKey | undefined>>();
  const opened = await Promise.all(
    rows.map(async (row): Promise<readonly [Digest, Content] | undefined> => {
      if (!runIdPattern.test(row.keyId))
        return [row.digest, { value: open(keys.find(row.keyId), row), salt: undefined }];
      const known = ofRuns.get(row.keyId) ?? contentKeyOf(keys, row.keyId as RunId, row);
      ofRuns.set(row.keyId, known);
      const key = await known;
      return key === undefined ? undefined : [row.digest, { value: open(key, row), salt: key.salt }];
    }),
  );
  return new Map(opened.filter((one) => one !== undefined));
}

function open(key: ContentKey | undefined, row: PayloadRow): Json {
  if (key === undefined) {
    throw new StoreError(
      "key_unusable",
      `payload \`${row.digest}\` is encrypted with key \`${row.keyId}\`, which is not here`,
      {
        hint: "start with the data directory, or the key file, that this database was written with",
      },
    );
  }
  let bytes: Buffer;
  try {
    const decipher = createDecipheriv("aes-256-gcm", key.key, row.nonce);
    decipher.setAAD(associatedData(key, row.digest));
    decipher.setAuthTag(row.ciphertext.subarray(-16));
    bytes = Buffer.concat([decipher.update(row.ciphertext.subarray(0, -16)), decipher.final()]);
  } catch (cause) {
    throw new StoreError("payload_corrupt", `payload \`${row.digest}\` does not decrypt`, { cause });
  }
  if (commitmentOf(key.salt, bytes) !== row.digest)
    throw new StoreError("payload_corrupt", `payload \`${row.digest}\` has other contents`);
  return JSON.parse(bytes.toString("utf8")) as Json;
}
