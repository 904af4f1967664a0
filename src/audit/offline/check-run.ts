import type { RunRecord } from "../../core/run-record.ts";
import { checkApprovals } from "../approvals/approvals.ts";
import { checkContents } from "../contents.ts";
import { costAgain } from "../costs.ts";
import { decideAgain } from "../decisions/redecide.ts";
import { erasureOf } from "../erasure.ts";
import type { Erasure } from "../erasure.ts";
import { checkRunEntries } from "../ledger/ledger.ts";
import { checkLosses, lostExecutions } from "../replay/losses.ts";
import { checkSeals } from "../replay/seals.ts";
import type { AuditCheck } from "../report.ts";
import { checkEnrolment } from "./enrolment.ts";
import type { Enrolments } from "./enrolments.ts";
import type { BundleFiles } from "./files.ts";
import type { CheckName, FindingCode, Findings } from "./findings.ts";
import { checkHistories } from "./histories.ts";
import { statementFault } from "./in-toto.ts";
import type { Leaf } from "./in-toto.ts";
import type { LogFound } from "./logs.ts";
import { envelopeSchema } from "./manifest.schema.ts";
import type { RunSection } from "./manifest.schema.ts";
import type { ReportedRun } from "./report-page.ts";
import type { TrustRoots } from "./trust.ts";

/** A run of the bundle, with its log. */
export type LoadedRun = ReportedRun & { readonly section: RunSection; readonly log: LogFound };

/** Tallies for what is told to people. */
export type Tally = {
  histories: number;
  sealed: number;
  events: number;
  signatures: number;
  groupsKnown: boolean;
  /** Keys that signed, and were enrolled without a second person. */
  readonly alone: Set<string>;
  decisions: number;
  /** Runs all of whose decisions were made again, and denials that could only be taken as recorded. */
  decidedRuns: number;
  asRecorded: number;
  /** Model calls whose costs were worked out again, and those of which no price is recorded. */
  costs: number;
  unpriced: number;
  statements: number;
  /** Runs whose contents were erased, with the entries that say so. */
  readonly erased: (Erasure & { readonly run: string; readonly log: string })[];
};

export function emptyTally(): Tally {
  return {
    sealed: 0,
    histories: 0,
    events: 0,
    signatures: 0,
    groupsKnown: true,
    alone: new Set(),
    decisions: 0,
    decidedRuns: 0,
    asRecorded: 0,
    costs: 0,
    unpriced: 0,
    statements: 0,
    erased: [],
  };
}

const codeOfCheck: Readonly<Record<string, readonly [CheckName, FindingCode]>> = {
  chain: ["runs", "run_gap"],
  join: ["records", "record_differs"],
  costs: ["costs", "cost_differs"],
  contents: ["contents", "content_mismatch"],
  approvals: ["approvals", "approval_invalid"],
  decisions: ["decisions", "decision_differs"],
};

/** All that is checked of one run: what is wrong is added to the findings, what was looked at to the tally. */
export function checkRun(
  files: BundleFiles,
  { section, log, record, leaves }: LoadedRun,
  enrolments: Enrolments | undefined,
  trust: TrustRoots,
  findings: Findings,
  tally: Tally,
): void {
  const erasure = erasureOf(record);
  if (erasure !== undefined) tally.erased.push({ run: section.run, log: section.log, ...erasure });
  const contents = files.manifest.contents === "included" && erasure === undefined;
  const take = ({ name, status, problems, detail }: AuditCheck): void => {
    const [check, code] = codeOfCheck[name] ?? ["records", "record_differs"];
    for (const problem of problems) findings.add(check, code, section.run, problem);
    if (status === "incomplete") findings.add(check, "not_covered", section.run, detail);
  };
  guarded(section, findings, () => {
    for (const one of checkRunEntries(record, contents)) take(one);
    closing(record, leaves, findings);
    const costs = costAgain(record);
    take(costs.check);
    tally.costs += costs.recomputed;
    tally.unpriced += costs.unpriced;
    take(checkApprovals(record, contents));
    const { signatures, groupsKnown, alone } = checkEnrolment(record, leaves, enrolments, trust, findings);
    tally.signatures += signatures;
    if (!groupsKnown) tally.groupsKnown = false;
    for (const key of alone) tally.alone.add(key);
    if (section.histories.length > 0) {
      tally.histories += 1;
      tally.events += checkHistories(record, findings);
      checkSealed(section, record, findings, tally);
    }
    if (contents) {
      take(checkContents(record));
      const { check, again, asRecorded } = decideAgain(record);
      take(check);
      tally.decisions += again;
      tally.asRecorded += asRecorded;
      tally.decidedRuns += 1;
    }
    // Without a key that is trusted, nobody can say who signed it; the log's own check says so.
    if (section.statement !== undefined && trust.keysOf(section.log).length > 0) {
      const envelope = files.parsed(section.statement, envelopeSchema);
      if (envelope === undefined) return;
      tally.statements += 1;
      const fault = statementFault(
        envelope,
        log.section.origin,
        leaves,
        trust.keysAt(section.log, log.checkpoint?.size ?? 0),
      );
      if (fault !== undefined) findings.add("statements", fault.code, section.run, fault.message);
    }
  });
}

/** Every execution that has ended is sealed. One whose seal is not here may be another than it was. */
function checkSealed(section: RunSection, record: RunRecord, findings: Findings, tally: Tally): void {
  const { status, problems, detail } = checkSeals(record, undefined);
  for (const problem of problems) findings.add("histories", "seal_differs", section.run, problem);
  if (status === "passed" && lostExecutions(record).length === 0) tally.sealed += 1;
  if (status === "incomplete") findings.add("histories", "not_sealed", section.run, detail);
  for (const problem of checkLosses(record, undefined)?.problems ?? [])
    findings.add("histories", "loss_unfounded", section.run, problem);
}

/** A record is made by who may be an attacker: what it makes a check stumble over is wrong with the record. */
function guarded({ run }: RunSection, findings: Findings, work: () => void): void {
  try {
    work();
  } catch (error) {
    findings.add(
      "records",
      "malformed",
      run,
      error instanceof Error ? (error.message.split("\n")[0] ?? "") : "unreadable",
    );
  }
}

function closing({ run }: RunRecord, leaves: readonly Leaf[], findings: Findings): void {
  if (run.closedAt !== null && leaves.every(({ entry }) => entry.kind !== "run.closed"))
    findings.add("runs", "run_not_closed", run.id);
}
