import { createHmac, createSecretKey, randomBytes } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { chmod, link, readFile, unlink, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

import { LRUCache } from "lru-cache";

import type { Digest } from "../core/ids.ts";
import { sha256 } from "./canonical.ts";
import { StoreError } from "./database.ts";
import { localKeyProvider } from "./key-provider.ts";
import type { KeyProvider } from "./key-provider.ts";
import { makeFolder } from "./make-folder.ts";

/** A key that contents are encrypted with. `salt`, 32 bytes in hexadecimal: digests are commitments under it; absent: they are bare. */
export type ContentKey = { readonly id: string; readonly key: KeyObject; readonly salt?: string };

/** What new contents are encrypted under. */
export type Sealing = { readonly current: ContentKey };

/**
 * The keys of a deployment: its own (`current`; old ones are found by their id), which is for what belongs to no run, and whoever wraps the
 * data keys that the contents of runs are under.
 */
export type PayloadKeys = Sealing & {
  find(id: string): ContentKey | undefined;
  readonly provider: KeyProvider;
  /** Data keys that were unwrapped just now, by id. Whether one is destroyed is asked of the database, at every use. */
  readonly unwrapped: LRUCache<string, KeyObject>;
};

/** How long a data key is kept in memory before the provider is asked again. */
const unwrappedForMs = 5 * 60_000;
const maxUnwrapped = 10_000;

/** Reads the 256-bit key in `path`, or makes it (mode 0600). Two processes that start at once get the same key. `provider`: see `payloadKeysOf`. */
export async function loadOrCreatePayloadKeys(path: string, provider?: KeyProvider): Promise<PayloadKeys> {
  makeFolder(dirname(path), 0o700);
  const fresh = `${path}.${process.pid}.${randomBytes(4).toString("hex")}`;
  await writeFile(fresh, randomBytes(32).toString("base64"), { mode: 0o600, flag: "wx" });
  // A link fails where the name is taken, so the first one wins whole.
  await link(fresh, path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error;
  });
  await unlink(fresh);
  await chmod(path, 0o600);
  return payloadKeysOf(Buffer.from(await readFile(path, "utf8"), "base64"), provider);
}

/**
 * Keys with the single 32-byte `key`. Its id is derived from it, so that a wrong key is noticed as such. `provider` wraps data keys; absent:
 * they are wrapped under `key`.
 */
export function payloadKeysOf(key: Uint8Array, provider?: KeyProvider): PayloadKeys {
  if (key.length !== 32) throw new StoreError("key_unusable", `payload key has ${key.length} bytes, expected 32`);
  const id = sha256(Buffer.concat([Buffer.from("countersign/payload-key/v1\n"), key])).slice(0, 16);
  // Made once: a cipher makes a key object of raw bytes at every call.
  const secret = createSecretKey(key);
  const current = { id, key: secret };
  return {
    current,
    find: (wanted) => (wanted === id ? current : undefined),
    provider: provider ?? localKeyProvider(secret),
    unwrapped: new LRUCache({ max: maxUnwrapped, ttl: unwrappedForMs }),
  };
}

/** A name for a value that tells only who has the key whether another is the same: HMAC-SHA-256 under the payload key, for one purpose. */
export function keyedDigest(keys: Sealing, purpose: string, text: string): Digest {
  return createHmac("sha256", keys.current.key).update(`countersign/${purpose}/v1\n${text}`).digest("hex") as Digest;
}

/** A name for a person that tells two runs for the same one from others, and does not tell who it is: HMAC-SHA-256 under the payload key. */
export function subjectKey(keys: PayloadKeys, id: string): string {
  return keyedDigest(keys, "subject", id);
}
