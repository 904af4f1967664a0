import type { LedgerEntry } from "../../core/ledger-event.ts";
import {
  CompactRange,
  cosignedBy,
  equalHashes,
  hexOf,
  leafHash,
  maxEntryBytes,
  parseCheckpoint,
  parseNote,
  ProofError,
  scanEntry,
  verifyConsistency,
  verifyInclusion,
  verifyNote,
} from "../../ledger/proof/index.ts";
import type { Checkpoint, Hash } from "../../ledger/proof/index.ts";
import { checkAge, checkRetired } from "./checkpoint-age.ts";
import type { BundleFiles } from "./files.ts";
import type { FindingCode, Findings } from "./findings.ts";
import type { Leaf } from "./in-toto.ts";
import { LedgerRules } from "./ledger-rules.ts";
import { consistencySchema, proofsSchema } from "./manifest.schema.ts";
import type { LogSection } from "./manifest.schema.ts";
import type { TrustRoots } from "./trust.ts";

/** What was found of one log. `checkpoint` is undefined where no trusted key signed one. */
export type LogFound = {
  readonly section: LogSection;
  readonly note: string | undefined;
  readonly checkpoint: Checkpoint | undefined;
  readonly entries: number;
  readonly rules: LedgerRules;
  readonly witnesses: readonly string[];
  /** Leaves by run, of the runs that were asked for. */
  readonly leavesOf: ReadonlyMap<string, readonly Leaf[]>;
  /** Leaves of no run that `keep` chose. */
  readonly kept: readonly Leaf[];
  readonly pinned: "matched" | "not_given";
};

export type LogQuestion = {
  readonly trust: TrustRoots;
  readonly findings: Findings;
  /** Signed notes that the auditor kept, of any log. */
  readonly pinned: readonly string[];
  readonly runs: ReadonlySet<string>;
  readonly now: Date;
  readonly keep: (entry: LedgerEntry) => boolean;
  readonly onProgress?: ((log: string, entries: number) => void) | undefined;
};

/** Entries between two calls of `onProgress`. */
const progressEvery = 50_000;

/** Verifies one log of a bundle: signatures, witnesses, leaves, proofs, and that it grew out of what was pinned. */
export function verifyLogSection(files: BundleFiles, section: LogSection, question: LogQuestion): LogFound {
  const { findings, trust } = question;
  const note = files.text(section.checkpoint);
  const checkpoint = note === undefined ? undefined : openTrusted(section, note, question);
  const witnesses = note === undefined ? [] : countWitnesses(section, note, question);
  const rules = new LedgerRules(section.log, question.runs, findings, section.coverage === "full");
  const pins = pinnedOf(section, question);
  if (note !== undefined && checkpoint !== undefined) {
    checkRetired(section.log, note, checkpoint, pins, witnesses, trust, findings);
    checkAge(section.log, note, question.now, trust, findings);
  }
  const walk = walkLeaves(files, section, checkpoint, pins, rules, question);
  if (checkpoint !== undefined) comparePins(files, section, checkpoint, pins, walk, question);
  if (checkpoint !== undefined) checkOld(files, section, checkpoint, question);
  checkCosigned(files, section, rules.cosigned, question);
  if (trust.required.has("whole-log") && section.coverage !== "full")
    findings.add("leaves", "required", section.log, "the trust file requires whole logs, the bundle has a selection");
  return {
    section,
    note,
    checkpoint,
    rules,
    witnesses,
    entries: walk.entries,
    leavesOf: walk.leavesOf,
    kept: walk.kept,
    pinned: pins.length === 0 ? "not_given" : "matched",
  };
}

function openTrusted(section: LogSection, note: string, question: LogQuestion): Checkpoint | undefined {
  const { findings, trust } = question;
  if (trust.keysOf(section.log).length === 0) {
    findings.add("checkpoints", "log_untrusted", section.log, "the trust file has no verifier key for this log");
    return undefined;
  }
  const checkpoint = signedBy(note, trust, section.log, section.log, "checkpoints", findings);
  if (checkpoint !== undefined && checkpoint.origin !== section.origin)
    findings.add("checkpoints", "checkpoint_malformed", section.log, "the manifest gives the log another origin");
  return checkpoint;
}

