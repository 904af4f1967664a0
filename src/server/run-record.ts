import { setTimeout as sleep } from "node:timers/promises";

import { ApiError } from "../api/index.ts";
import { peopleLog } from "../core/ids.ts";
import type { Digest, RunId } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import type { RunInput } from "../core/run.ts";
import { executionHasEnded } from "../audit/index.ts";
import { delegationById, editsOf, outcomesOf } from "../approvals/index.ts";
import type { Edit, UnknownOutcome } from "../approvals/index.ts";
import type {
  ApprovalRecord,
  DecisionRecord,
  EditRecord,
  ResolutionRecord,
  RunRecord,
  StepRecord,
} from "../core/run-record.ts";
import type { StandingGrantRecord } from "../core/standing-grant.ts";
import { policySetByDigest, releaseByDigest } from "../registry/index.ts";
import { decisionsOf, executionsOf, getContents, inSnapshot, runById, stepsOf } from "../store/index.ts";
import type { DecisionRow, RunRow, StepRow, Tx } from "../store/index.ts";
import { approvalRecords, recordOfCapacity } from "./approval-views.ts";
import type { Services } from "./dependencies.ts";
import { historiesOf } from "./histories.ts";
import { ledgerExcerpt, peopleExcerpt } from "./ledger-excerpt.ts";
import { sealRun } from "./seal-histories.ts";
import { standingKeys } from "./standing-events.ts";
import { standingRecords } from "./standing-records.ts";

/** What has not been signed by then has no proof in the record, which says so. */
const flushWithinMs = 5_000;
/** How often a run that is at work is looked at again until all it has recorded is in the ledger too. */
const looks = 5;

/**
 * Everything that is recorded of a run, from Postgres, the ledger and Temporal, as it was at one moment: rows and ledger entries agree also
 * while the run is at work. A history that Temporal has no more is null in it. Throws `temporal_unavailable` where it cannot be asked.
 */
export async function buildRunRecord(services: Services, run: RunRow): Promise<RunRecord> {
  return inOneMoment(services, run, (tx) => readStored(services, tx, run));
}

/**
 * What `read` finds in a snapshot in which the ledger is up to date, with the histories of just then. The ledger is brought up to date only where
 * something of the run waits for that: whoever reads a thousand runs that are over leaves an entry for each, and would have each signed.
 */
export async function inOneMoment<Stored extends Ledgers>(
  services: Services,
  run: RunRow,
  read: (tx: Tx) => Promise<{ readonly row: RunRow; readonly stored: Stored }>,
): Promise<Stored & Pick<RunRecord, "histories">> {
  const seal = () =>
    sealRun(services, run.id).catch((error: unknown) => {
      services.logger.warn({ err: error, run: run.id }, "the run's history could not be archived now");
    });
  if (run.closedAt !== null) await seal();
  for (let look = 0; ; look += 1) {
    if (look > 0) await Promise.all([flushed(services, run.team), flushed(services, peopleLog)]);
    const { row, stored } = await inSnapshot(services.pool, read);
    if (look === 0 ? !isProved(stored) : isWaiting(stored) && look < looks) continue;
    // Read last: what is in the history beyond the snapshot is a step that is under way.
    const histories = await historiesOf(services, row);
    // Unless the run was closed in between: then the history may have its end, and the snapshot must have it too.
    if (row.closedAt === null && (await runById(services.pool, row.id))?.closedAt !== null) continue;
    // An execution that ended in between is in the histories, and its seal is not in the snapshot.
    const ended = histories.filter(({ history }) => executionHasEnded(history)).length;
    const seals = stored.ledger.seals?.length ?? 0;
    if (ended > seals && look < looks) {
      await seal();
      // Where there is no seal to be had, looking again finds none.
      const sealed = (await executionsOf(services.pool, row.id)).filter(({ root }) => root !== null).length;
      if (sealed > seals) continue;
    }
    return { ...stored, histories };
  }
}

type Ledgers = Pick<RunRecord, "ledger" | "context" | "keys">;

