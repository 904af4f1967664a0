import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createWriteStream, existsSync, lstatSync, rmSync } from "node:fs";
import { mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { finished } from "node:stream/promises";

import type { Json } from "../../core/json.ts";
import { faultPoint } from "../../faults/index.ts";
import { canonicalText } from "../../store/canonical.ts";
import { makeFolder } from "../../store/make-folder.ts";
import { EvidenceError, unfinishedPattern } from "../offline/index.ts";

export type WrittenFiles = Record<string, { readonly bytes: number; readonly sha256: string }>;

/**
 * A folder that appears whole or not at all: written beside its place, and renamed. Readable by its owner only, since it may hold
 * contents. Throws `bundle_exists` or `bundle_unwritable`.
 */
export class BundleFolder {
  readonly path: string;
  readonly files: WrittenFiles = {};
  readonly #place: string;
  /** What is not finished when the process is asked to end is nobody's. */
  readonly #removeAtExit: () => void;

  private constructor(place: string, path: string) {
    this.#place = place;
    this.path = path;
    this.#removeAtExit = () => rmSync(path, { recursive: true, force: true });
    process.once("exit", this.#removeAtExit);
  }

  static async begin(directory: string, force: boolean): Promise<BundleFolder> {
    const place = resolve(directory);
    await assertFree(place, force);
    const path = `${place}${besides("partial")}`;
    try {
      makeFolder(dirname(place));
      await removeLeft(place);
      await mkdir(path, { mode: 0o700 });
    } catch (cause) {
      throw unwritable(place, cause);
    }
    return new BundleFolder(place, path);
  }

  has(path: string): boolean {
    return path in this.files;
  }

  /** Nothing where the file is there already: names are digests, or given once. */
  async text(path: string, text: string): Promise<string> {
    if (this.has(path)) return path;
    const bytes = Buffer.from(text, "utf8");
    await this.#write(path, bytes);
    this.files[path] = { bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
    return path;
  }

  async json(path: string, value: Json): Promise<string> {
    return this.text(path, canonicalText(value));
  }

  /** Lines, each ended by a line feed. Streamed. Returns how many there were. */
  async lines(path: string, lines: AsyncIterable<string> | Iterable<string>): Promise<number> {
    const place = join(this.path, path);
    await mkdir(dirname(place), { recursive: true, mode: 0o700 });
    const stream = createWriteStream(place, { mode: 0o600, flags: "wx" });
    const digest = createHash("sha256");
    let [bytes, count] = [0, 0];
    try {
      for await (const line of lines) {
        const chunk = Buffer.from(`${line}\n`, "utf8");
        digest.update(chunk);
        bytes += chunk.length;
        count += 1;
        if (!stream.write(chunk)) await once(stream, "drain");
      }
    } finally {
      stream.end();
      await finished(stream);
    }
    this.files[path] = { bytes, sha256: digest.digest("hex") };
    return count;
  }

  /** The manifest lists the others, so it is in no list itself. May be written again. */
  async manifest(value: Json): Promise<void> {
    await this.#write("manifest.json", Buffer.from(canonicalText(value), "utf8"));
  }

  async finish(): Promise<string> {
    // Between the two renames below it may be all that there is.
    process.off("exit", this.#removeAtExit);
    try {
      if (!existsSync(this.#place)) {
        await faultPoint("export.rename", () => rename(this.path, this.#place));
        return this.#place;
      }
      // Replaced in two steps: a crash in between leaves both, under other names.
      const old = `${this.#place}${besides("old")}`;
      await rename(this.#place, old);
      await faultPoint("export.rename", () => rename(this.path, this.#place));
      await rm(old, { recursive: true, force: true });
      return this.#place;
    } catch (cause) {
      throw unwritable(this.#place, cause);
    }
  }

  async discard(): Promise<void> {
    process.off("exit", this.#removeAtExit);
    await rm(this.path, { recursive: true, force: true });
  }

  async #write(path: string, bytes: Uint8Array): Promise<void> {
    const place = join(this.path, path);
    try {
      await mkdir(dirname(place), { recursive: true, mode: 0o700 });
      await faultPoint("export.file", () => writeFile(place, bytes, { mode: 0o600 }));
    } catch (cause) {
      throw unwritable(this.#place, cause);
    }
  }
}

/** The end of a name for what is not, or no longer, a bundle: it tells whose it is, so that what a dead process left can be known. */
function besides(what: "partial" | "old"): string {
  return `.${what}-${thisMachine()}-${process.pid}-${randomBytes(4).toString("hex")}`;
}

function thisMachine(): string {
  return createHash("sha256").update(hostname()).digest("hex").slice(0, 8);
}

/** Removes what exports to the same place left that were killed on this machine. Those at work, and those of other machines, stay. */
async function removeLeft(place: string): Promise<void> {
  for (const name of await readdir(dirname(place))) {
    if (!name.startsWith(`${basename(place)}.`)) continue;
    const [ending, , machine, pid] = unfinishedPattern.exec(name) ?? [];
    if (ending === undefined || name.length !== basename(place).length + ending.length) continue;
    if (machine !== thisMachine() || isRunning(Number(pid))) continue;
    await rm(join(dirname(place), name), { recursive: true, force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Somebody else's process is one all the same.
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

/** With `force`, a bundle may be replaced, and nothing else: a mistyped path must not cost somebody's home. */
async function assertFree(place: string, force: boolean): Promise<void> {
  const found = lstatSync(place, { throwIfNoEntry: false });
  if (found === undefined) return;
  const inside = found.isDirectory() ? await readdir(place) : undefined;
  if (inside?.length === 0 && force) return;
  if (!force) {
    throw new EvidenceError("bundle_exists", `\`${place}\` exists already`, {
      hint: "give another folder, or --force to replace a bundle",
    });
  }
  if (inside === undefined || !inside.includes("manifest.json")) {
    throw new EvidenceError("bundle_exists", `\`${place}\` is not an evidence bundle, and is not replaced`, {
      hint: "give another folder",
    });
  }
}

function unwritable(place: string, cause: unknown): EvidenceError {
  const why = cause instanceof Error ? cause.message : "it failed";
  return new EvidenceError("bundle_unwritable", `the bundle cannot be written to \`${place}\`: ${why}`, { cause });
}
