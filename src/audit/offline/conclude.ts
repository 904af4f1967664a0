import type { LoadedRun, Tally } from "./check-run.ts";
import { enrolmentLog } from "./enrolments.ts";
import type { Findings, OfflineCheck } from "./findings.ts";
import type { LogFound } from "./logs.ts";
import type { Manifest } from "./manifest.schema.ts";
import type { TrustRoots } from "./trust.ts";

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

/** All that was looked at. `reported`: the page was made again; `unused`: origins of pins, `unlisted`: files, that nothing here speaks of. */
export type Verified = {
  readonly manifest: Manifest;
  readonly logs: readonly LogFound[];
  readonly runs: readonly LoadedRun[];
  readonly trust: TrustRoots;
  readonly tally: Tally;
  readonly reported: boolean;
  readonly unused: readonly string[];
  readonly unlisted: readonly string[];
};

/** The report: what was checked, what that shows, and what it does not. */
export function conclude(verified: Verified, findings: Findings): OfflineReport {
  const checks = checksOf(verified, findings);
  return {
    format: "countersign/verification/v1",
    verdict: verdictOf(checks),
    checks,
    proven: checks.filter(({ status }) => status === "passed").map(({ name, detail }) => `${name}: ${detail}`),
    notProven: notProvenIn(verified),
    runs: verified.runs.map(({ section }) => section.run),
    logs: verified.logs.map(({ section, checkpoint, entries: count }) => ({
      log: section.log,
      size: checkpoint?.size ?? 0,
      entries: count,
    })),
  };
}

export function unreadable(findings: Findings): OfflineReport {
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

/** Each check, with what it looked at. */
function checksOf(
  { manifest, logs, runs, trust, tally, reported }: Verified,
  findings: Findings,
): readonly OfflineCheck[] {
  const contents = manifest.contents === "included";
  const entries = logs.reduce((sum, log) => sum + log.entries, 0);
  const decided = logs.reduce((sum, { rules }) => sum + rules.decisions, 0);
  const cosigned = logs.reduce((sum, { rules }) => sum + rules.cosigned.size, 0);
  const approvals = runs.reduce((sum, { record }) => sum + record.approvals.length, 0);
  const sizes = logs.map(({ section, checkpoint }) => `${section.log} ${checkpoint?.size ?? "?"}`).join(", ");
  const matched = logs.filter((log) => log.pinned === "matched").map(({ section }) => section.log);
  return [
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
    findings.check("report", reported ? "shows what the bundle holds" : "none, or made by another version", reported),
  ];
}

/** What is not shown in any case, in words. */
function notProvenIn({ manifest, logs, runs, trust, tally, reported, unused, unlisted }: Verified): readonly string[] {
  const contents = manifest.contents === "included";
  const decided = logs.reduce((sum, { rules }) => sum + rules.decisions, 0);
  const matched = logs.filter((log) => log.pinned === "matched").map(({ section }) => section.log);
  return [
    ...(contents || decided === 0
      ? []
      : ["that decisions come out the same when they are made again: contents are withheld"]),
    ...tally.erased.map(
      ({ run, log, index }) =>
        `what run ${run} was about: its contents are ERASED (entry ${index} of log ${log}), so its decisions cannot be made again`,
    ),
    ...(tally.asRecorded === 0
      ? []
      : [`that ${tally.asRecorded} denials were called for: another decision point or what was counted then said so`]),
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
    ...(unlisted.length === 0 ? [] : [`what files beside the bundle say, which it does not name: ${some(unlisted)}`]),
    ...unused.map((origin) => `anything of ${origin}, whose checkpoint was pinned: the bundle has none of it`),
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
      : ["how often, and for how much, other runs used the same standing grants: only a selection of the log is here"]),
    ...(tally.alone.size === 0
      ? []
      : [
          `that a second person confirmed ${tally.alone.size} of the keys that signed: the log says that nobody had to`,
        ]),
    ...(tally.signatures === 0 ? [] : ["what reviewers' screens showed"]),
    ...(reported || manifest.report === undefined
      ? []
      : ["that the page shows what the bundle holds: another version made it"]),
    "calls that went around both Temporal and the ledger",
    ...(Object.keys(manifest.extra).length === 0
      ? []
      : [`additions that this verifier does not know: ${Object.keys(manifest.extra).join(", ")}`]),
  ];
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

function verdictOf(checks: readonly OfflineCheck[]): OfflineReport["verdict"] {
  if (checks.some(({ status }) => status === "failed")) return "refuted";
  return checks.some(({ status }) => status === "incomplete") ? "incomplete" : "verified";
}
