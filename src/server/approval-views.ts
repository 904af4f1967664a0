import type { ApprovalDetail, ApprovalSummary } from "../api/index.ts";
import { assertionOf, capacitiesOf, decisionsOf, isFallen, listRequests, messagesOf } from "../approvals/index.ts";
import type {
  ApprovalEventRow,
  ApprovalRequest,
  Eligibility,
  Message,
  StoredCapacity,
  StoredDecision,
} from "../approvals/index.ts";
import { neededText } from "../core/decision.ts";
import type { Digest, RunId } from "../core/ids.ts";
import type { ApprovalRecord, CapacityRecord } from "../core/run-record.ts";
import type { Tx } from "../store/index.ts";

const pageSize = 200;

/** A request as callers see it. One whose time is up is expired, although nobody may have written that down yet. */
export function viewOfApproval(
  request: ApprovalRequest,
  decisions: readonly StoredDecision[],
  now: Date,
): ApprovalSummary {
  const { id, run, team, agent, seq, name, action, requestedBy } = request;
  return {
    id,
    run,
    team,
    agent,
    seq,
    name,
    action,
    state: request.state === "pending" && now >= request.expiresAt ? "expired" : request.state,
    requirements: request.requirements.map((requirement) => ({ ...requirement, needs: neededText(requirement) })),
    requestedBy,
    openedAt: request.openedAt.toISOString(),
    expiresAt: request.expiresAt.toISOString(),
    unanswered: request.unanswered,
    decidedBy: decisions.map((one) => ({
      reviewer: one.reviewer,
      decision: one.decision,
      at: one.at.toISOString(),
      ...(request.state === "pending" && isFallen(one) ? { fallen: true } : {}),
    })),
  };
}

export async function viewsOfApprovals(
  tx: Tx,
  requests: readonly ApprovalRequest[],
  now: Date,
): Promise<readonly ApprovalSummary[]> {
  return Promise.all(requests.map(async (request) => viewOfApproval(request, await decisionsOf(tx, request.id), now)));
}

/** The requests of a run, oldest first. */
export async function approvalsOfRun(
  tx: Tx,
  run: { readonly id: RunId },
  now: Date,
): Promise<readonly ApprovalSummary[]> {
  return viewsOfApprovals(tx, await requestsOfRun(tx, run.id), now);
}

/** The requests of a run as evidence, and the digests of what their reviewers were shown. */
export async function approvalRecords(
  tx: Tx,
  run: { readonly id: RunId },
): Promise<{ readonly records: readonly ApprovalRecord[]; readonly rendered: readonly Digest[] }> {
  const requests = await requestsOfRun(tx, run.id);
  const records = await Promise.all(
    requests.map(async (request) => {
      const [decisions, capacities, messages] = await Promise.all([
        decisionsOf(tx, request.id),
        capacitiesOf(tx, request),
        messagesOf(tx, request.id),
      ]);
      return recordOf(request, decisions, capacities, messages);
    }),
  );
  const said = records.flatMap(({ messages = [] }) => messages.map(({ content }) => content));
  return { records, rendered: [...requests.map((request) => request.rendered), ...said] };
}

function recordOf(
  request: ApprovalRequest,
  decisions: readonly StoredDecision[],
  capacities: readonly StoredCapacity[],
  messages: readonly Message[],
): ApprovalRecord {
  const { id, seq, action, state, requirements, barred, amount } = request;
  return {
    id,
    seq,
    action,
    state,
    requirements,
    openedAt: request.openedAt.toISOString(),
    expiresAt: request.expiresAt.toISOString(),
    barred,
    amount,
    messages: messages.map(({ n, kind, author, content }) => ({ n, kind, author, content })),
    decisions: decisions.map((signed) => ({
      ...signedRecord(signed),
      ...recordOfCapacity(capacities.find((one) => one.id === signed.id)),
    })),
  };
}

function signedRecord(signed: StoredDecision): ApprovalRecord["decisions"][number] {
  const { reviewer, decision, statement, keyId, signature, key } = signed;
  const record = { reviewer, decision, statement, keyId, signature, publicKey: key.publicKey };
  const assertion = assertionOf(signed);
  if (assertion === null) return record;
  return { ...record, passkey: { ...assertion, rpId: key.passkey?.rpId ?? "", origin: key.passkey?.origin ?? "" } };
}

/** Nothing for what was signed before capacities were recorded. */
export function recordOfCapacity(stored: Pick<StoredCapacity, "mandate" | "recorded"> | undefined): {
  readonly capacity?: CapacityRecord;
} {
  if (stored === undefined) return {};
  const { mandate, recorded } = stored;
  const { person, groups, forPerson, at } = recorded;
  if (person === null || groups === null) return {};
  if (mandate === undefined || forPerson === null) return { capacity: { at: at.toISOString(), person, groups } };
  const { id, delegator, team, tool, maxAmount, from, until } = mandate;
  const terms = { id, delegator, person: forPerson, team, tool, maxAmount };
  const delegation = { ...terms, from: from.toISOString(), until: until.toISOString() };
  return { capacity: { at: at.toISOString(), person, groups, delegation } };
}

/** Who may decide now, and who later. */
export function viewOfEligibility({ requirements, people, more, barred }: Eligibility): ApprovalDetail["routing"] {
  return {
    requirements: requirements.map(({ later, groups, ...one }) => ({
      ...one,
      groups: [...groups],
      later: later === undefined ? null : { groups: [...later.groups], from: later.from.toISOString() },
    })),
    people: people.map(({ id, groups, insteadOf }) => ({ id, groups: [...groups], insteadOf: insteadOf ?? null })),
    more,
    barred: [...barred],
  };
}

export function viewOfEvents(events: readonly ApprovalEventRow[]): ApprovalDetail["events"] {
  return events.map(({ kind, facts, at }) => ({ kind, facts: { ...facts }, at: at.toISOString() }));
}

async function requestsOfRun(tx: Tx, run: RunId): Promise<readonly ApprovalRequest[]> {
  const found: ApprovalRequest[] = [];
  for (;;) {
    const page = await listRequests(tx, { run, before: found.at(-1)?.id, limit: pageSize });
    found.push(...page);
    if (page.length < pageSize) return found.toReversed();
  }
}
