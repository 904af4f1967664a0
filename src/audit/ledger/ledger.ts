import type { LedgerEntry, LedgerKind } from "../../core/ledger-event.ts";
import type { RunRecord } from "../../core/run-record.ts";
import { hexOf, leafHash, noPrevious, openCheckpoint, scanEntry, parseVerifierKey } from "../../ledger/proof/index.ts";
import type { Checkpoint } from "../../ledger/proof/index.ts";
import { approvalProblems } from "../approvals/approval-entries.ts";
import { isCovered } from "./entry-proof.ts";
import { checkErasures, erasureOf } from "../erasure.ts";
import { checkCosigned } from "./cosigned.ts";
import { differences, timeDifference } from "../differences.ts";
import type { ExpectedFacts } from "../differences.ts";
import { checkLosses } from "../replay/losses.ts";
import { checkPoliciesInForce } from "./policies-in-force.ts";
import { check, notChecked } from "../report.ts";
import { reconciledProblems } from "../approvals/resolutions.ts";
import { checkSeals } from "../replay/seals.ts";
import { standingEntryProblems } from "../approvals/standing-entries.ts";
import type { AuditCheck } from "../report.ts";
import { isUnanswered, unansweredProblems } from "../unanswered.ts";

type Placed = { readonly index: number; readonly bytes: Uint8Array; readonly entry: LedgerEntry };

/**
 * What the ledger says of the run, against what the record says: signature, inclusion of every entry, the run's own chain, and the
 * join of decisions, intents and results in both directions. The verifier key, and those of witnesses, come from the auditor, never from the
 * record.
 */
export function checkLedger(
  record: RunRecord,
  verifierKey: string,
  witnesses: readonly string[] = [],
): readonly AuditCheck[] {
  const { entries: placed, problems } = parseEntries(record);
  const checkpoint = openNote(record, verifierKey);
  return [
    signatureCheck(record, checkpoint),
    inclusionCheck(record, checkpoint),
    checkPoliciesInForce(record, checkpoint),
    checkSeals(record, checkpoint),
    ...[checkLosses(record, checkpoint) ?? []].flat(),
    ...(record.ledger.erasures === undefined ? [] : [checkErasures(record, checkpoint)]),
    check("chain", `${placed.length} entries, dense and chained`, [...problems, ...chainProblems(record, placed)]),
    joinCheck(
      record,
      placed.map(({ entry }) => entry),
      erasureOf(record) === undefined,
    ),
    ...checkCosigned(record, placed, checkpoint, verifierKey, witnesses),
  ];
}

/**
 * Chain and join alone, for entries whose place in the log is proved elsewhere. Without `contents`, what reviewers were shown is not
 * looked for.
 */
export function checkRunEntries(record: RunRecord, contents: boolean): readonly AuditCheck[] {
  const { entries: placed, problems } = parseEntries(record);
  return [
    check("chain", `${placed.length} entries, dense and chained`, [...problems, ...chainProblems(record, placed)]),
    joinCheck(
      record,
      placed.map(({ entry }) => entry),
      contents,
    ),
  ];
}

/** Where events still wait for the ledger, what it lacks may be among them: that proves nothing, and refutes nothing. */
function joinCheck(record: RunRecord, entries: readonly LedgerEntry[], contents = true): AuditCheck {
  const problems = joinProblems(record, entries, contents);
  const { waiting } = record.ledger;
  if (problems.length > 0 && waiting > 0)
    return notChecked("join", `${waiting} events were not in the ledger yet; ask again`);
  return check("join", "decisions, intents, results and approvals agree with the record", problems);
}

function parseEntries(record: RunRecord): {
  readonly entries: readonly Placed[];
  readonly problems: readonly string[];
} {
  const entries: Placed[] = [];
  const problems: string[] = [];
  for (const { index, leaf } of record.ledger.entries) {
    const bytes = Buffer.from(leaf, "utf8");
    try {
      entries.push({ index, bytes, entry: scanEntry(bytes) });
    } catch (error) {
      problems.push(`entry ${index}: ${error instanceof Error ? error.message : "malformed"}`);
    }
  }
  return { entries, problems };
}

function openNote(record: RunRecord, verifierKey: string): Checkpoint | string {
  if (record.ledger.checkpoint === null) return "nothing has been signed yet";
  try {
    return openCheckpoint(record.ledger.checkpoint, parseVerifierKey(verifierKey));
  } catch (error) {
    return error instanceof Error ? error.message : "the checkpoint cannot be read";
  }
}