function isWaiting({ ledger, keys }: Ledgers): boolean {
  return ledger.waiting + (keys?.waiting ?? 0) > 0;
}

/** Whether all that there is of the run in the ledger is covered by what is signed. */
function isProved(stored: Ledgers): boolean {
  const { ledger, context = [], keys } = stored;
  const { entries, seals = [], losses = [], grants = [], erasures = [] } = ledger;
  const all = [entries, seals, losses, grants, erasures, context, keys?.entries ?? []].flat();
  return !isWaiting(stored) && all.every(({ proof }) => proof !== undefined);
}

async function flushed({ ledger, logger }: Services, log: string): Promise<void> {
  const flush = ledger.flush?.(log).catch((error: unknown) => {
    logger.warn({ err: error, log }, "the ledger could not be brought up to date");
  });
  await Promise.race([flush, sleep(flushWithinMs, undefined, { ref: false })]);
}

type Stored = {
  readonly row: RunRow;
  readonly stored: Omit<RunRecord, "histories">;
};

async function readStored(services: Services, tx: Tx, { id }: RunRow): Promise<Stored> {
  const { row, stored, shown } = await readFacts(services, tx, id);
  const answers = stored.decisions.map(({ facts }) => facts.response?.answer ?? null);
  const named = [row.input, row.result, ...stored.steps.map((step) => step.result), ...answers, ...shown];
  const digests = named.filter((digest): digest is Digest => digest !== null);
  const contents = await getContents(tx, services.keys, digests);
  const input = contents.get(row.input);
  // Without contents, and without an entry that says that they were erased, they are missing: the audit says so.
  const salt = input?.salt;
  return {
    row,
    stored: {
      ...stored,
      input: (input?.value ?? noInput) as unknown as RunInput,
      payloads: Object.fromEntries([...contents].map(([digest, { value }]) => [digest, value])),
      ...(salt === undefined ? {} : { salt }),
    },
  };
}

/** Stands for an input that is not there. */
const noInput: RunInput = { prompt: "" };

/** All but the contents, with the digests of what reviewers were shown, said and made of calls. `size`: of the checkpoint to prove to. */
export async function readFacts({ ledger }: Pick<Services, "ledger">, tx: Tx, id: RunId, size?: number) {
  const run = await runById(tx, id);
  if (run === undefined) throw new ApiError("run_not_found", `no run \`${id}\``);
  const [release, steps, decisions, approvals, outcomes, edits, grants] = await Promise.all([
    releaseByDigest(tx, run.release),
    stepsOf(tx, id),
    decisionsOf(tx, id),
    approvalRecords(tx, run),
    outcomesOf(tx, id),
    editsOf(tx, id),
    standingRecords(tx, id),
  ]);
  const grantKeys = grants.flatMap((grant) =>
    standingKeys(
      grant.id,
      grant.approvals.map(({ reviewer }) => reviewer),
    ),
  );
  const said = outcomes.flatMap(resolutionOf);
  const changes = await Promise.all(edits.map((edit) => editOf(tx, edit)));
  const signers = signersOf(approvals.records, [...edits, ...said, ...grants.flatMap((grant) => grant.approvals)]);
  const [policySets, { excerpt, context }, keys] = await Promise.all([
    policySetsOf(tx, decisions),
    ledgerExcerpt(tx, run, ledger.signerOf(run.team).verifierKey, grantKeys, size),
    peopleExcerpt(
      tx,
      { keyIds: signers, delegations: delegationsOf(approvals.records, changes, grants) },
      ledger.signerOf(peopleLog).verifierKey,
    ),
  ]);
  const stored = {
    v: 1 as const,
    run: headOf(run),
    release: release.document,
    steps: steps.map(recordOfStep),
    decisions: decisions.map(recordOfDecision),
    approvals: approvals.records,
    edits: changes,
    resolutions: said,
    ...(grants.length === 0 ? {} : { standingGrants: grants }),
    policySets,
    ledger: excerpt,
    context,
    keys,
  };
  return { row: run, stored, shown: [...approvals.rendered, ...edits.map((edit) => edit.arguments)] };
}

