import type { LedgerEntry } from "../../core/ledger-event.ts";
import {
  CompactRange,
  equalHashes,
  hexOf,
  leafHash,
  maxEntryBytes,
  ProofError,
  scanEntry,
  verifyInclusion,
} from "../../ledger/proof/index.ts";
import type { Checkpoint, Hash } from "../../ledger/proof/index.ts";
import type { BundleFiles } from "./files.ts";
import type { Findings } from "./findings.ts";
import type { Leaf } from "./in-toto.ts";
import type { LedgerRules } from "./ledger-rules.ts";
import type { LogQuestion } from "./log-question.ts";
import { proofsSchema } from "./manifest.schema.ts";
import type { LogSection } from "./manifest.schema.ts";

/** Entries between two calls of `onProgress`. */
const progressEvery = 50_000;

type Walk = {
  entries: number;
  readonly leavesOf: Map<string, Leaf[]>;
  readonly kept: Leaf[];
  /** Roots of the tree at the pinned sizes, in a whole log. */
  readonly roots: Map<number, Hash>;
};

/** Goes through a log's leaves once: each against the checkpoint, and each entry against the log's rules. */
export function walkLeaves(
  files: BundleFiles,
  section: LogSection,
  checkpoint: Checkpoint | undefined,
  pins: readonly Checkpoint[],
  rules: LedgerRules,
  question: LogQuestion,
): Walk {
  const { findings, runs, keep, onProgress } = question;
  const walk: Walk = { entries: 0, leavesOf: new Map(), kept: [], roots: new Map() };
  const proofs = section.coverage === "full" ? undefined : proofsOf(files, section, findings);
  const wanted = new Set(pins.map(({ size }) => size));
  const range = CompactRange.empty();
  let before = -1;
  for (const bytes of files.lines(section.leaves, maxEntryBytes + 1)) {
    const proof = proofs?.[walk.entries];
    const index = proofs === undefined ? walk.entries : proof?.index;
    walk.entries += 1;
    if (index === undefined) continue;
    const where = `${section.log} entry ${index}`;
    if (index <= before) findings.add("leaves", "entry_order", where);
    before = index;
    const hash = leafHash(bytes);
    if (proofs === undefined) {
      // What lies past the checkpoint is not proved; it is counted below.
      if (checkpoint === undefined || walk.entries <= checkpoint.size) range.append(hash);
      if (wanted.has(walk.entries)) walk.roots.set(walk.entries, range.root());
    } else if (checkpoint !== undefined) include(checkpoint, index, hash, proof?.path ?? [], where, findings);
    takeEntry(bytes, index, hash);
    if (onProgress !== undefined && walk.entries % progressEvery === 0) onProgress(section.log, walk.entries);
  }
  endWalk(section, checkpoint, walk, range, proofs?.length, findings);
  return walk;

  function takeEntry(bytes: Buffer, index: number, hash: Hash): void {
    let entry: LedgerEntry;
    try {
      entry = scanEntry(bytes);
    } catch (error) {
      if (!(error instanceof ProofError)) throw error;
      findings.add("leaves", "entry_malformed", `${section.log} entry ${index}`, error.message);
      return;
    }
    rules.take(index, entry, hash);
    const id = entry.run?.id;
    if (id === undefined ? !keep(entry) : !runs.has(id)) return;
    const leaf = { index, leaf: bytes.toString("utf8"), entry };
    if (id === undefined) return void walk.kept.push(leaf);
    const list = walk.leavesOf.get(id);
    if (list === undefined) walk.leavesOf.set(id, [leaf]);
    else list.push(leaf);
  }
}

type Proofs = readonly { readonly index: number; readonly path: readonly string[] }[];

function proofsOf(files: BundleFiles, section: LogSection, findings: Findings): Proofs {
  if (section.proofs === undefined) {
    findings.add(
      "files",
      "malformed",
      "manifest.json",
      `log \`${section.log}\` has a selection of leaves without proofs`,
    );
    return [];
  }
  return files.parsed(section.proofs, proofsSchema)?.proofs ?? [];
}

function include(
  { size, root }: Checkpoint,
  index: number,
  hash: Hash,
  path: readonly string[],
  where: string,
  findings: Findings,
): void {
  if (index >= size) return findings.add("leaves", "not_covered", where, `the checkpoint has ${size} entries`);
  try {
    verifyInclusion({ index, size, leafHash: hash, proof: path.map((one) => Buffer.from(one, "hex")), root });
  } catch (error) {
    if (!(error instanceof ProofError)) throw error;
    findings.add("leaves", "not_included", where, error.message);
  }
}

function endWalk(
  section: LogSection,
  checkpoint: Checkpoint | undefined,
  walk: Walk,
  range: CompactRange,
  proofs: number | undefined,
  findings: Findings,
): void {
  if (proofs !== undefined) {
    if (proofs !== walk.entries)
      findings.add("leaves", "leaf_count", section.log, `${walk.entries} leaves, and ${proofs} proofs`);
    return;
  }
  if (checkpoint === undefined) return;
  if (walk.entries < checkpoint.size)
    findings.add("leaves", "leaf_count", section.log, `${walk.entries} leaves, the checkpoint has ${checkpoint.size}`);
  if (walk.entries > checkpoint.size)
    findings.add(
      "leaves",
      "not_covered",
      section.log,
      `${walk.entries - checkpoint.size} leaves are newer than the checkpoint`,
    );
  if (!equalHashes(range.root(), checkpoint.root))
    findings.add(
      "leaves",
      "root_mismatch",
      section.log,
      `the leaves have root ${hexOf(range.root())}, signed is ${hexOf(checkpoint.root)}`,
    );
}
