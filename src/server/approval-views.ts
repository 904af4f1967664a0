import type { ApprovalSummary } from "../api/index.ts";
import { decisionsOf, listRequests, messagesOf } from "../approvals/index.ts";
import type { ApprovalRequest, Message, StoredDecision } from "../approvals/index.ts";
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
    unanswered: request.unanswered,
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
    requests.map(async (request) => {
      const [decisions, messages] = await Promise.all([decisionsOf(tx, request.id), messagesOf(tx, request.id)]);
      return recordOf(request, decisions, messages);
    }),
  );
  const said = records.flatMap(({ messages = [] }) => messages.map(({ content }) => content));
  return { records, rendered: [...requests.map((request) => request.rendered), ...said] };
}

function recordOf(
  request: ApprovalRequest,
  decisions: readonly StoredDecision[],
  messages: readonly Message[],
): ApprovalRecord {
  const { id, seq, action, state, requirements } = request;
  return {
    id,
    seq,
    action,
    state,
    requirements,
    openedAt: request.openedAt.toISOString(),
    expiresAt: request.expiresAt.toISOString(),
    messages: messages.map(({ n, kind, author, content }) => ({ n, kind, author, content })),
    decisions: decisions.map(({ reviewer, decision, statement, keyId, signature, publicKey }) => {
      return { reviewer, decision, statement, keyId, signature, publicKey };
    }),
  };
}

async function requestsOfRun(tx: Tx, run: RunId): Promise<readonly ApprovalRequest[]> {
  const found: ApprovalRequest[] = [];
  for (;;) {
    const page = await listRequests(tx, { run, before: found.at(-1)?.id, limit: pageSize });
    found.push(...page);
    if (page.length < pageSize) return found.toReversed();
  }
}
