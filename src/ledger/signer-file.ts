import { createPrivateKey, generateKeyPairSync, randomBytes } from "node:crypto";
import { link, mkdir, readFile, unlink, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

import { LedgerError } from "./errors.ts";
import { createSigner } from "./proof/index.ts";
import type { Signer } from "./proof/index.ts";

/** Gives the signer of each log: one key, and a name (the log's origin) of its own, so that each has its own verifier key. */
export type SignerOf = (name: string) => Signer;

/** The signer `name` with the Ed25519 key (PKCS #8, PEM) in `path`. Throws `key_unusable`. */
export async function loadSigner(path: string, name: string): Promise<Signer> {
  return createSigner(name, await readSeed(path));
}

/** The same; where the file is missing, it is made first (mode 0600). Processes that start at once get the same key. */
export async function loadOrCreateSigner(path: string, name: string): Promise<Signer> {
  return (await loadOrCreateSigners(path))(name);
}

/** The signers of all logs of a ledger, from one key file. */
export async function loadOrCreateSigners(path: string): Promise<SignerOf> {
  await createKeyFile(path);
  const seed = await readSeed(path);
  const known = new Map<string, Signer>();
  return (name) => {
    const signer = known.get(name) ?? createSigner(name, seed);
    known.set(name, signer);
    return signer;
  };
}

async function createKeyFile(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const fresh = `${path}.${process.pid}.${randomBytes(4).toString("hex")}`;
  const pem = generateKeyPairSync("ed25519").privateKey.export({ format: "pem", type: "pkcs8" });
  await writeFile(fresh, pem, { mode: 0o600, flag: "wx" });
  try {
    // A link fails where the name is taken, so the first one wins whole.
    await link(fresh, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    await unlink(fresh);
  }
}

async function readSeed(path: string): Promise<Uint8Array> {
  try {
    const key = createPrivateKey(await readFile(path, "utf8"));
    if (key.asymmetricKeyType !== "ed25519") throw new TypeError(`key is of type ${key.asymmetricKeyType}`);
    // The seed is the last 32 bytes of the key's DER (RFC 8410).
    return key.export({ format: "der", type: "pkcs8" }).subarray(-32);
  } catch (cause) {
    throw new LedgerError("key_unusable", `no Ed25519 private key (PKCS #8, PEM) in \`${path}\``, {
      cause,
      hint: "restore the key file: a new key makes another log to every verifier",
    });
  }
}
