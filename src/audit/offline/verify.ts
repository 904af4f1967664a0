import { peopleLog } from "../../core/ids.ts";
import type { LedgerEntry } from "../../core/ledger-event.ts";
import type { RunRecord } from "../../core/run-record.ts";
import { checkApprovals } from "../approvals/approvals.ts";
import { checkContents } from "../contents.ts";
import { costAgain } from "../costs.ts";
import { erasureOf } from "../erasure.ts";
import type { Erasure } from "../erasure.ts";
import { checkRunEntries } from "../ledger/ledger.ts";
import { checkLosses, lostExecutions } from "../replay/losses.ts";
import { decideAgain } from "../decisions/redecide.ts";
import type { AuditCheck } from "../report.ts";
import { checkSeals } from "../replay/seals.ts";
import { checkEnrolment, Enrolments, isEnrolment } from "./enrolment.ts";
import { BundleFiles } from "./files.ts";
import { Findings } from "./findings.ts";
import type { CheckName, FindingCode, OfflineCheck } from "./findings.ts";
import { checkHistories } from "./histories.ts";
import { statementFault } from "./in-toto.ts";
import type { Leaf } from "./in-toto.ts";
import { unusedPins, verifyLogSection } from "./logs.ts";
import type { LogFound } from "./logs.ts";
import { envelopeSchema, saltedContents } from "./manifest.schema.ts";
import type { Manifest, RunSection } from "./manifest.schema.ts";
import { reportPage, reportVersion } from "./report-page.ts";
import type { ReportedRun } from "./report-page.ts";
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

export type OfflineReport = {
  readonly format: "countersign/verification/v1";
  /** `refuted`: something is not so. `incomplete`: nothing is refuted, and something that has to be proved is not. */
  readonly verdict: "verified" | "refuted" | "incomplete";
  readonly checks: readonly OfflineCheck[];
  /** What is shown if the verdict is `verified`, and what is not shown in any case: for people. */
  readonly proven: readonly string[];
  readonly notProven: readonly string[];
  readonly runs: readonly string[];
  readonly logs: readonly { readonly log: string; readonly size: number; readonly entries: number }[];
};

/** The log in which reviewers' keys are enrolled. */
export const enrolmentLog = peopleLog;
/** Additions to the format that this verifier knows. */
const knownNeeds: ReadonlySet<string> = new Set<string>([saltedContents]);