/** The keys that signed, once each. */
function signersOf(
  approvals: readonly ApprovalRecord[],
  others: readonly { readonly keyId: string }[],
): readonly string[] {
  return [...new Set([...approvals.flatMap(({ decisions }) => decisions), ...others].map(({ keyId }) => keyId))];
}

/** The delegations by which somebody decided, changed a call or approved ahead, once each. */
function delegationsOf(
  approvals: readonly ApprovalRecord[],
  edits: readonly EditRecord[],
  grants: readonly StandingGrantRecord[],
): readonly string[] {
  const signed = [...approvals.flatMap(({ decisions }) => decisions), ...edits];
  const used = [
    ...signed.map(({ capacity }) => capacity?.delegation?.id),
    ...grants.flatMap((grant) => grant.approvals.map(({ delegation }) => delegation?.id)),
  ];
  return [...new Set(used.filter((id) => id !== undefined))];
}

function headOf(run: RunRow): RunRecord["run"] {
  const {
    id,
    team,
    agent,
    release,
    input,
    requestedBy,
    status,
    failure,
    result,
    steps,
    spentMicroUsd,
    workflowBundle,
    dataKey,
  } = run;
  const createdAt = run.createdAt.toISOString();
  const closedAt = run.closedAt?.toISOString() ?? null;
  return {
    id,
    team,
    agent,
    release,
    input,
    requestedBy,
    status,
    createdAt,
    closedAt,
    failure,
    result,
    steps,
    spentMicroUsd,
    workflowBundle,
    ...(dataKey === null ? {} : { dataKey }),
  };
}

function recordOfStep(step: StepRow): StepRecord {
  const { seq, kind, name, action, arguments: args, askedBy, callIndex, callId, state, result, costMicroUsd } = step;
  return {
    seq,
    kind,
    name,
    action,
    arguments: args,
    askedBy,
    callIndex,
    callId,
    state,
    result,
    costMicroUsd,
    decidedAt: step.decidedAt.toISOString(),
    finishedAt: step.finishedAt?.toISOString() ?? null,
    ...(step.cosigning === null ? {} : { cosigning: step.cosigning, coveredSize: step.coveredSize }),
    ...(step.code === null ? {} : { code: step.code }),
  };
}

async function editOf(tx: Tx, edit: Edit): Promise<EditRecord> {
  const { request, successor, reviewer, editors, persons, action, statement, keyId, signature, key } = edit;
  const { person, groups, forPerson, at } = edit;
  const mandate = edit.delegation === null ? undefined : await delegationById(tx, edit.delegation);
  return {
    ...recordOfCapacity({ mandate, recorded: { person, groups, forPerson, at } }),
    request,
    successor,
    reviewer,
    editors,
    persons,
    arguments: edit.arguments,
    action,
    statement,
    keyId,
    signature,
    publicKey: key.publicKey,
  };
}

/** Only what the gate has taken over is a part of the run. */
function resolutionOf({ id, seq, state, resolution }: UnknownOutcome): readonly ResolutionRecord[] {
  if (resolution === null || state !== "reconciled") return [];
  const { reviewer, statement, keyId, signature, key, at, person, barred } = resolution;
  const signed = { id, seq, reviewer, statement, keyId, signature, publicKey: key.publicKey };
  return [person === null || barred === null ? signed : { ...signed, at: at.toISOString(), person, barred }];
}

function recordOfDecision({ at, witnesses, cosignBy, ...decision }: DecisionRow): DecisionRecord {
  const cosigned = witnesses === null || cosignBy === null ? {} : { witnesses, cosignBy: cosignBy.toISOString() };
  return { ...decision, ...cosigned, at: at.toISOString() };
}

async function policySetsOf(tx: Tx, decisions: readonly DecisionRow[]): Promise<Readonly<Record<Digest, Json>>> {
  const digests = [...new Set(decisions.map((decision) => decision.policySet))];
  const sets = await Promise.all(digests.map((digest) => policySetByDigest(tx, digest)));
  return Object.fromEntries(sets.map((set) => [set.digest, set.document]));
}