function signatureCheck(record: RunRecord, checkpoint: Checkpoint | string): AuditCheck {
  if (record.ledger.checkpoint === null) return notChecked("signature", "nothing has been signed yet");
  if (typeof checkpoint === "string") return check("signature", "", [checkpoint]);
  return check("signature", `checkpoint of size ${checkpoint.size} by \`${checkpoint.origin}\``, []);
}

function inclusionCheck(record: RunRecord, checkpoint: Checkpoint | string): AuditCheck {
  if (typeof checkpoint === "string") return notChecked("inclusion", "there is no checkpoint to prove against");
  const entries = [...record.ledger.entries, ...(record.ledger.grants ?? [])];
  const uncovered = entries.filter((entry) => entry.proof === undefined);
  const problems = entries.flatMap((entry) => {
    try {
      isCovered(entry, checkpoint);
      return [];
    } catch (error) {
      return [`entry ${entry.index}: ${error instanceof Error ? error.message : "not included"}`];
    }
  });
  if (problems.length === 0 && uncovered.length > 0) {
    return notChecked("inclusion", `${uncovered.length} of ${entries.length} entries are newer than the checkpoint`);
  }
  return check("inclusion", `${entries.length} entries proved to be in the tree`, problems);
}

function chainProblems(record: RunRecord, placed: readonly Placed[]): readonly string[] {
  const problems: string[] = [];
  let previous: string = noPrevious;
  for (const [seq, { bytes, entry, index }] of placed.entries()) {
    if (entry.log !== record.run.team) problems.push(`entry ${index} is of log \`${entry.log}\``);
    if (entry.run?.id !== record.run.id) problems.push(`entry ${index} is of another run`);
    else if (entry.run.seq !== seq) problems.push(`entry ${index} has seq ${entry.run.seq}, expected ${seq}`);
    else if (entry.run.prev !== previous) problems.push(`entry ${index} does not chain to the entry before it`);
    previous = hexOf(leafHash(bytes));
  }
  const last = placed.at(-1)?.entry.kind;
  if (record.run.closedAt !== null && last !== "run.closed")
    problems.push(`the run is closed, but its last entry is \`${last ?? "none"}\``);
  return problems;
}

/** Each decision has its entry, each allowed one an intent, each intent one end, and no entry is without its row. */
function joinProblems(record: RunRecord, entries: readonly LedgerEntry[], contents: boolean): readonly string[] {
  const problems: string[] = [];
  const of = (kind: LedgerKind): readonly LedgerEntry[] => entries.filter((entry) => entry.kind === kind);
  const decided = new Map(
    of("step.decided").map((entry) => [`${Number(entry.facts["seq"])}/${Number(entry.facts["n"])}`, entry]),
  );
  for (const decision of record.decisions) {
    const entry = decided.get(`${decision.seq}/${decision.n}`);
    decided.delete(`${decision.seq}/${decision.n}`);
    if (entry === undefined) problems.push(`step ${decision.seq}: decision ${decision.n} is not in the ledger`);
    else {
      const what = `step ${decision.seq}: decision ${decision.n}`;
      problems.push(...differences(what, entry, decisionFacts(record, decision)));
      problems.push(...timeDifference(what, entry, decision.at));
    }
  }
  for (const key of decided.keys()) problems.push(`the ledger has decision ${key}, the record does not`);
  problems.push(
    ...effectProblems(record, of("step.intent"), [
      ...of("step.result"),
      ...of("step.unknown"),
      ...of("step.reconciled"),
    ]),
  );
  problems.push(...stepTimeProblems(record));
  problems.push(...approvalProblems(record, entries, contents));
  problems.push(...reconciledProblems(record, entries));
  problems.push(...standingEntryProblems(record, entries));
  problems.push(...runProblems(record, of("run.started"), of("run.closed")));
  return problems;
}

function decisionFacts(record: RunRecord, decision: RunRecord["decisions"][number]): ExpectedFacts {
  const step = record.steps.find((candidate) => candidate.seq === decision.seq);
  return {
    outcome: decision.outcome,
    code: decision.code,
    policies: decision.policies,
    activity: decision.activity,
    step: step?.kind ?? null,
    agent: record.run.agent,
    policySet: decision.policySet,
    request: decision.request,
    action: step?.action ?? null,
    arguments: step?.arguments ?? null,
    name: step?.name ?? null,
    release: record.run.release,
    approval: decision.approval,
    effective: decision.effective,
    shadow: decision.shadow ? "true" : null,
    answer: decision.facts.response?.answer ?? null,
    edit: decision.edit ?? null,
    standingGrant: decision.standingGrant ?? null,
    witnesses: decision.witnesses ?? null,
    cosignBy: decision.cosignBy ?? null,
  };
}

