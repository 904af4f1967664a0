/** What the server itself tells a team's ledger. Keys are unique in the log, so that a repeated request adds nothing. */
import { assertionOf } from "../approvals/index.ts";
import type {
  ApprovalRequest,
  Capacity,
  DecidedRequest,
  Delegation,
  Message,
  Passkey,
  ReviewerKey,
  SignedStatement,
  TakenEvent,
} from "../approvals/index.ts";
import { peopleLog } from "../core/ids.ts";
import type { ApprovalId, Digest, RunId } from "../core/ids.ts";
import type { LedgerEvent, LedgerFacts } from "../core/ledger-event.ts";
import type { Channel, Release } from "../core/release.ts";
import type { BudgetEvent } from "../registry/index.ts";
import { digestOf, sha256 } from "../store/index.ts";

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
      ...(document.retrieval === undefined ? {} : { retrieval: document.retrieval.map(({ name }) => name) }),
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
  keysSize?: number,
): LedgerEvent {
  const { request, statement, state, capacity } = decided;
  return {
    log: request.team,
    kind: statement.decision === "approve" ? "approval.approved" : "approval.denied",
    // By key: who decides anew, since the key of an approval was revoked, does so with another one.
    dedupKey: `${request.run}/approval/${request.id}/decided/${reviewer}/${signed.keyId}`,
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
      ...(capacity === undefined ? {} : capacityFacts(capacity)),
      ...assertionFacts(signed),
      // How long the log of people was: what it had of the key by then counted.
      ...(keysSize === undefined ? {} : { keysSize }),
      // What the request is with this decision: `pending` while its quorum is not met.
      state,
    },
  };
}

/** As whom somebody decided, or changed a call. */
export function capacityFacts({ person, groups, mandate }: Capacity): LedgerFacts {
  if (mandate === undefined) return { person, groups };
  return {
    person,
    groups,
    delegation: mandate.id,
    delegator: mandate.delegator,
    delegatorPerson: mandate.person,
    delegatedFrom: mandate.from.toISOString(),
    delegatedUntil: mandate.until.toISOString(),
  };
}

/** How it was signed, where that was with a passkey. */
export function assertionFacts(signed: SignedStatement): LedgerFacts {
  const assertion = assertionOf(signed);
  return assertion === null ? {} : { kind: "webauthn", assertion: digestOf(assertion) };
}

/** The same entry as the gate's, whoever of the two is first. */
export function approvalExpired(
  request: { readonly id: ApprovalId; readonly team: string; readonly run: RunId; readonly seq: number },
  now: Date,
): LedgerEvent {
  const { id, team, run, seq } = request;
  return {
    log: team,
    kind: "approval.expired",
    dedupKey: `${run}/approval/${id}/expired`,
    run,
    at: now.toISOString(),
    facts: { approval: id, seq },
  };
}

export function approvalDue(event: TakenEvent, now: Date): LedgerEvent {
  const { kind, request, team, run, seq, policy, group, to, dueAt } = event;
  return {
    log: team,
    kind: `approval.${kind}`,
    dedupKey: `${run}/approval/${request}/${kind}/${event.key}`,
    run,
    at: now.toISOString(),
    facts: { approval: request, seq, policy, group, ...(to.length === 0 ? {} : { to }), dueAt: dueAt.toISOString() },
  };
}

export function delegationChanged(
  kind: "delegation.granted" | "delegation.revoked",
  delegation: Delegation,
  by: string,
  now: Date,
): LedgerEvent {
  const { id, delegator, delegate, team, tool, maxAmount, from, until } = delegation;
  return {
    log: peopleLog,
    kind,
    dedupKey: `delegation/${id}/${kind === "delegation.granted" ? "granted" : "revoked"}`,
    at: now.toISOString(),
    facts: {
      delegation: id,
      delegator,
      delegate,
      ...(team === null ? {} : { team }),
      ...(tool === null ? {} : { tool }),
      ...(maxAmount === null ? {} : { maxAmount }),
      from: from.toISOString(),
      until: until.toISOString(),
      by,
    },
  };
}

/** A key that a person has proposed. */
export function keyProposed(key: ReviewerKey): LedgerEvent {
  return keyEvent("approver.key.proposed", key, key.addedAt, { addedBy: key.addedBy });
}

/** From here on the key counts: with who confirmed it, or that nobody had to. */
export function keyAdded(key: ReviewerKey): LedgerEvent {
  const { addedBy, confirmedBy, confirmedAt, addedAt, bootstrap } = key;
  const who: LedgerFacts = bootstrap ? { bootstrap: "true" } : { confirmedBy: confirmedBy ?? "" };
  return keyEvent("approver.key.added", key, confirmedAt ?? addedAt, { addedBy, ...who });
}

export function keyRevoked(key: ReviewerKey, by: string, now: Date): LedgerEvent {
  return keyEvent("approver.key.revoked", key, now, { by });
}

