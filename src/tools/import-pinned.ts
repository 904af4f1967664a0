import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";

import type { Digest } from "../core/ids.ts";
import { sha256 } from "../store/canonical.ts";

type Imported =
  | { readonly status: "imported"; readonly exports: object }
  /** The file no longer has the digest. */
  | { readonly status: "changed" }
  | { readonly status: "broken"; readonly cause: unknown };

// By path and digest; only modules whose file had the digest after they were loaded stay here.
const loaded = new Map<string, Promise<Imported>>();
let attempts = 0;

/**
 * The module at `path`, whose bytes the caller has just seen to have `digest`. `import` reads the file once more: where it was
 * replaced in between, what was loaded is given to nobody. (Its top level has run by then: only people who may write below a tool root
 * can bring that about, and they could as well change what the module imports, which no digest pins.)
 */
export async function importPinned(path: string, digest: Digest): Promise<Imported> {
  const name = `${digest} ${path}`;
  const known = loaded.get(name);
  if (known !== undefined) return known;
  const loading = importOnce(path, digest);
  loaded.set(name, loading);
  const imported = await loading;
  if (imported.status !== "imported") loaded.delete(name);
  return imported;
}

async function importOnce(path: string, digest: Digest): Promise<Imported> {
  attempts += 1;
  try {
    // Node keeps every module by its URL for ever, wrong and broken ones too: each attempt has a URL of its own.
    const exports = (await import(`${pathToFileURL(path).href}?sha256=${digest}&attempt=${attempts}`)) as object;
    return sha256(await readFile(path)) === digest ? { status: "imported", exports } : { status: "changed" };
  } catch (cause) {
    return { status: "broken", cause };
  }
}
