import type { LedgerEntry } from "../../core/ledger-event.ts";
import { openCheckpoint } from "./checkpoint.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { scanEntry } from "./scan-entry.ts";
import { ProofError } from "./errors.ts";
import { equalHashes, hexOf, leafHash } from "./hash.ts";
import { RunChains } from "./run-chains.ts";
import { CompactRange } from "./tree.ts";
import { parseVerifierKey } from "./verifier-key.ts";

/**
 * - `signature`: the checkpoint is signed by the key, for the log of the key's name.
 * - `pinned`: the older checkpoint is signed too (where it is a note), and is of the same tree when it was smaller.
 * - `size`: there are as many entries as the checkpoint says.
 * - `entries`: each is canonical JSON of an entry, all of one log.
 * - `runs`: each run is dense and chained.
 * - `root`: the tree over the entries has the checkpoint's root.
 */
export type LogCheckName = "signature" | "pinned" | "size" | "entries" | "runs" | "root";
export type LogCheck = {
  readonly name: LogCheckName;
  readonly status: "passed" | "failed" | "not_checked";
  readonly detail: string;
};

export type LogReport = {
  /** `incomplete`: nothing is refuted, but entries were given that the checkpoint does not cover. */
  readonly verdict: "verified" | "refuted" | "incomplete";
  readonly checkpoint: Checkpoint | undefined;
  readonly entries: number;
  readonly runs: number;
  readonly closedRuns: number;
  readonly checks: readonly LogCheck[];
};

export type LogEvidence = {
  /** The leaves' bytes from index 0 on. */
  readonly entries: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  /** The signed note. */
  readonly checkpoint: string;
  /** `name+hash+base64`, from the auditor and never from the evidence. */
  readonly verifierKey: string;
  /** An older checkpoint of the same log that the auditor kept: a signed note, or one that was verified when it was new. */
  readonly pinned?: string | Checkpoint | undefined;
};

/**
 * Verifies a whole log offline: rehashes every entry and compares the tree with the checkpoint. Streams; memory grows with the
 * number of runs, not of entries. What is wrong is in the report; throws `key_malformed` for an unusable `verifierKey` only.
 */
export async function verifyLog(evidence: LogEvidence): Promise<LogReport> {
  const key = parseVerifierKey(evidence.verifierKey);
  const checkpoint = attempt(() => openCheckpoint(evidence.checkpoint, key));
  const { pinned: kept } = evidence;
  const pinned = typeof kept === "string" ? attempt(() => openCheckpoint(kept, key)) : kept;
  if (typeof checkpoint === "string") return unsigned(checkpoint);
  const walk = await walkEntries(
    evidence.entries,
    checkpoint.size,
    typeof pinned === "object" ? pinned.size : undefined,
  );
  const checks = [
    passed("signature", `signed by \`${key.name}\``),
    checkPinned(pinned, checkpoint, walk),
    checkSize(checkpoint, walk),
    walk.badEntries.check("entries", `${walk.count} canonical`),
    walk.badRuns.check("runs", `${walk.chains.runs} dense and chained, ${walk.chains.closed} closed`),
    equalHashes(walk.range.root(), checkpoint.root)
      ? passed("root", hexOf(checkpoint.root))
      : failed("root", `entries have root ${hexOf(walk.range.root())}, expected ${hexOf(checkpoint.root)}`),
  ];
  return {
    verdict: verdictOf(checks, walk),
    checkpoint,
    entries: walk.count,
    runs: walk.chains.runs,
    closedRuns: walk.chains.closed,
    checks,
  };
}

type Walk = {
  count: number;
  uncovered: number;
  log: string | undefined;
  pinnedRoot: Uint8Array | undefined;
  readonly range: CompactRange;
  readonly chains: RunChains;
  readonly badEntries: Faults;
  readonly badRuns: Faults;
};

