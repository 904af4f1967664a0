import { askedOf, barredText } from "../../core/decision.ts";
import type { Json } from "../../core/json.ts";
import type { LedgerEntry } from "../../core/ledger-event.ts";
import type { ApprovalRecord, RunRecord } from "../../core/run-record.ts";
import { digestOf } from "../../store/canonical.ts";
import { differences, timeDifference } from "../differences.ts";
import { editedProblems } from "./edits.ts";
import { renderedProblems } from "./rendered.ts";
import { signedFacts } from "./signed.ts";

type Signed = ApprovalRecord["decisions"][number];

/**
 * Approvals as the ledger has them against those of the record, both ways: each request as it was opened, each decision by the key and
 * signature that were taken then, and the state that they lead to. A signature that verifies proves nothing of whose key it is: the
 * ledger's entry does.
 */
export function approvalProblems(
  record: RunRecord,
  entries: readonly LedgerEntry[],
  contents = true,
): readonly string[] {
  const known = new Set<string>(record.approvals.map((request) => request.id));
  const strange = entries.filter((entry) => isOfApproval(entry) && !known.has(String(entry.facts["approval"])));
  return [
    ...strange.map(
      (entry) => `the ledger has \`${entry.kind}\` of \`${String(entry.facts["approval"])}\`, the record does not`,
    ),
    ...record.approvals.flatMap((request) =>
      requestProblems(
        record,
        request,
        entries.filter((entry) => isOfApproval(entry) && entry.facts["approval"] === request.id),
        contents,
        isUnknown(request.seq, entries),
      ).map((problem) => `approval \`${request.id}\`: ${problem}`),
    ),
  ];
}

function isOfApproval({ kind }: LedgerEntry): boolean {
  return kind.startsWith("approval.");
}

function requestProblems(
  record: RunRecord,
  request: ApprovalRecord,
  entries: readonly LedgerEntry[],
  contents: boolean,
  unknown: boolean,
): readonly string[] {
  const [requested, ...others] = entries.filter(({ kind }) => kind === "approval.requested");
  if (requested === undefined || others.length > 0)
    return [`it was requested ${requested === undefined ? 0 : entries.length} times in the ledger`];
  const groups = request.requirements.map(askedOf);
  const { seq, action, expiresAt, barred = [] } = request;
  // Entries of before say no more than groups and quorums.
  const terms = "requirements" in requested.facts || barred.length > 0 ? termsOf(request) : {};
  return [
    ...differences("the request", requested, { seq, action, expiresAt, groups, ...terms }),
    ...(contents ? renderedProblems(record, request, requested) : []),
    ...signedProblems(request, entries),
    ...dueProblems(request, entries),
    ...editedProblems(record, request, entries),
    ...messageProblems(record, request, entries, contents),
    ...stateProblems(request, entries, unknown),
  ];
}

function termsOf({ requirements, barred = [] }: ApprovalRecord) {
  return { requirements: digestOf(requirements as unknown as Json), barred: barred.map(barredText) };
}

/** Escalations are what the request says, and when. */
function dueProblems(request: ApprovalRecord, entries: readonly LedgerEntry[]): readonly string[] {
  return entries
    .filter(({ kind }) => kind === "approval.escalated" || kind === "approval.reminded")
    .flatMap((entry) => {
      const asked = request.requirements.find(
        ({ policy, group }) => policy === entry.facts["policy"] && group === entry.facts["group"],
      );
      if (asked === undefined) return [`the ledger has \`${entry.kind}\` of a requirement that it does not have`];
      if (entry.kind === "approval.reminded") return [];
      const { to = null, afterMs = 0 } = asked.escalate ?? {};
      const dueAt = new Date(Date.parse(request.openedAt) + afterMs).toISOString();
      return differences("an escalation", entry, { to, dueAt });
    });
}

function signedProblems(request: ApprovalRecord, entries: readonly LedgerEntry[]): readonly string[] {
  // Who decided anew has several entries of a kind: they come in the order of the decisions.
  let left = entries.filter(({ kind }) => kind === "approval.approved" || kind === "approval.denied");
  const problems = request.decisions.flatMap((signed) => {
    const entry = left.find(({ kind, facts }) => kind === kindOf(signed) && facts["reviewer"] === signed.reviewer);
    left = left.filter((other) => other !== entry);
    if (entry === undefined) return [`${signed.reviewer}'s decision is not in the ledger`];
    const { capacity } = signed;
    const { seq, action } = request;
    const what = `${signed.reviewer}'s decision`;
    return [
      ...differences(what, entry, { ...signedFacts(signed, capacity ?? {}), seq, action }),
      ...(capacity === undefined ? [] : timeDifference(what, entry, capacity.at)),
    ];
  });
  return [
    ...problems,
    ...left.map(({ kind, facts }) => `the ledger has \`${kind} ${String(facts["reviewer"])}\`, the record does not`),
  ];
}

function kindOf({ decision }: Signed): string {
  return decision === "approve" ? "approval.approved" : "approval.denied";
}

/** Questions and answers, both ways, with their texts. */
function messageProblems(
  record: RunRecord,
  { messages = [], seq }: ApprovalRecord,
  entries: readonly LedgerEntry[],
  contents: boolean,
): readonly string[] {
  const said = entries.filter(({ kind }) => kind === "approval.asked" || kind === "approval.answered");
  if (said.length !== messages.length)
    return [`${said.length} messages are in the ledger, ${messages.length} in the record`];
  return messages.flatMap(({ n, kind, author, content }) => {
    const wanted = kind === "question" ? "approval.asked" : "approval.answered";
    const entry = said.find((candidate) => candidate.kind === wanted && candidate.facts["n"] === n);
    if (entry === undefined) return [`message ${n} is not in the ledger`];
    const present = !contents || content in record.payloads ? [] : [`the text of message ${n} is missing`];
    return [...differences(`message ${n}`, entry, { seq, author, content }), ...present];
  });
}

/** They change nothing of its state. */
const asides: ReadonlySet<string> = new Set([
  "approval.asked",
  "approval.answered",
  "approval.escalated",
  "approval.reminded",
]);

/** Whether nobody has said yet what became of the step's call. */
function isUnknown(seq: number, entries: readonly LedgerEntry[]): boolean {
  const ends = entries.filter(({ kind, facts }) => endKinds.has(kind) && facts["seq"] === seq);
  return ends.at(-1)?.kind === "step.unknown";
}

const endKinds: ReadonlySet<string> = new Set(["step.result", "step.unknown", "step.reconciled"]);

/** The state that the last entry left. `unknown`: of a used grant's call, whose outcome says so; records of before have it as used. */
function stateProblems(request: ApprovalRecord, entries: readonly LedgerEntry[], unknown: boolean): readonly string[] {
  const last = entries.findLast(({ kind }) => !asides.has(kind));
  const state = stateAfter(last);
  if (state === "consumed" && unknown && request.state === "outcome_unknown") return [];
  return state === request.state ? [] : [`it is \`${state}\` in the ledger, \`${request.state}\` in the record`];
}

function stateAfter(entry: LedgerEntry | undefined): string {
  const kind = entry?.kind;
  if (kind === "approval.edited") return "cancelled";
  if (kind === "approval.consumed" || kind === "approval.expired" || kind === "approval.cancelled")
    return kind.slice("approval.".length);
  return kind === "approval.approved" || kind === "approval.denied" ? String(entry?.facts["state"]) : "pending";
}
