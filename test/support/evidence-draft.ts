import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import {
  BundleFiles,
  Findings,
  parseTrust,
  readBundle,
  signRunStatement,
  trustFormat,
} from "../../src/audit/offline/index.ts";
import type { Manifest } from "../../src/audit/offline/index.ts";
import type { Json } from "../../src/core/json.ts";
import type { LedgerEntry } from "../../src/core/ledger-event.ts";
import { formatCheckpoint, hexOf, leafHash, noPrevious, rootOf, signNote } from "../../src/ledger/proof/index.ts";
import type { Signer } from "../../src/ledger/proof/index.ts";
import { canonicalText, commitmentOf } from "../../src/store/canonical.ts";

type Changing<Value> = Value extends readonly (infer Item)[]
  ? Changing<Item>[]
  : Value extends object
    ? { -readonly [Key in keyof Value]: Changing<Value[Key]> }
    : Value;
/* oxlint-disable-next-line typescript/no-explicit-any -- an attacker does not mind types */
export type Anything = any;

/** A bundle in memory, in the hands of an attacker who knows the format: sizes, digests and the page for people are made to fit again. */
export class EvidenceDraft {
  readonly files = new Map<string, Buffer>();
  manifest: Changing<Manifest>;
  /** What stands in `manifest.json`, where it is not the manifest. */
  manifestText: string | undefined;
  /** Whether `files` of the manifest and the page are made to fit. */
  mends = true;
  /** Done to the folder last: links, and files that are not as named. */
  readonly after: ((root: string) => void)[] = [];

  constructor(root: string) {
    for (const name of readdirSync(root, { recursive: true, encoding: "utf8" })) {
      try {
        this.files.set(name, readFileSync(join(root, name)));
      } catch {
        // A folder.
      }
    }
    this.manifest = JSON.parse(this.text("manifest.json")) as Changing<Manifest>;
    this.files.delete("manifest.json");
  }

  text(path: string): string {
    const bytes = this.files.get(path);
    if (bytes === undefined) throw new Error(`the bundle has no \`${path}\``);
    return bytes.toString("utf8");
  }

  put(path: string, text: string | Buffer): void {
    this.files.set(path, Buffer.from(text as string));
  }

  json(path: string): Anything {
    return JSON.parse(this.text(path));
  }

  edit(path: string, change: (value: Anything) => unknown): void {
    const value = this.json(path);
    change(value);
    this.put(path, canonicalText(value as Json));
  }

  /** Contents under their own digest, as who holds the store would put them. Returns the digest. */
  address(folder: "payloads" | "policies" | "releases", value: Json, run?: string): string {
    const text = canonicalText(value);
    const salt = run === undefined ? undefined : (this.json(this.record(run)).salt as string | undefined);
    const digest = commitmentOf(salt, Buffer.from(text));
    this.put(`${folder}/${digest}.json`, text);
    return digest;
  }

  record(run: string): string {
    return this.section(run).record;
  }

  section(run: string) {
    const found = this.manifest.runs.find((one) => one.run === run);
    if (found === undefined) throw new Error(`the bundle has no run \`${run}\``);
    return found;
  }

  log(name: string) {
    const found = this.manifest.logs.find((one) => one.log === name);
    if (found === undefined) throw new Error(`the bundle has no log \`${name}\``);
    return found;
  }

  leaves(name: string): string[] {
    return this.text(this.log(name).leaves).split("\n").slice(0, -1);
  }

  putLeaves(name: string, leaves: readonly string[]): void {
    this.put(this.log(name).leaves, leaves.map((leaf) => `${leaf}\n`).join(""));
  }

  /** Edits one leaf as it stands: nothing around it is made to fit. */
  editLeaf(name: string, find: (entry: LedgerEntry) => boolean, change: (entry: Anything) => unknown): void {
    const leaves = this.leaves(name);
    const place = leaves.findIndex((leaf) => find(JSON.parse(leaf) as LedgerEntry));
    if (place < 0) throw new Error("there is no such leaf");
    const entry = JSON.parse(leaves[place] ?? "") as Json;
    change(entry);
    leaves[place] = canonicalText(entry);
    this.putLeaves(name, leaves);
  }