function effectProblems(
  record: RunRecord,
  intents: readonly LedgerEntry[],
  ends: readonly LedgerEntry[],
): readonly string[] {
  const problems: string[] = [];
  const open = record.run.closedAt === null;
  const intended = new Set(intents.map((entry) => entry.facts["seq"]));
  const endOf = new Map(ends.map((entry) => [entry.facts["seq"], entry]));
  if (intended.size !== intents.length) problems.push("a step has more than one intent");
  for (const step of record.steps) {
    // A call whose answer waits for people, or was cancelled while it did, has been made; one that was cancelled while it waited for witnesses
    // has its intent.
    const answered =
      record.decisions.some(({ seq, facts }) => seq === step.seq && facts.response !== undefined) ||
      step.cosigning === "late";
    const acted = answered || ["intended", "done", "failed", "unknown"].includes(step.state);
    if (acted !== intended.has(step.seq))
      problems.push(
        `step ${step.seq}: state \`${step.state}\`, ${acted ? "but no intent" : "but an intent"} in the ledger`,
      );
    const end = endOf.get(step.seq);
    if (acted && end === undefined && !open) problems.push(`step ${step.seq}: an intent without an end`);
    if (end !== undefined) {
      const { state, result, costMicroUsd, coveredSize = null, cosigning } = step;
      const neverMade = cosigning === "late" && state === "failed" ? "not_cosigned" : null;
      const code = isUnanswered(step) ? "no_room" : neverMade;
      const expected = { state, result, costMicroUsd, code, checkpoint: coveredSize };
      problems.push(
        ...differences(
          `step ${step.seq}`,
          end,
          end.kind === "step.reconciled" ? { state, result, costMicroUsd } : expected,
        ),
      );
      problems.push(...timeDifference(`step ${step.seq}: its end`, end, step.finishedAt));
    }
  }
  problems.push(...unansweredProblems(record.steps, (seq) => endOf.get(seq)));
  for (const entry of ends) {
    if (!intended.has(entry.facts["seq"] ?? ""))
      problems.push(`step ${String(entry.facts["seq"])}: an end without an intent`);
  }
  return problems;
}

/** A step's times are those of the last decision on its call, which the ledger has: a denied one ends with it. */
function stepTimeProblems(record: RunRecord): readonly string[] {
  return record.steps.flatMap((step) => {
    const last = record.decisions.findLast(({ seq, facts }) => seq === step.seq && facts.response === undefined);
    if (last === undefined) return [];
    return [
      ...(step.decidedAt === last.at
        ? []
        : [`step ${step.seq}: decided at \`${step.decidedAt}\`, its last decision is of \`${last.at}\``]),
      ...(step.state !== "denied" || step.finishedAt === last.at
        ? []
        : [`step ${step.seq}: denied, but not when it was decided`]),
    ];
  });
}

function runProblems(
  record: RunRecord,
  started: readonly LedgerEntry[],
  closed: readonly LedgerEntry[],
): readonly string[] {
  const { run } = record;
  const problems: string[] = [];
  const [start] = started;
  const execution = record.histories[0]?.temporalRunId;
  // A run that was cancelled before a worker took it up has an end, and no start.
  const neverStarted =
    run.workflowBundle === null &&
    record.steps.length === 0 &&
    (run.status === "pending" || run.status === "cancelled");
  if (neverStarted && started.length === 0)
    return problems.concat(
      endProblems(record, closed),
      closed.flatMap((end) => differences("end", end, { dataKey: run.dataKey ?? null })),
    );
  if (started.length !== 1 || start === undefined) problems.push(`the run has ${started.length} starts in the ledger`);
  else
    problems.push(
      ...differences("start", start, {
        agent: run.agent,
        release: run.release,
        input: run.input,
        requestedBy: run.requestedBy,
        workflowBundle: run.workflowBundle,
        dataKey: run.dataKey ?? null,
        // A record without histories says nothing of executions.
        ...(execution === undefined ? {} : { temporalRunId: execution }),
      }),
    );
  return problems.concat(endProblems(record, closed));
}

function endProblems({ run }: RunRecord, closed: readonly LedgerEntry[]): readonly string[] {
  if (run.closedAt === null)
    return closed.length === 0 ? [] : ["the run has ended in the ledger, the record has it open"];
  const [end] = closed;
  if (closed.length !== 1 || end === undefined) return [`the run has ${closed.length} ends in the ledger`];
  const { status, steps, spentMicroUsd, result } = run;
  const failure = run.failure?.code ?? null;
  return [
    ...differences("end", end, { status, steps, spentMicroUsd, result, failure }),
    ...timeDifference("end", end, run.closedAt),
  ];
}
