import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import type { KeyObject } from "node:crypto";

import { StoreError } from "./database.ts";

/**
 * Who wraps data keys. `context` names what a key is for; a wrapped key opens under the same one only. Both throw `key_provider_failed`
 * where the provider cannot be asked or refuses: nothing is read or written then.
 */
export type KeyProvider = {
  /** Kept beside each wrapped key: a key of another provider is refused, and not tried. */
  readonly name: string;
  wrap(key: Buffer, context: string): Promise<Buffer>;
  unwrap(wrapped: Buffer, context: string): Promise<Buffer>;
};

/** Wraps under a key that is here: the key file's. */
export function localKeyProvider(key: KeyObject): KeyProvider {
  return {
    name: "local",
    wrap: async (plain, context) => sealBytes(key, plain, `countersign/data-key/v1\n${context}`),
    unwrap: async (wrapped, context) => {
      try {
        return openBytes(key, wrapped, `countersign/data-key/v1\n${context}`);
      } catch (cause) {
        throw new StoreError("key_unusable", "a data key does not open under the key file's key", {
          cause,
          hint: "start with the data directory, or the key file, that this database was written with",
        });
      }
    },
  };
}

const nonceBytes = 12;
const tagBytes = 16;

/** AES-256-GCM: nonce, ciphertext, tag. */
export function sealBytes(key: KeyObject, plain: Uint8Array, aad: string): Buffer {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv("aes-256-gcm", key, nonce);
  cipher.setAAD(Buffer.from(aad, "utf8"));
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

/** Throws where it is not what `sealBytes` made with the same key and `aad`. */
export function openBytes(key: KeyObject, sealed: Uint8Array, aad: string): Buffer {
  const bytes = Buffer.from(sealed);
  if (bytes.length < nonceBytes + tagBytes) throw new RangeError("too short");
  const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(0, nonceBytes));
  decipher.setAAD(Buffer.from(aad, "utf8"));
  decipher.setAuthTag(bytes.subarray(-tagBytes));
  return Buffer.concat([decipher.update(bytes.subarray(nonceBytes, -tagBytes)), decipher.final()]);
}
