import type { ApprovalSummary } from "../api/index.ts";
import { assertionOf, decisionsOf, listRequests } from "../approvals/index.ts";
import type { ApprovalRequest, StoredDecision } from "../approvals/index.ts";
import type { Digest, RunId } from "../core/ids.ts";
import type { ApprovalRecord } from "../core/run-record.ts";
import type { Tx } from "../store/index.ts";

const pageSize = 200;

/** A request as callers see it. One whose time is up is expired, although nobody may have written that down yet. */
export function viewOfApproval(
  request: ApprovalRequest,
  decisions: readonly StoredDecision[],
  now: Date,
): ApprovalSummary {
  const { id, run, team, seq, name, action, requestedBy } = request;
  return {
    id,
    run,
    team,
    seq,
    name,
    action,
    state: request.state === "pending" && now >= request.expiresAt ? "expired" : request.state,
    requirements: request.requirements.map((requirement) => ({ ...requirement })),
    requestedBy,
    openedAt: request.openedAt.toISOString(),
    expiresAt: request.expiresAt.toISOString(),
    decidedBy: decisions.map(({ reviewer, decision, at }) => ({ reviewer, decision, at: at.toISOString() })),
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
    requests.map(async (request) => recordOf(request, await decisionsOf(tx, request.id))),
  );
  return { records, rendered: requests.map((request) => request.rendered) };
}

function recordOf(request: ApprovalRequest, decisions: readonly StoredDecision[]): ApprovalRecord {
  const { id, seq, action, state, requirements } = request;
  return {
    id,
    seq,
    action,
    state,
    requirements,
    openedAt: request.openedAt.toISOString(),
    expiresAt: request.expiresAt.toISOString(),
    decisions: decisions.map(signedRecord),
  };
}

function signedRecord(signed: StoredDecision): ApprovalRecord["decisions"][number] {
  const { reviewer, decision, statement, keyId, signature, key } = signed;
  const record = { reviewer, decision, statement, keyId, signature, publicKey: key.publicKey };
  const assertion = assertionOf(signed);
  if (assertion === null) return record;
  return { ...record, passkey: { ...assertion, rpId: key.passkey?.rpId ?? "", origin: key.passkey?.origin ?? "" } };
}

async function requestsOfRun(tx: Tx, run: RunId): Promise<readonly ApprovalRequest[]> {
  const found: ApprovalRequest[] = [];
  for (;;) {
    const page = await listRequests(tx, { run, before: found.at(-1)?.id, limit: pageSize });
    found.push(...page);
    if (page.length < pageSize) return found.toReversed();
  }
}
