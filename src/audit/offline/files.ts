import { createHash } from "node:crypto";
import { closeSync, constants, fstatSync, lstatSync, openSync, readdirSync, readSync, statSync } from "node:fs";
import { basename, join, resolve } from "node:path";

import type { z } from "zod";

import type { Json } from "../../core/json.ts";
import { canonicalText, CanonicalError } from "../../store/canonical.ts";
import { EvidenceError } from "./errors.ts";
import type { Findings } from "./findings.ts";
import { manifestSchema, pathPattern } from "./manifest.schema.ts";
import type { Manifest } from "./manifest.schema.ts";

/** The most bytes of a file that is read whole. Leaves are streamed, and may have more. */
const maxWhole = 256 * 1024 * 1024;
const maxManifest = 64 * 1024 * 1024;
const maxLeaves = 1024 * 1024 * 1024 * 1024;
/** The most files beside a bundle that are told. */
const maxUnlisted = 10_000;
const chunkBytes = 1024 * 1024;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** How the name of a folder ends that an export is writing, or is about to remove: machine and process, where it was. */
export const unfinishedPattern = /\.(partial|old)-([0-9a-f]{8})-(\d{1,10})-[0-9a-f]{8}$/;

/** What every bundle has beside its manifest. A folder with any of it is a bundle whose manifest was taken away. */
const partsOfBundles = new Set(["logs", "releases", "policies", "payloads", "runs", "code", "report.html"]);

/**
 * A bundle's files as its manifest names them. Whoever made the bundle may be an attacker: no link is followed, nothing outside of the
 * folder is opened, and nothing is read beyond the size that the manifest gives. What is wrong is told to `findings`, once for a file.
 */
export class BundleFiles {
  readonly manifest: Manifest;
  readonly #root: string;
  readonly #findings: Findings;
  readonly #checked = new Set<string>();
  readonly #reported = new Set<string>();

  private constructor(root: string, manifest: Manifest, findings: Findings) {
    this.#root = root;
    this.manifest = manifest;
    this.#findings = findings;
  }

  /**
   * Undefined where the manifest cannot be used; why is in `findings`. Throws `bundle_unreadable` where there is no such folder, nothing of a
   * bundle is in it, or it is by its name what an export has not finished; `unfinished`: who writes it may read it.
   */
  static open(root: string, findings: Findings, unfinished = false): BundleFiles | undefined {
    if (!unfinished && unfinishedPattern.test(basename(resolve(root)))) {
      throw new EvidenceError("bundle_unreadable", `\`${root}\` is what an export has not finished`, {
        hint: "export again: the next export to that place removes what a killed one left",
      });
    }
    if (!isFolder(root)) {
      throw new EvidenceError("bundle_unreadable", `\`${root}\` is not a folder`, {
        hint: "give the folder that `countersign audit export` wrote",
      });
    }
    const bytes = readWhole(root, "manifest.json", maxManifest);
    if (bytes === "missing" && !looksLikeBundle(root)) {
      throw new EvidenceError("bundle_unreadable", `\`${root}\` is no evidence bundle: nothing of one is in it`, {
        hint: "give the folder that `countersign audit export` wrote",
      });
    }
    if (typeof bytes === "string") {
      findings.add("files", bytes === "missing" ? "manifest_malformed" : "not_a_file", "manifest.json", says[bytes]);
      return undefined;
    }
    const text = decode(bytes);
    const value = text === undefined ? undefined : parse(text);
    if (value === undefined || canonicalOrUndefined(value) !== text) {
      // A path that leads out is worth its own name, whatever else is wrong.
      findings.add("files", "not_canonical", "manifest.json");
      return undefined;
    }
    const parsed = manifestSchema.safeParse(value);
    if (!parsed.success) {
      const issue = parsed.error.issues[0];
      const unsafe = unsafePath(value);
      if (unsafe !== undefined) findings.add("files", "path_unsafe", JSON.stringify(unsafe).slice(0, 200));
      findings.add(
        "files",
        "manifest_malformed",
        "manifest.json",
        `\`${issue?.path.join(".") ?? ""}\`: ${issue?.message ?? ""}`,
      );
      return undefined;
    }
    return new BundleFiles(root, parsed.data, findings);
  }