/** Tallies for what is told to people. */
type Tally = {
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
  const tally: Tally = {
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
  const runs = readRuns(files, logs, findings, options.onProgress);
  for (const run of runs) checkRun(files, run, enrolments, options.trust, findings, tally);
  checkCode(files, findings);
  const unlisted = files.unlisted();
  const reported = checkReport(files, unlisted, logs, runs, findings);
  files.checkRest();
  requireAll(options, manifest, logs, tally, findings);
  const unused = unusedPins(manifest.logs, { trust: options.trust, pinned: options.pinned ?? [], findings });
  return conclude(manifest, logs, runs, options, findings, {
    ...tally,
    reported,
    unused,
    unlisted,
  });
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

type LoadedRun = ReportedRun & { readonly section: RunSection; readonly log: LogFound };

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

const codeOfCheck: Readonly<Record<string, readonly [CheckName, FindingCode]>> = {
  chain: ["runs", "run_gap"],
  join: ["records", "record_differs"],
  costs: ["costs", "cost_differs"],
  contents: ["contents", "content_mismatch"],
  approvals: ["approvals", "approval_invalid"],
  decisions: ["decisions", "decision_differs"],
};

function checkRun(
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

/** Workflow code is named by its digest, which `run.started` has. */
function checkCode(files: BundleFiles, findings: Findings): void {
  for (const path of files.paths("code")) {
    if (files.manifest.files[path]?.sha256 !== path.slice("code/".length, -".js".length))
      findings.add("contents", "content_mismatch", path);
  }
}

/** The page that people read shows what the bundle holds: it is made again. False where it was not: another version made it. */
function checkReport(
  files: BundleFiles,
  unlisted: readonly string[],
  logs: readonly LogFound[],
  runs: readonly LoadedRun[],
  findings: Findings,
): boolean {
  const { manifest } = files;
  // Whoever opens the folder takes any page in it for the bundle's own.
  for (const path of [...Object.keys(manifest.files), ...unlisted])
    if (path !== manifest.report && /\.x?html?$/i.test(path)) findings.add("report", "page_unlisted", path);
  if (manifest.report === undefined) return false;
  const page = files.text(manifest.report);
  if (page === undefined || !isOfThisVersion(page)) return false;
  let again: string | undefined;
  try {
    again = reportPage(manifest, logs, runs);
  } catch {
    // A page of what cannot be shown is not what the bundle holds either.
  }
  if (again !== page) findings.add("report", "report_differs", manifest.report);
  return true;
}

function isOfThisVersion(page: string): boolean {
  const generator = /<meta name="generator" content="countersign report ([^"]*)"/.exec(page)?.[1];
  // A page that says nothing of its version is none of ours.
  return generator === undefined || generator === reportVersion;
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

function conclude(
  manifest: Manifest,
  logs: readonly LogFound[],
  runs: readonly LoadedRun[],
  { trust }: VerifyOptions,
  findings: Findings,
  tally: Tally & {
    readonly reported: boolean;
    readonly unused: readonly string[];
    readonly unlisted: readonly string[];
  },
): OfflineReport {
  const contents = manifest.contents === "included";
  const entries = logs.reduce((sum, log) => sum + log.entries, 0);
  const decided = logs.reduce((sum, { rules }) => sum + rules.decisions, 0);
  const cosigned = logs.reduce((sum, { rules }) => sum + rules.cosigned.size, 0);
  const approvals = runs.reduce((sum, { record }) => sum + record.approvals.length, 0);
  const sizes = logs.map(({ section, checkpoint }) => `${section.log} ${checkpoint?.size ?? "?"}`).join(", ");
  const matched = logs.filter((log) => log.pinned === "matched").map(({ section }) => section.log);
  const checks = [
    findings.check("files", `${Object.keys(manifest.files).length} as the manifest names them`),
    findings.check("checkpoints", `signed by trusted keys: ${sizes}`, logs.length > 0),
    findings.check(
      "witnesses",
      `${trust.quorum} of ${trust.witnesses.length} asked for${cosigned === 0 ? "" : `; calls waited for ${cosigned} checkpoints that they cosigned`}`,
      trust.quorum > 0 || cosigned > 0,
    ),
    findings.check(
      "pinned",
      matched.length > 0 ? `grown out of what was pinned: ${matched.join(", ")}` : "nothing was pinned",
      matched.length > 0,
    ),
    findings.check("leaves", `${entries} canonical and in the signed trees`, logs.length > 0),
    findings.check(
      "runs",
      `${logs.reduce((sum, { rules }) => sum + rules.runs, 0)} dense and chained, begun as decided, ended as begun`,
    ),
    findings.check("policies", `${decided} decisions under the set in force`, decided > 0),
    findings.check("records", `${runs.length} agree with the ledger, both ways`, runs.length > 0),
    findings.check(
      "costs",
      `${tally.costs} model calls by usage and price, and what runs had spent and held, within their limits`,
      runs.length > 0,
    ),
    findings.check("approvals", `${tally.signatures} signatures on ${approvals} requests`, approvals > 0),
    findings.check("enrolment", "each key enrolled, and not revoked, when it signed", tally.signatures > 0),
    findings.check("contents", `${contents ? "rehashed" : "withheld"}${erasedIn(tally)}`, contents),
    findings.check(
      "decisions",
      contents ? `${tally.decisions} decided again${takenAs(tally)}${erasedIn(tally)}` : "contents are withheld",
      contents,
    ),
    findings.check("histories", `${tally.events} events of ${tally.histories} runs joined`, tally.histories > 0),
    findings.check("statements", `${tally.statements} signed, and as the entries say`, tally.statements > 0),
    findings.check(
      "report",
      tally.reported ? "shows what the bundle holds" : "none, or made by another version",
      tally.reported,
    ),
  ];
  return {
    format: "countersign/verification/v1",
    verdict: verdictOf(checks),
    checks,
    proven: checks.filter(({ status }) => status === "passed").map(({ name, detail }) => `${name}: ${detail}`),
    notProven: [
      ...(contents || decided === 0
        ? []
        : ["that decisions come out the same when they are made again: contents are withheld"]),
      ...tally.erased.map(
        ({ run, log, index }) =>
          `what run ${run} was about: its contents are ERASED (entry ${index} of log ${log}), so its decisions cannot be made again`,
      ),
      ...(tally.asRecorded === 0
        ? []
        : [
            `that ${tally.asRecorded} denials were called for: another decision point or what was counted then said so`,
          ]),
      ...(tally.unpriced === 0
        ? []
        : [`what ${tally.unpriced} model calls cost: no price, or no usage, is recorded of them`]),
      ...(tally.costs === 0
        ? []
        : [
            "that prices, and the tokens counted, were the provider's own, and that budgets of teams and agents had room: other runs are in them",
          ]),
      ...(matched.length > 0 ? [] : ["that the log was not rewritten before this export: no checkpoint was pinned"]),
      ...(matched.length === 0 || matched.length === logs.length
        ? []
        : [
            `that these logs were not rewritten before this export, of which no checkpoint was pinned: ${logs
              .filter(({ pinned }) => pinned !== "matched")
              .map(({ section }) => section.log)
              .join(", ")}`,
          ]),
      trust.maxAgeHours === undefined
        ? "that this is the newest state of the logs: the trust file asks for no age (`maxAgeHours`), and an older whole log looks the same"
        : `what was entered into the logs in the last ${trust.maxAgeHours} hours: so old may the checkpoints be`,
      ...logs.flatMap(({ section, rules }) => {
        const rest = rules.unrecorded;
        return section.coverage === "selected" || rest.length === 0
          ? []
          : [
              `anything but entries of ${rest.length} runs of log ${section.log}, which have no record here: ${some(rest)}`,
            ];
      }),
      ...(tally.unlisted.length === 0
        ? []
        : [`what files beside the bundle say, which it does not name: ${some(tally.unlisted)}`]),
      ...tally.unused.map((origin) => `anything of ${origin}, whose checkpoint was pinned: the bundle has none of it`),
      ...(trust.quorum > 0 ? [] : ["that others were shown the same log: no witnesses are asked for"]),
      ...(logs.every(({ section }) => section.coverage === "full" || section.log === enrolmentLog)
        ? []
        : [
            "that no other policy set was put in force in between, and what else the log holds: only a selection is here",
          ]),
      ...runs
        .filter(({ log, record }) => record.run.closedAt === null && log.section.coverage === "selected")
        .map(({ section }) => `what came after the last entry of ${section.run}: the run is not closed here`),
      ...(tally.histories === runs.length ? [] : ["that workflow histories agree: not every run has one here"]),
      ...(tally.sealed === tally.histories
        ? []
        : ["that every history is the one of then: not each is sealed in the ledger here"]),
      ...(tally.histories === 0
        ? []
        : ["that the recorded code leads to these histories: `countersign audit replay` executes it"]),
      ...(tally.groupsKnown
        ? []
        : ["that reviewers were members of the groups that had to agree: the trust file does not say"]),
      ...(runs.every(({ record, log }) => (record.standingGrants ?? []).length === 0 || log.section.coverage === "full")
        ? []
        : [
            "how often, and for how much, other runs used the same standing grants: only a selection of the log is here",
          ]),
      ...(tally.alone.size === 0
        ? []
        : [
            `that a second person confirmed ${tally.alone.size} of the keys that signed: the log says that nobody had to`,
          ]),
      ...(tally.signatures === 0 ? [] : ["what reviewers' screens showed"]),
      ...(tally.reported || manifest.report === undefined
        ? []
        : ["that the page shows what the bundle holds: another version made it"]),
      "calls that went around both Temporal and the ledger",
      ...(Object.keys(manifest.extra).length === 0
        ? []
        : [`additions that this verifier does not know: ${Object.keys(manifest.extra).join(", ")}`]),
    ],
    runs: runs.map(({ section }) => section.run),
    logs: logs.map(({ section, checkpoint, entries: count }) => ({
      log: section.log,
      size: checkpoint?.size ?? 0,
      entries: count,
    })),
  };
}

function takenAs({ asRecorded }: Tally): string {
  return asRecorded === 0 ? "" : `; ${asRecorded} denials taken as recorded`;
}

function erasedIn({ erased }: Tally): string {
  return erased.length === 0 ? "" : `; of ${erased.length} runs ERASED`;
}

/** The first few of a list, and how many more there are. */
function some(names: readonly string[]): string {
  return `${names.slice(0, 10).join(", ")}${names.length > 10 ? ` and ${names.length - 10} more` : ""}`;
}

function unreadable(findings: Findings): OfflineReport {
  const checks = [findings.check("files", "")];
  return {
    format: "countersign/verification/v1",
    verdict: verdictOf(checks),
    checks,
    proven: [],
    notProven: ["anything: the manifest cannot be read"],
    runs: [],
    logs: [],
  };
}

function verdictOf(checks: readonly OfflineCheck[]): OfflineReport["verdict"] {
  if (checks.some(({ status }) => status === "failed")) return "refuted";
  return checks.some(({ status }) => status === "incomplete") ? "incomplete" : "verified";
}