  /**
   * The hard way: changes a whole log's entries, and makes everything fit again that can be: places in runs, chains, tree, checkpoint and
   * statements, signed by `signer`.
   */
  relog(name: string, change: (entries: Anything[]) => unknown, signer: Signer): void {
    const entries = this.leaves(name).map((leaf) => JSON.parse(leaf) as Anything);
    change(entries);
    const last = new Map<string, { seq: number; hash: string }>();
    const leaves = entries.map((entry) => {
      if (entry.run !== undefined) {
        const before = last.get(entry.run.id);
        entry.run = {
          id: entry.run.id,
          seq: before === undefined ? 0 : before.seq + 1,
          prev: before?.hash ?? noPrevious,
        };
      }
      const leaf = canonicalText(entry as Json);
      if (entry.run !== undefined)
        last.set(entry.run.id, { seq: entry.run.seq, hash: hexOf(leafHash(Buffer.from(leaf))) });
      return leaf;
    });
    this.putLeaves(name, leaves);
    this.sign(name, signer);
  }

  /** Signs what the log's leaves are now, and the statements of its runs. */
  sign(name: string, ...signers: Signer[]): void {
    const leaves = this.leaves(name);
    const section = this.log(name);
    const root = rootOf(leaves.map((leaf) => leafHash(Buffer.from(leaf))));
    this.put(
      section.checkpoint,
      signNote(formatCheckpoint({ origin: section.origin, size: leaves.length, root }), signers),
    );
    const [signer] = signers;
    if (signer === undefined) return;
    for (const { run, statement, log } of this.manifest.runs) {
      if (log !== name || statement === undefined) continue;
      const own = leaves.flatMap((leaf, index) => {
        // Whatever the attacker made of it: an entry that is none is in no run.
        const entry = JSON.parse(leaf) as LedgerEntry;
        return entry.run?.id === run ? [{ index, leaf, entry }] : [];
      });
      const envelope = signRunStatement(section.origin, own, [signer]);
      if (envelope !== null) this.put(statement, canonicalText(envelope as unknown as Json));
    }
  }

  /** Writes the bundle to a fresh folder. */
  save(root: string): string {
    rmSync(root, { recursive: true, force: true });
    mkdirSync(root, { recursive: true });
    const write = (path: string, bytes: Buffer | string): void => {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), bytes);
    };
    for (const [path, bytes] of this.files) write(path, bytes);
    if (this.mends) this.#mend(root, write);
    write("manifest.json", this.manifestText ?? canonicalText(this.manifest as unknown as Json));
    for (const more of this.after) more(root);
    return root;
  }

  #mend(root: string, write: (path: string, text: string) => void): void {
    for (const path of Object.keys(this.manifest.files)) if (!this.files.has(path)) delete this.manifest.files[path];
    for (const [path, bytes] of this.files) this.manifest.files[path] = named(bytes);
    if (this.manifest.report === undefined || this.manifestText !== undefined) return;
    const kept = this.keepsReport;
    if (kept) return;
    write("manifest.json", canonicalText(this.manifest as unknown as Json));
    try {
      const findings = new Findings();
      const files = BundleFiles.open(root, findings);
      if (files === undefined) return;
      const nobody = parseTrust(JSON.stringify({ format: trustFormat, logs: {}, approvers: [] }));
      const page = readBundle(files, nobody, findings);
      write(this.manifest.report, page);
      this.manifest.files[this.manifest.report] = named(Buffer.from(page));
    } catch {
      // What cannot be shown keeps the page that it had.
    }
  }

  /** The page was tampered with: it is left as it is. */
  keepsReport = false;
}

function named(bytes: Buffer): { bytes: number; sha256: string } {
  return { bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
}