function signedBy(
  note: string,
  trust: TrustRoots,
  log: string,
  where: string,
  check: "checkpoints" | "pinned",
  findings: Findings,
): Checkpoint | undefined {
  try {
    const checkpoint = parseCheckpoint(parseNote(note).text);
    const keys = trust.keysAt(log, checkpoint.size);
    verifyNote(note, keys);
    if (keys.every(({ name }) => name !== checkpoint.origin))
      throw new ProofError("checkpoint_malformed", "the checkpoint is of another log than the keys");
    return checkpoint;
  } catch (error) {
    if (!(error instanceof ProofError)) throw error;
    const known: readonly string[] = ["signature_missing", "signature_invalid"];
    const code = known.includes(error.code) ? (error.code as FindingCode) : "checkpoint_malformed";
    findings.add(check, code, where, error.message);
    return undefined;
  }
}

function countWitnesses({ log }: LogSection, note: string, { trust, findings }: LogQuestion): readonly string[] {
  if (trust.witnesses.length === 0) return [];
  const names = cosignersOf(note, trust);
  const wrong = misfits(note, trust);
  if (wrong.length > 0)
    findings.add(
      "witnesses",
      "signature_invalid",
      log,
      `what stands as the cosignature of ${wrong.join(", ")} is none`,
    );
  if (names.length < trust.quorum)
    findings.add(
      "witnesses",
      "witness_quorum",
      log,
      `${names.length} trusted witnesses signed, ${trust.quorum} are asked for`,
    );
  return names;
}

/** The pinned checkpoints of this log. One that its own key did not sign is the auditor's mistake, and said. */
function pinnedOf({ log }: LogSection, { pinned, trust, findings }: LogQuestion): readonly Checkpoint[] {
  return pinned.flatMap((note) => {
    if (!isPinOf(note, log, trust)) return [];
    const checkpoint = signedBy(note, trust, log, `pinned ${log}`, "pinned", findings);
    return checkpoint === undefined ? [] : [checkpoint];
  });
}

/** Whether a pinned note is of this log: as the auditor's keys name it, and not as the bundle's manifest does. */
function isPinOf(note: string, log: string, trust: TrustRoots): boolean {
  const origin = originOf(note);
  return trust.keysOf(log).some(({ name }) => name === origin);
}

/**
 * Pins that nothing here can be compared with. One of a log that the trust file knows is returned by its origin: an auditor may keep those of
 * all logs. Any other is the auditor's mistake, and said: they would believe that it was looked at.
 */
export function unusedPins(
  logs: readonly Pick<LogSection, "log">[],
  { pinned, trust, findings }: Pick<LogQuestion, "pinned" | "trust" | "findings">,
): readonly string[] {
  const unused = pinned.filter((note) => !logs.some(({ log }) => isPinOf(note, log, trust))).map(originOf);
  for (const origin of unused.filter((one) => !trust.origins.has(one)))
    findings.add("pinned", "pin_unproven", origin, "the trust file has no key of such a log");
  return unused.filter((origin) => trust.origins.has(origin));
}

function originOf(note: string): string {
  return (note.split("\n")[0] ?? "").slice(0, 300);
}

type Walk = {
  entries: number;
  readonly leavesOf: Map<string, Leaf[]>;
  readonly kept: Leaf[];
  /** Roots of the tree at the pinned sizes, in a whole log. */
  readonly roots: Map<number, Hash>;
};