async function walkEntries(
  entries: LogEvidence["entries"],
  size: number,
  pinnedSize: number | undefined,
): Promise<Walk> {
  const walk: Walk = {
    count: 0,
    uncovered: 0,
    log: undefined,
    pinnedRoot: undefined,
    range: CompactRange.empty(),
    chains: new RunChains(),
    badEntries: new Faults(),
    badRuns: new Faults(),
  };
  if (pinnedSize === 0) walk.pinnedRoot = walk.range.root();
  for await (const bytes of entries) {
    // What lies past the checkpoint is not evidence yet.
    if (walk.count === size) {
      walk.uncovered += 1;
      continue;
    }
    takeEntry(walk, bytes);
    if (walk.count === pinnedSize) walk.pinnedRoot = walk.range.root();
  }
  return walk;
}

function takeEntry(walk: Walk, bytes: Uint8Array): void {
  const index = walk.count;
  const leaf = leafHash(bytes);
  walk.range.append(leaf);
  walk.count += 1;
  const entry = attempt(() => scanEntry(bytes));
  if (typeof entry === "string") {
    walk.badEntries.add(index, entry);
    return;
  }
  walk.log ??= entry.log;
  walk.badEntries.add(index, entry.log === walk.log ? undefined : `entry is of another log than \`${walk.log}\``);
  walk.badRuns.add(index, walk.chains.follow(entry satisfies LedgerEntry, leaf));
}

/** Counts what is wrong, and keeps the first. */
class Faults {
  #count = 0;
  #first = "";

  add(index: number, problem: string | undefined): void {
    if (problem === undefined) return;
    if (this.#count === 0) this.#first = `entry ${index}: ${problem}`;
    this.#count += 1;
  }

  check(name: LogCheckName, fine: string): LogCheck {
    return this.#count === 0 ? passed(name, fine) : failed(name, `${this.#count} wrong, first ${this.#first}`);
  }
}

function checkPinned(pinned: Checkpoint | string | undefined, checkpoint: Checkpoint, walk: Walk): LogCheck {
  if (pinned === undefined) return { name: "pinned", status: "not_checked", detail: "no older checkpoint was given" };
  if (typeof pinned === "string") return failed("pinned", pinned);
  if (pinned.origin !== checkpoint.origin)
    return failed("pinned", `log is \`${checkpoint.origin}\`, the pinned one is \`${pinned.origin}\``);
  if (pinned.size > checkpoint.size) {
    return failed(
      "pinned",
      `checkpoint has size ${checkpoint.size}, the pinned one has ${pinned.size}: the log was rolled back`,
    );
  }
  if (walk.pinnedRoot === undefined || !equalHashes(walk.pinnedRoot, pinned.root)) {
    return failed("pinned", `the first ${pinned.size} entries do not have the pinned root: the log was rewritten`);
  }
  return passed("pinned", `size ${pinned.size} is a prefix`);
}

function checkSize(checkpoint: Checkpoint, walk: Walk): LogCheck {
  const { size } = checkpoint;
  if (walk.count < size) return failed("size", `${walk.count} entries, expected ${size}`);
  if (walk.uncovered > 0) {
    return {
      name: "size",
      status: "not_checked",
      detail: `${walk.uncovered} entries after the checkpoint's ${size} are not covered`,
    };
  }
  return passed("size", `${size} entries`);
}

function verdictOf(checks: readonly LogCheck[], walk: Walk): LogReport["verdict"] {
  if (checks.some((check) => check.status === "failed")) return "refuted";
  return walk.uncovered > 0 ? "incomplete" : "verified";
}

function unsigned(problem: string): LogReport {
  const unread = (["pinned", "size", "entries", "runs", "root"] as const).map((name): LogCheck => ({
    name,
    status: "not_checked",
    detail: "without a checkpoint there is nothing to check against",
  }));
  return {
    verdict: "refuted",
    checkpoint: undefined,
    entries: 0,
    runs: 0,
    closedRuns: 0,
    checks: [failed("signature", problem), ...unread],
  };
}

function passed(name: LogCheckName, detail: string): LogCheck {
  return { name, status: "passed", detail };
}

function failed(name: LogCheckName, detail: string): LogCheck {
  return { name, status: "failed", detail };
}

/** The result, or the message of the `ProofError` that refused it. */
function attempt<Result>(work: () => Result): Result | string {
  try {
    return work();
  } catch (error) {
    if (error instanceof ProofError) return error.message;
    throw error;
  }
}
