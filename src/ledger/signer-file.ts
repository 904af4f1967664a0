import { createPrivateKey, generateKeyPairSync, randomBytes } from "node:crypto";
import { link, readFile, rename, unlink, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

import { faultPoint } from "../faults/index.ts";
import { makeFolder } from "../store/make-folder.ts";
import { LedgerError } from "./errors.ts";
import { createSigner } from "./proof/index.ts";
import type { Signer } from "./proof/index.ts";

type Some<Value> = readonly [Value, ...Value[]];

/**
 * Gives the signers of each log, the current one first: the same keys for all logs, and a name (the log's origin) of its own, so that each log
 * has verifier keys of its own.
 */
export type SignersOf = (name: string) => Some<Signer>;

/** The signers named `name` with the Ed25519 keys (PKCS #8, PEM, one after the other) in `path`. Throws `key_unusable`. */
export async function loadSigners(path: string, name: string): Promise<Some<Signer>> {
  return signersFrom(await readSeeds(path))(name);
}

/** The signers of all logs; where the file is missing, it is made first (mode 0600). Processes that start at once get the same key. */
export async function loadOrCreateSigners(path: string): Promise<SignersOf> {
  await createKeyFile(path, newKey());
  return signersFrom(await readSeeds(path));
}

/** The 32-byte seed of the one key in the file, which is made first where it is missing. Throws `key_unusable`. */
export async function loadOrCreateSeed(path: string): Promise<Uint8Array> {
  await createKeyFile(path, newKey());
  const [seed] = await readSeeds(path);
  return seed;
}

/**
 * Puts a new key before those in the file. Until the others are retired, all sign, so that verifiers have time to learn the new one.
 * Throws `key_unusable`.
 */
export async function rotateKey(path: string): Promise<void> {
  const keys = await readPems(path);
  await replaceKeyFile(path, [newKey(), ...keys].join(""));
}

/** Leaves only the newest key in the file. Returns how many were taken out of use. Throws `key_unusable`. */
export async function retireKeys(path: string): Promise<number> {
  const [newest = "", ...retired] = await readPems(path);
  if (retired.length > 0) await replaceKeyFile(path, newest);
  return retired.length;
}

function signersFrom(seeds: readonly Uint8Array[]): SignersOf {
  const known = new Map<string, Some<Signer>>();
  return (name) => {
    const signers = known.get(name) ?? (seeds.map((seed) => createSigner(name, seed)) as unknown as Some<Signer>);
    known.set(name, signers);
    return signers;
  };
}

function newKey(): string {
  return generateKeyPairSync("ed25519").privateKey.export({ format: "pem", type: "pkcs8" }) as string;
}

async function createKeyFile(path: string, contents: string): Promise<void> {
  makeFolder(dirname(path), 0o700);
  const fresh = await writeFresh(path, contents);
  try {
    // A link fails where the name is taken, so the first one wins whole.
    await link(fresh, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    await unlink(fresh);
  }
}

async function replaceKeyFile(path: string, contents: string): Promise<void> {
  const fresh = await writeFresh(path, contents);
  await faultPoint("key.file", () => rename(fresh, path));
}

async function writeFresh(path: string, contents: string): Promise<string> {
  const fresh = `${path}.${process.pid}.${randomBytes(4).toString("hex")}`;
  await writeFile(fresh, contents, { mode: 0o600, flag: "wx", flush: true });
  return fresh;
}

async function readSeeds(path: string): Promise<Some<Uint8Array>> {
  // The seed is the last 32 bytes of the key's DER (RFC 8410).
  const seeds = (await readPems(path)).map((pem) =>
    createPrivateKey(pem).export({ format: "der", type: "pkcs8" }).subarray(-32),
  );
  return seeds as unknown as Some<Uint8Array>;
}

/** The PEM blocks of the file, each an Ed25519 key; at least one. */
async function readPems(path: string): Promise<readonly string[]> {
  try {
    const blocks = (await readFile(path, "utf8")).match(/-----BEGIN [^-]+-----[^-]*-----END [^-]+-----\n?/g) ?? [];
    for (const block of blocks.length === 0 ? [""] : blocks) {
      const key = createPrivateKey(block);
      if (key.asymmetricKeyType !== "ed25519") throw new TypeError(`key is of type ${key.asymmetricKeyType}`);
    }
    return blocks.map((block) => `${block.trimEnd()}\n`);
  } catch (cause) {
    throw new LedgerError("key_unusable", `no Ed25519 private key (PKCS #8, PEM) in \`${path}\``, {
      cause,
      hint: "restore the key file: a new key makes another log to every verifier",
    });
  }
}