  has(path: string): boolean {
    return Object.hasOwn(this.manifest.files, path);
  }

  paths(folder: string): readonly string[] {
    return Object.keys(this.manifest.files).filter((path) => path.startsWith(`${folder}/`));
  }

  /** The file's bytes, of the size and digest that the manifest gives; undefined where they are not. */
  bytes(path: string): Buffer | undefined {
    const named = this.#named(path, maxWhole);
    if (named === undefined) return undefined;
    const bytes = readWhole(this.#root, path, named.bytes);
    if (typeof bytes === "string") return this.#report(path, bytes);
    if (bytes.length !== named.bytes || createHash("sha256").update(bytes).digest("hex") !== named.sha256)
      return this.#report(path, "changed");
    this.#checked.add(path);
    return bytes;
  }

  text(path: string): string | undefined {
    const bytes = this.bytes(path);
    if (bytes === undefined) return undefined;
    const text = decode(bytes);
    if (text === undefined) this.#once(path, "not_canonical", "the file is not UTF-8");
    return text;
  }

  /** The file's JSON, which has to be canonical: two keys of one name, or another spelling, would be read in two ways. */
  json(path: string): Json | undefined {
    const text = this.text(path);
    if (text === undefined) return undefined;
    const value = parse(text);
    if (value !== undefined && canonicalOrUndefined(value) === text) return value;
    this.#once(path, "not_canonical");
    return undefined;
  }

  parsed<Schema extends z.ZodType>(path: string, schema: Schema): z.output<Schema> | undefined {
    const value = this.json(path);
    if (value === undefined) return undefined;
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    const issue = parsed.error.issues[0];
    this.#once(path, "malformed", `\`${issue?.path.join(".") ?? ""}\`: ${issue?.message ?? ""}`);
    return undefined;
  }

  /** Lines of a file, each ended by a line feed, without it. Streamed: memory does not grow with the file. */
  *lines(path: string, longest: number): Generator<Buffer, undefined> {
    const named = this.#named(path, maxLeaves);
    if (named === undefined) return undefined;
    const opened = openFile(this.#root, path);
    if (typeof opened === "string") return this.#report(path, opened);
    try {
      if (fstatSync(opened).size !== named.bytes) return this.#report(path, "changed");
      const digest = createHash("sha256");
      let rest = Buffer.alloc(0);
      for (let position = 0; position < named.bytes;) {
        const chunk = Buffer.allocUnsafe(Math.min(chunkBytes, named.bytes - position));
        const read = readSync(opened, chunk, 0, chunk.length, position);
        if (read === 0) return this.#report(path, "changed");
        position += read;
        digest.update(chunk.subarray(0, read));
        const data = rest.length === 0 ? chunk.subarray(0, read) : Buffer.concat([rest, chunk.subarray(0, read)]);
        let start = 0;
        for (let end = data.indexOf(10); end >= 0; end = data.indexOf(10, start)) {
          yield data.subarray(start, end);
          start = end + 1;
        }
        rest = data.subarray(start);
        if (rest.length > longest) return this.#once(path, "file_too_large", `a line has more than ${longest} bytes`);
      }
      if (rest.length > 0) this.#once(path, "malformed", "the last line does not end");
      if (digest.digest("hex") !== named.sha256) return this.#report(path, "changed");
      this.#checked.add(path);
      return undefined;
    } finally {
      closeSync(opened);
    }
  }

  /** Looks at every file that nothing else has read yet: each has to be there as named. */
  checkRest(): void {
    for (const path of Object.keys(this.manifest.files)) {
      if (!this.#checked.has(path) && !this.#reported.has(path)) this.bytes(path);
    }
  }

  /** What lies in the folder and is not named by the manifest. Links are told, and not followed. */
  unlisted(): readonly string[] {
    const found: string[] = [];
    const folders = [""];
    for (let folder = folders.pop(); folder !== undefined && found.length < maxUnlisted; folder = folders.pop()) {
      for (const entry of readdirSync(join(this.#root, folder), { withFileTypes: true })) {
        const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
        if (entry.isDirectory()) folders.push(path);
        else if (path !== "manifest.json" && !this.has(path)) found.push(path);
      }
    }
    return found.toSorted();
  }

  #named(path: string, most: number): { readonly bytes: number; readonly sha256: string } | undefined {
    const named = this.has(path) ? this.manifest.files[path] : undefined;
    if (named === undefined) return this.#report(path, "missing");
    if (!pathPattern.test(path)) return this.#once(path, "path_unsafe");
    if (named.bytes > most) return this.#once(path, "file_too_large");
    return named;
  }

  #report(path: string, problem: Problem): undefined {
    return this.#once(path, codes[problem], says[problem]);
  }

  #once(
    path: string,
    code:
      | "path_unsafe"
      | "file_missing"
      | "file_changed"
      | "file_too_large"
      | "not_a_file"
      | "not_canonical"
      | "malformed",
    message?: string,
  ): undefined {
    if (!this.#reported.has(path)) this.#findings.add("files", code, path, message);
    this.#reported.add(path);
    return undefined;
  }
}

type Problem = "missing" | "link" | "large" | "changed";
const codes = {
  missing: "file_missing",
  link: "not_a_file",
  large: "file_too_large",
  changed: "file_changed",
} as const;
const says = {
  missing: "the file is not there",
  link: "it is a link, a device or a folder, and is not opened",
  large: "it has more bytes than such a file may have, or than the manifest says",
  changed: "it has not the size and SHA-256 that the manifest gives",
} as const;

function readWhole(root: string, path: string, most: number): Buffer | Problem {
  const opened = openFile(root, path);
  if (typeof opened === "string") return opened;
  try {
    const { size } = fstatSync(opened);
    if (size > most) return "large";
    const bytes = Buffer.allocUnsafe(size);
    let position = 0;
    while (position < size) {
      const read = readSync(opened, bytes, position, size - position, position);
      if (read === 0) return "changed";
      position += read;
    }
    return bytes;
  } finally {
    closeSync(opened);
  }
}

/** No part of the way may be a link; a pipe or device would hang who opens it. */
function openFile(root: string, path: string): number | Problem {
  const segments = path.split("/");
  for (let depth = 1; depth < segments.length; depth += 1) {
    const folder = lstatSync(join(root, ...segments.slice(0, depth)), { throwIfNoEntry: false });
    if (folder === undefined) return "missing";
    if (!folder.isDirectory()) return "link";
  }
  const place = join(root, ...segments);
  const found = lstatSync(place, { throwIfNoEntry: false });
  if (found === undefined) return "missing";
  if (!found.isFile()) return "link";
  try {
    const opened = openSync(place, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    if (fstatSync(opened).isFile()) return opened;
    closeSync(opened);
    return "link";
  } catch {
    return "missing";
  }
}

function isFolder(root: string): boolean {
  try {
    return statSync(root).isDirectory();
  } catch {
    return false;
  }
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}

function parse(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}

function canonicalOrUndefined(value: Json): string | undefined {
  try {
    return canonicalText(value);
  } catch (error) {
    if (error instanceof CanonicalError || error instanceof RangeError) return undefined;
    throw error;
  }
}

/** A path among the names and values of a refused manifest that no bundle has. */
function unsafePath(value: Json): string | undefined {
  const manifest = value as { files?: Json; logs?: Json; runs?: Json };
  const names = Object.keys(typeof manifest.files === "object" && manifest.files !== null ? manifest.files : {});
  const values: string[] = [];
  const collect = (inner: Json | undefined): void => {
    if (typeof inner === "string") values.push(inner);
    else if (typeof inner === "object" && inner !== null) Object.values(inner).forEach(collect);
  };
  collect(manifest.logs);
  collect(manifest.runs);
  return [
    ...names.filter((name) => !pathPattern.test(name)),
    ...values.filter((text) => /(^|[\\/])\.\.([\\/]|$)|^[\\/]/.test(text)),
  ][0];
}

function looksLikeBundle(root: string): boolean {
  return readdirSync(root).some((name) => partsOfBundles.has(name));
}
