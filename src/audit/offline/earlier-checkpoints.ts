import { equalHashes, verifyConsistency, ProofError } from "../../ledger/proof/index.ts";
import type { Checkpoint, Hash } from "../../ledger/proof/index.ts";
import type { BundleFiles } from "./files.ts";
import type { LogQuestion } from "./log-question.ts";
import { consistencySchema } from "./manifest.schema.ts";
import type { LogSection } from "./manifest.schema.ts";
import { signedBy } from "./signed-checkpoint.ts";
import type { TrustRoots } from "./trust.ts";

/** The pinned checkpoints of this log. One that its own key did not sign is the auditor's mistake, and said. */
export function pinnedOf({ log }: LogSection, { pinned, trust, findings }: LogQuestion): readonly Checkpoint[] {
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

/** That the log grew out of each pinned checkpoint. `roots`: of its tree at the pinned sizes, in a whole log. */
export function comparePins(
  files: BundleFiles,
  section: LogSection,
  checkpoint: Checkpoint,
  pins: readonly Checkpoint[],
  roots: ReadonlyMap<number, Hash>,
  { findings }: LogQuestion,
): void {
  for (const pin of pins) {
    const where = `${section.log}, pinned at ${pin.size}`;
    if (pin.size > checkpoint.size) {
      findings.add("pinned", "rolled_back", where, `the bundle's checkpoint has ${checkpoint.size} entries only`);
      continue;
    }
    const root = pin.size === checkpoint.size ? checkpoint.root : roots.get(pin.size);
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
export function checkOld(
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
