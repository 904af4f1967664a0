import type { Checkpoint } from "../../ledger/proof/index.ts";
import { checkAge, checkRetired } from "./checkpoint-age.ts";
import { checkOld, comparePins, pinnedOf } from "./earlier-checkpoints.ts";
import type { BundleFiles } from "./files.ts";
import type { Leaf } from "./in-toto.ts";
import { walkLeaves } from "./leaves.ts";
import { LedgerRules } from "./ledger-rules.ts";
import type { LogQuestion } from "./log-question.ts";
import type { LogSection } from "./manifest.schema.ts";
import { signedBy } from "./signed-checkpoint.ts";
import { checkCosigned, countWitnesses } from "./witnesses.ts";

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
  if (checkpoint !== undefined) comparePins(files, section, checkpoint, pins, walk.roots, question);
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
