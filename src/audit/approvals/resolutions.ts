import {
  barOf,
  editKind,
  keyIdOf,
  readSigned,
  resolutionKind,
  resolvedResult,
  subjectNames,
  verifyText,
} from "../../approvals/offline.ts";
import { barredText } from "../../core/decision.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import type { LedgerEntry } from "../../core/ledger-event.ts";
import type { ResolutionRecord, RunRecord } from "../../core/run-record.ts";
import type { ChangedCall } from "../../core/transcript.ts";
import { contentDigest, sha256 } from "../../store/canonical.ts";
import { differences } from "../differences.ts";
import { readableEntries } from "../ledger/readable-entries.ts";

/** What people said of interrupted calls: the signature, that it is on this very call, and that the step ended as they said. */
export function resolutionProblems(record: RunRecord): readonly string[] {
  return (record.resolutions ?? []).flatMap((resolution) => {
    const problem = problemOf(record, resolution);
    return problem === undefined ? [] : [`step ${resolution.seq}: what ${resolution.reviewer} said of it: ${problem}`];
  });
}

function problemOf(record: RunRecord, resolution: ResolutionRecord): string | undefined {
  const { seq, reviewer, keyId, publicKey, signature } = resolution;
  if (keyIdOf(publicKey) !== keyId) return "the key is not the one that it names";
  if (!verifyText(resolutionKind.type, resolution.statement, signature, publicKey))
    return "the signature does not verify";
  const statement = readSigned(resolutionKind, resolution.statement);
  if (statement === undefined) return "the statement is malformed";
  const step = record.steps.find((candidate) => candidate.seq === seq);
  if (statement.run !== record.run.id || statement.seq !== seq || statement.unknown !== resolution.id)
    return "it is on another call";
  if (statement.team !== record.run.team || statement.action !== step?.action) return "it is on another action";
  if (statement.reviewer !== reviewer) return "the statement says something else";
  const barProblem = separationProblem(record, resolution);
  if (barProblem !== undefined) return barProblem;
  if (step.state !== (statement.outcome === "happened" ? "done" : "failed")) return `the step is \`${step.state}\``;
  // Without the contents there is no salt, and what the agent was told has no digest to compare.
  if (record.run.dataKey !== undefined && record.salt === undefined) return undefined;
  const entry = readableEntries(record.ledger.entries).find(
    (one) => one.entry.kind === "step.reconciled" && one.entry.facts["seq"] === seq,
  );
  const told = resolvedResult(statement, changedBy(record, entry?.entry.facts["edit"]));
  return step.result === contentDigest(record.salt, told as unknown as Json)
    ? undefined
    : "the agent was told something else";
}

/** What a reviewer had made of the call: entries from before agents were told of it name no edit. */
function changedBy(record: RunRecord, request: unknown): ChangedCall | undefined {
  const edit = (record.edits ?? []).find((one) => one.request === request);
  if (edit === undefined) return undefined;
  const reason = readSigned(editKind, edit.statement)?.reason ?? "";
  return { arguments: record.payloads[edit.arguments] as JsonObject, reason };
}

/** The change on which the step's call was begun, where the entry says that there was one. */
function editOfStep(record: RunRecord, seq: number, { facts }: LedgerEntry): string | null {
  if (facts["edit"] === undefined) return null;
  const decided = record.decisions.filter((one) => one.seq === seq).toSorted((a, b) => a.n - b.n);
  return decided.at(-1)?.edit ?? null;
}

/** Who may not decide on the run's calls cannot say what became of them, by whatever account: as it was recorded when they said it. */
function separationProblem(
  record: RunRecord,
  { reviewer, person = reviewer, barred = [] }: ResolutionRecord,
): string | undefined {
  const names = [reviewer, person];
  if (names.includes(record.run.requestedBy)) return "it is by who asked for the run";
  if (subjectNames(record.input).some((name) => names.includes(name))) return "it is by whom the run acts for";
  // Who was barred from approving this run's calls is a witness that the operator cannot leave out here alone.
  const all = [...barred, ...record.approvals.flatMap((request) => request.barred ?? [])];
  const bar = barOf(all, names);
  return bar === undefined ? undefined : `\`${bar.person}\` is the ${bar.because}`;
}

/** The same against the ledger, both ways: a step is reconciled once, after it was unknown, by the very statement that is recorded. */
export function reconciledProblems(record: RunRecord, entries: readonly LedgerEntry[]): readonly string[] {
  const unknown = new Set(entries.filter(({ kind }) => kind === "step.unknown").map(({ facts }) => facts["seq"]));
  const reconciled = entries.filter(({ kind }) => kind === "step.reconciled");
  const bySeq = new Map(reconciled.map((entry) => [entry.facts["seq"], entry]));
  const said = new Set((record.resolutions ?? []).map(({ seq }) => seq));
  return [
    ...(bySeq.size === reconciled.length ? [] : ["a step was reconciled more than once"]),
    ...reconciled.flatMap(({ facts }) => {
      const step = `step ${String(facts["seq"])}`;
      return [
        ...(unknown.has(facts["seq"] ?? "") ? [] : [`${step}: reconciled, but its outcome was known`]),
        ...(said.has(Number(facts["seq"])) ? [] : [`${step}: reconciled, but nobody said so in the record`]),
      ];
    }),
    ...refusedProblems(entries),
    ...(record.resolutions ?? []).flatMap(
      ({ id, seq, reviewer, keyId, signature, statement, at = null, person = null, barred }) => {
        const entry = bySeq.get(seq);
        if (entry === undefined) return [`step ${seq}: what ${reviewer} said is not in the ledger`];
        const { outcome = null } = readSigned(resolutionKind, statement) ?? {};
        return differences(`step ${seq}: what ${reviewer} said`, entry, {
          unknown: id,
          reviewer,
          keyId,
          signature,
          statement: sha256(statement),
          outcome,
          person,
          barred: barred?.map(barredText) ?? null,
          edit: editOfStep(record, seq, entry),
          // Entries from before the person say nothing of the time either, or more than the record has.
          ...(at === null ? {} : { saidAt: at }),
        });
      },
    ),
  ];
}

/** What was said and did not hold was said of a call whose outcome was unknown, and still is then. */
function refusedProblems(entries: readonly LedgerEntry[]): readonly string[] {
  return entries.flatMap(({ kind, facts }, place) => {
    if (kind !== "step.resolution_refused") return [];
    const ofStep = (wanted: string) => (entry: LedgerEntry) =>
      entry.kind === wanted && entry.facts["seq"] === facts["seq"];
    const before = entries.slice(0, place);
    return before.some(ofStep("step.unknown")) && !before.some(ofStep("step.reconciled"))
      ? []
      : [`step ${String(facts["seq"])}: what ${String(facts["reviewer"])} said was refused, but nobody was asked`];
  });
}