function keyEvent(
  kind: "approver.key.proposed" | "approver.key.added" | "approver.key.revoked",
  key: ReviewerKey,
  at: Date,
  who: LedgerFacts,
): LedgerEvent {
  const { keyId, principal, publicKey, passkey } = key;
  const passkeyFacts = passkey === null ? {} : passkeyFactsOf(passkey);
  return {
    log: peopleLog,
    kind,
    dedupKey: `key/${keyId}/${kind.slice("approver.key.".length)}`,
    at: at.toISOString(),
    facts: { keyId, principal, publicKey, kind: key.kind, ...who, ...passkeyFacts },
  };
}

/** What its signatures are verified with, and the digests of how it was enrolled. */
function passkeyFactsOf({
  credentialId,
  rpId,
  origin,
  aaguid,
  attestationObject,
  clientDataJSON,
}: Passkey): LedgerFacts {
  return {
    credentialId,
    rpId,
    origin,
    aaguid,
    attestation: sha256(attestationObject),
    enrolment: sha256(clientDataJSON),
  };
}

/** The same entry as for any run that ends: here nothing was done. */
export function unstartedRunClosed(
  run: { readonly id: RunId; readonly team: string; readonly dataKey: string | null },
  now: Date,
): LedgerEvent {
  return {
    log: run.team,
    kind: "run.closed",
    dedupKey: `${run.id}/closed`,
    run: run.id,
    at: now.toISOString(),
    facts: {
      status: "cancelled",
      steps: 0,
      spentMicroUsd: 0,
      ...(run.dataKey === null ? {} : { dataKey: run.dataKey }),
    },
  };
}

/** Where contents of a run were read. */
export type ReadPlace = "record" | "run" | "events" | "approval" | "outcome" | "temporal" | "report";

/** Somebody read a run's contents, or, without a run, what a report says of many. Not one of the run's own entries: its chain ends when it is closed. */
export function contentsRead(
  run: { readonly id?: RunId; readonly team: string },
  what: ReadPlace,
  read: string,
  by: string,
  now: Date,
): LedgerEvent {
  return {
    log: run.team,
    kind: "audit.read",
    dedupKey: `read/${read}`,
    at: now.toISOString(),
    facts: { ...(run.id === undefined ? {} : { run: run.id }), by, what },
  };
}

/** The ledger's entry for the erasure of a data key, or of one run, is found by this. */
export function erasureKey(target: string): string {
  return `erased/${target}`;
}

/**
 * Contents were erased: of all runs under a data key, or of one run. Not an entry of the runs, whose chains end when they are closed: a run
 * names its data key in its first entry.
 */
export function payloadErased(
  team: string,
  target: { readonly dataKey: string } | { readonly run: RunId },
  facts: { readonly cause: "request" | "retention"; readonly reason: string; readonly runs: number },
  by: string,
  now: Date,
): LedgerEvent {
  return {
    log: team,
    kind: "payload.erased",
    dedupKey: erasureKey("run" in target ? target.run : target.dataKey),
    at: now.toISOString(),
    facts: { ...target, ...facts, by },
  };
}

/** Of a person, in the log of people, by the keyed digest that stands for them; of one run, in its team's log. */
export function holdChanged(
  kind: "hold.placed" | "hold.lifted",
  {
    id,
    subject,
    run,
    team,
  }: { readonly id: string; readonly subject: string | null; readonly run: RunId | null; readonly team: string | null },
  reason: string,
  by: string,
  now: Date,
): LedgerEvent {
  return {
    log: team ?? peopleLog,
    kind,
    dedupKey: `${kind}/${id}`,
    at: now.toISOString(),
    facts: { hold: id, ...(subject === null ? {} : { subject }), ...(run === null ? {} : { run }), reason, by },
  };
}

export function retentionChanged(
  team: string,
  retention: {
    readonly days: number | null;
    readonly effects: { readonly [effect: string]: number | undefined };
    readonly reason: string;
  },
  event: number,
  by: string,
  now: Date,
): LedgerEvent {
  const effects = Object.entries(retention.effects).map(([effect, days]) => `${effect}:${days}`);
  return {
    log: team,
    kind: "retention.set",
    dedupKey: `retention/${event}`,
    at: now.toISOString(),
    facts: {
      days: retention.days === null ? "for ever" : retention.days,
      ...(effects.length === 0 ? {} : { effects: effects.toSorted() }),
      reason: retention.reason,
      by,
    },
  };
}

type BudgetTarget = {
  readonly team: string;
  readonly agent: string | undefined;
  readonly period: string;
  readonly limits: { readonly microUsd: number | null; readonly tokens: number | null; readonly calls: number | null };
  readonly approvers: string;
};

export function budgetSet(budget: BudgetTarget, { id, at }: BudgetEvent, by: string): LedgerEvent {
  const { team, agent, period, limits, approvers } = budget;
  return {
    log: team,
    kind: "budget.set",
    dedupKey: `budget/${id}`,
    at: at.toISOString(),
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

export function approvalEdited(
  request: ApprovalRequest,
  edited: {
    readonly arguments: Digest;
    readonly action: Digest;
    readonly persons: readonly string[];
    readonly capacity: Capacity;
  },
  signed: SignedStatement,
  reviewer: string,
  now: Date,
  keysSize: number,
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
      persons: edited.persons,
      ...capacityFacts(edited.capacity),
      keyId: signed.keyId,
      statement: sha256(signed.statement),
      signature: signed.signature,
      keysSize,
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
