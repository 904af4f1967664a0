/** What the server itself tells a team's ledger. Keys are unique in the log, so that a repeated request adds nothing. */
import type { ApprovalRequest, DecidedRequest, GrantRow, Message, SignedStatement } from "../approvals/index.ts";
import type { Digest, RunId } from "../core/ids.ts";
import type { LedgerEvent, LedgerFacts } from "../core/ledger-event.ts";
import type { Channel, Release } from "../core/release.ts";
import { sha256 } from "../store/index.ts";

export function releaseRegistered(release: Release, by: string, now: Date): LedgerEvent {
  const { digest, document } = release;
  return {
    log: document.team,
    kind: "release.registered",
    dedupKey: `release/${digest}`,
    at: now.toISOString(),
    facts: {
      agent: document.agent,
      release: digest,
      by,
      model: document.model.name,
      tools: document.tools.map((tool) => tool.name),
    },
  };
}

export function channelMoved(release: Release, channel: Channel, event: number, by: string, now: Date): LedgerEvent {
  const { digest, document } = release;
  return {
    log: document.team,
    kind: "channel.moved",
    dedupKey: `channel/${event}`,
    at: now.toISOString(),
    facts: { agent: document.agent, channel, release: digest, by },
  };
}

export function policyActivated(
  team: string,
  policySet: Digest,
  activation: number,
  by: string,
  now: Date,
): LedgerEvent {
  return {
    log: team,
    kind: "policy.activated",
    dedupKey: `policy/${activation}`,
    at: now.toISOString(),
    facts: { policySet, by },
  };
}

export function approvalDecided(
  decided: DecidedRequest,
  signed: SignedStatement,
  reviewer: string,
  now: Date,
): LedgerEvent {
  const { request, statement, state } = decided;
  return {
    log: request.team,
    kind: statement.decision === "approve" ? "approval.approved" : "approval.denied",
    dedupKey: `${request.run}/approval/${request.id}/decided/${reviewer}`,
    run: request.run,
    at: now.toISOString(),
    facts: {
      approval: request.id,
      seq: request.seq,
      action: request.action,
      reviewer,
      keyId: signed.keyId,
      statement: sha256(signed.statement),
      signature: signed.signature,
      // What the request is with this decision: `pending` while its quorum is not met.
      state,
    },
  };
}

export function approvalEdited(
  request: ApprovalRequest,
  edited: { readonly arguments: Digest; readonly action: Digest },
  signed: SignedStatement,
  reviewer: string,
  now: Date,
): LedgerEvent {
  return {
    log: request.team,
    kind: "approval.edited",
    dedupKey: `${request.run}/approval/${request.id}/edited`,
    run: request.run,
    at: now.toISOString(),
    facts: {
      approval: request.id,
      seq: request.seq,
      action: request.action,
      edited: edited.action,
      arguments: edited.arguments,
      reviewer,
      keyId: signed.keyId,
      statement: sha256(signed.statement),
      signature: signed.signature,
    },
  };
}

export function approvalMessage(request: ApprovalRequest, message: Message): LedgerEvent {
  return {
    log: request.team,
    kind: message.kind === "question" ? "approval.asked" : "approval.answered",
    dedupKey: `${request.run}/approval/${request.id}/message/${message.n}`,
    run: request.run,
    at: message.at.toISOString(),
    facts: {
      approval: request.id,
      seq: request.seq,
      n: message.n,
      author: message.author,
      content: message.content,
    },
  };
}

export function grantEvent(
  grant: GrantRow,
  kind: "grant.proposed" | "grant.approved" | "grant.denied" | "grant.revoked",
  by: string,
  now: Date,
  facts: LedgerFacts,
): LedgerEvent {
  return {
    log: grant.document.team,
    kind,
    dedupKey: `${grant.id}/${kind}/${by}`,
    at: now.toISOString(),
    facts: { grant: grant.id, document: grant.digest, by, ...facts },
  };
}

/** The same entry as for any run that ends: here nothing was done. */
export function unstartedRunClosed(run: { readonly id: RunId; readonly team: string }, now: Date): LedgerEvent {
  return {
    log: run.team,
    kind: "run.closed",
    dedupKey: `${run.id}/closed`,
    run: run.id,
    at: now.toISOString(),
    facts: { status: "cancelled", steps: 0, spentMicroUsd: 0 },
  };
}

type BudgetTarget = {
  readonly team: string;
  readonly agent: string | undefined;
  readonly period: string;
  readonly limits: { readonly microUsd: number | null; readonly tokens: number | null; readonly calls: number | null };
  readonly approvers: string;
};

export function budgetSet(budget: BudgetTarget, event: number, by: string, now: Date): LedgerEvent {
  const { team, agent, period, limits, approvers } = budget;
  return {
    log: team,
    kind: "budget.set",
    dedupKey: `budget/${event}`,
    at: now.toISOString(),
    facts: {
      ...(agent === undefined ? {} : { agent }),
      period,
      ...(limits.microUsd === null ? {} : { maxMicroUsd: limits.microUsd }),
      ...(limits.tokens === null ? {} : { maxTokens: limits.tokens }),
      ...(limits.calls === null ? {} : { maxCalls: limits.calls }),
      approvers,
      by,
    },
  };
}

export function freezeChanged(
  team: string,
  target: {
    readonly team?: string | undefined;
    readonly agent?: string | undefined;
    readonly tool?: string | undefined;
  },
  event: number,
  frozen: boolean,
  by: string,
  now: Date,
): LedgerEvent {
  return {
    log: team,
    kind: frozen ? "freeze.set" : "freeze.lifted",
    dedupKey: `freeze/${event}`,
    at: now.toISOString(),
    facts: {
      scope: target.team === undefined ? "all" : "team",
      ...(target.agent === undefined ? {} : { agent: target.agent }),
      ...(target.tool === undefined ? {} : { tool: target.tool }),
      by,
    },
  };
}
