import type { LedgerEntry } from "../../core/ledger-event.ts";
import { checkReport } from "./check-report.ts";
import { checkRun, emptyTally } from "./check-run.ts";
import type { LoadedRun, Tally } from "./check-run.ts";
import { conclude, unreadable } from "./conclude.ts";
import type { OfflineReport } from "./conclude.ts";
import { unusedPins } from "./earlier-checkpoints.ts";
import { enrolmentLog, Enrolments, isEnrolment } from "./enrolments.ts";
import { BundleFiles } from "./files.ts";
import { Findings } from "./findings.ts";
import type { CheckName } from "./findings.ts";
import { verifyLogSection } from "./logs.ts";
import type { LogFound } from "./logs.ts";
import { saltedContents } from "./manifest.schema.ts";
import type { Manifest } from "./manifest.schema.ts";
import { reportPage } from "./report-page.ts";
import { readRun } from "./run-files.ts";
import type { TrustRoots } from "./trust.ts";

export type VerifyOptions = {
  /** The bundle's folder. */
  readonly directory: string;
  readonly trust: TrustRoots;
  /** Signed checkpoints that the auditor kept: the bundle's logs have to have grown out of them. */
  readonly pinned?: readonly string[];
  /** Runs that have to be in the bundle, beside those that the trust file names. */
  readonly runs?: readonly string[];
  /** Default: now. */
  readonly now?: Date;
  readonly onProgress?: (line: string) => void;
};

/** Additions to the format that this verifier knows. */
const knownNeeds: ReadonlySet<string> = new Set<string>([saltedContents]);

/**
 * Verifies an evidence bundle with nothing but what the auditor trusts: no server, no database, no Temporal, no network. What is wrong is in
 * the report. Throws `bundle_unreadable` where there is no bundle.
 */
export function verifyEvidence(options: VerifyOptions): OfflineReport {
  const findings = new Findings();
  const files = BundleFiles.open(options.directory, findings);
  if (files === undefined) return unreadable(findings);
  const { manifest } = files;
  for (const need of manifest.needs) {
    if (!knownNeeds.has(need))
      findings.add("files", "unknown_need", "manifest.json", `it needs \`${need.slice(0, 100)}\``);
  }
  const logs = readLogs(files, options, findings);
  const enrolled = logs.find(({ section }) => section.log === enrolmentLog);
  const enrolments =
    enrolled?.checkpoint === undefined
      ? undefined
      : new Enrolments(enrolled.kept, enrolled.section.coverage === "full", enrolled.checkpoint.size);
  const tally = emptyTally();
  const runs = readRuns(files, logs, findings, options.onProgress);
  for (const run of runs) checkRun(files, run, enrolments, options.trust, findings, tally);
  checkCode(files, findings);
  const unlisted = files.unlisted();
  const reported = checkReport(files, unlisted, logs, runs, findings);
  files.checkRest();
  requireAll(options, manifest, logs, tally, findings);
  const unused = unusedPins(manifest.logs, { trust: options.trust, pinned: options.pinned ?? [], findings });
  return conclude({ manifest, logs, runs, trust: options.trust, tally, reported, unused, unlisted }, findings);
}

/** Logs and runs as a bundle has them, for whoever renders it. */
export function readBundle(files: BundleFiles, trust: TrustRoots, findings: Findings): string {
  const logs = readLogs(files, { trust }, findings);
  return reportPage(files.manifest, logs, readRuns(files, logs, findings));
}

function readLogs(
  files: BundleFiles,
  { trust, pinned = [], now = new Date(), onProgress }: Pick<VerifyOptions, "trust" | "pinned" | "now" | "onProgress">,
  findings: Findings,
): readonly LogFound[] {
  const { manifest } = files;
  const runs = new Set(manifest.runs.map(({ run }) => run));
  const names = manifest.logs.map(({ log }) => log);
  if (new Set(names).size !== names.length || runs.size !== manifest.runs.length)
    findings.add("files", "malformed", "manifest.json", "a log or a run stands in it twice");
  return manifest.logs.map((section) =>
    verifyLogSection(files, section, {
      trust,
      findings,
      pinned,
      runs,
      now,
      keep: section.log === enrolmentLog ? isEnrolment : isBesideRuns,
      onProgress: onProgress && ((log, entries) => onProgress(`${log}: ${entries} entries`)),
    }),
  );
}

/** What is kept of the entries that are in no run: seals and losses of histories, what was erased, and how standing grants came to be. */
function isBesideRuns({ kind }: LedgerEntry): boolean {
  return kind.startsWith("history.") || kind === "payload.erased" || kind.startsWith("standing.");
}

function readRuns(
  files: BundleFiles,
  logs: readonly LogFound[],
  findings: Findings,
  onProgress?: (line: string) => void,
): readonly LoadedRun[] {
  const { runs } = files.manifest;
  return runs.flatMap((section, place) => {
    if (place > 0 && place % 100 === 0) onProgress?.(`${place} of ${runs.length} runs`);
    const log = logs.find((one) => one.section.log === section.log);
    const leaves = log?.leavesOf.get(section.run) ?? [];
    if (log === undefined || leaves.length === 0) {
      findings.add("runs", "run_missing", section.run, "the bundle has no ledger entry of it");
      return [];
    }
    const record = readRun(files, section, { leaves, kept: log.kept, note: log.note }, findings);
    return record === undefined ? [] : [{ section, log, record, leaves }];
  });
}

/** Workflow code is named by its digest, which `run.started` has. */
function checkCode(files: BundleFiles, findings: Findings): void {
  for (const path of files.paths("code")) {
    if (files.manifest.files[path]?.sha256 !== path.slice("code/".length, -".js".length))
      findings.add("contents", "content_mismatch", path);
  }
}

/** What the trust file asks for beyond what is always checked. */
function requireAll(
  { trust, pinned = [], runs = [] }: VerifyOptions,
  manifest: Manifest,
  logs: readonly LogFound[],
  tally: Tally,
  findings: Findings,
): void {
  const need = (name: string, check: CheckName, made: boolean, message: string): void => {
    if (trust.required.has(name) && !made) findings.add(check, "required", "trust file", message);
  };
  const contents = manifest.contents === "included";
  // Of nothing, everything is so.
  if (trust.required.size > 0 && (manifest.runs.length === 0 || logs.length === 0))
    findings.add("runs", "required", "trust file", "something is required, and the bundle has no run");
  const here = new Set(manifest.runs.map(({ run }) => run));
  for (const run of new Set([...trust.runs, ...runs]))
    if (!here.has(run)) findings.add("runs", "required", run, "this run is to be in the bundle");
  const pins = logs.every((log) => log.pinned === "matched");
  const whole = contents && tally.decidedRuns === manifest.runs.length;
  need("contents", "contents", whole, "contents of every run are required, and are withheld or erased");
  need("decisions", "decisions", whole, "decisions of every run are to be made again, which takes the contents");
  need("histories", "histories", tally.sealed === manifest.runs.length, "not every run has its histories, sealed");
  need("statements", "statements", tally.statements === manifest.runs.length, "not every run has a signed statement");
  need("pinned", "pinned", pins && pinned.length > 0, "a pinned checkpoint of each log is required: --pinned FILE");
  need("witnesses", "witnesses", trust.quorum > 0, "witnesses are required, and the trust file asks for none");
}