function walkLeaves(
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

function comparePins(
  files: BundleFiles,
  section: LogSection,
  checkpoint: Checkpoint,
  pins: readonly Checkpoint[],
  walk: Walk,
  { findings }: LogQuestion,
): void {
  for (const pin of pins) {
    const where = `${section.log}, pinned at ${pin.size}`;
    if (pin.size > checkpoint.size) {
      findings.add("pinned", "rolled_back", where, `the bundle's checkpoint has ${checkpoint.size} entries only`);
      continue;
    }
    const root = pin.size === checkpoint.size ? checkpoint.root : walk.roots.get(pin.size);
    if (root !== undefined) {
      if (!equalHashes(root, pin.root)) findings.add("pinned", "log_rewritten", where);
      continue;
    }
    const old = section.old.find(({ size }) => size === pin.size);
    if (old === undefined) {
      findings.add(
        "pinned",
        "pin_unproven",
        where,
        `ask for an export with this checkpoint: --pinned FILE, or --whole-log`,
      );
    } else if (!grewFrom(files, old.consistency, pin, checkpoint)) findings.add("pinned", "log_rewritten", where);
  }
}

/** Older checkpoints that the bundle brings along: each has to be signed, and the log to have grown out of it. */
function checkOld(
  files: BundleFiles,
  section: LogSection,
  checkpoint: Checkpoint,
  { findings, trust }: LogQuestion,
): void {
  for (const { size, checkpoint: path, consistency } of section.old) {
    const note = files.text(path);
    const where = `${section.log} at ${size}`;
    const old = note === undefined ? undefined : signedBy(note, trust, section.log, where, "checkpoints", findings);
    if (old === undefined) continue;
    if (old.size !== size) findings.add("checkpoints", "checkpoint_malformed", where, `it is of size ${old.size}`);
    else if (!grewFrom(files, consistency, old, checkpoint)) findings.add("checkpoints", "log_rewritten", where);
  }
}

/** Calls that had to wait for witnesses were made on checkpoints which the bundle brings along: those that `checkOld` looks at. */
function checkCosigned(
  files: BundleFiles,
  { log, old }: LogSection,
  cosigned: ReadonlyMap<number, number>,
  { findings, trust }: LogQuestion,
): void {
  for (const [size, wanted] of cosigned) {
    const where = `${log} at ${size}`;
    const path = old.find((one) => one.size === size)?.checkpoint;
    const note = path === undefined ? undefined : files.text(path);
    if (note === undefined) {
      findings.add("witnesses", "cosigning_unproven", where, "the checkpoint that a call was made on is not here");
      continue;
    }
    if (trust.witnesses.length < wanted) {
      const few = `${wanted} witnesses had to cosign it, and the trust file names ${trust.witnesses.length}`;
      findings.add("witnesses", "cosigning_unproven", where, few);
      continue;
    }
    const count = cosignersOf(note, trust).length;
    if (count < wanted)
      findings.add("witnesses", "not_cosigned", where, `${count} trusted witnesses cosigned it, ${wanted} had to`);
  }
}

/** Trusted witnesses whose line on the note does not fit it. That one is missing may be; that one is wrong may not. */
function misfits(note: string, { witnesses }: TrustRoots): readonly string[] {
  try {
    const { text, signatures } = parseNote(note);
    return signatures.flatMap(({ name, keyId, signature }) =>
      witnesses
        .filter((one) => one.name === name && one.keyId === keyId && !one.verify(Buffer.from(text), signature))
        .map((one) => one.name),
    );
  } catch (error) {
    if (error instanceof ProofError) return [];
    throw error;
  }
}

function cosignersOf(note: string, { witnesses }: TrustRoots): readonly string[] {
  try {
    return cosignedBy(note, witnesses);
  } catch (error) {
    if (error instanceof ProofError) return [];
    throw error;
  }
}

function grewFrom(files: BundleFiles, path: string, old: Checkpoint, checkpoint: Checkpoint): boolean {
  const proof = files.parsed(path, consistencySchema);
  if (proof === undefined || proof.from !== old.size || proof.to !== checkpoint.size) return false;
  try {
    verifyConsistency({
      from: old.size,
      to: checkpoint.size,
      fromRoot: old.root,
      toRoot: checkpoint.root,
      proof: proof.path.map((hash) => Buffer.from(hash, "hex")),
    });
    return true;
  } catch (error) {
    if (error instanceof ProofError) return false;
    throw error;
  }
}
