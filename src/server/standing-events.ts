/** What the server tells a team's ledger of standing grants. Their uses are the gate's to tell. */
import type { SignedStatement, StandingApproved, StandingGrant } from "../approvals/index.ts";
import type { LedgerEvent, LedgerFacts, LedgerKind } from "../core/ledger-event.ts";
import { sha256 } from "../store/index.ts";
import { assertionFacts, capacityFacts } from "./ledger-events.ts";

/** Keys of the entries of a standing grant that belong to no run, in its team's log. */
export function standingKeys(id: string, reviewers: readonly string[]): readonly string[] {
  return [
    `standing/${id}/proposed`,
    ...reviewers.map((reviewer) => `standing/${id}/approved/${reviewer}`),
    `standing/${id}/revoked`,
  ];
}

export function standingProposed(grant: StandingGrant): LedgerEvent {
  const { terms, expiresAt, proposedBy, proposedAt } = grant;
  const { uses, sum, from, until, toolDigest } = terms;
  return standingEvent(grant, "standing.proposed", "proposed", proposedAt, {
    agent: terms.agent,
    tool: terms.tool,
    toolDigest,
    uses,
    ...(sum === undefined ? {} : { sum: sum.max }),
    from,
    until,
    expiresAt: expiresAt.toISOString(),
    by: proposedBy,
  });
}

/** `state`: what the grant is with this approval. */
export function standingApproved(
  { grant, capacity }: StandingApproved,
  signed: SignedStatement,
  reviewer: string,
  now: Date,
  keysSize: number,
): LedgerEvent {
  return standingEvent(grant, "standing.approved", `approved/${reviewer}`, now, {
    reviewer,
    ...capacityFacts(capacity),
    keyId: signed.keyId,
    statement: sha256(signed.statement),
    signature: signed.signature,
    ...assertionFacts(signed),
    keysSize,
    state: grant.state,
  });
}

export function standingRevoked(grant: StandingGrant, by: string): LedgerEvent {
  return standingEvent(grant, "standing.revoked", "revoked", grant.revokedAt ?? new Date(Number.NaN), { by });
}

function standingEvent(
  { id, team, termsDigest }: StandingGrant,
  kind: LedgerKind,
  key: string,
  at: Date,
  facts: LedgerFacts,
): LedgerEvent {
  const dedupKey = `standing/${id}/${key}`;
  return { log: team, kind, dedupKey, at: at.toISOString(), facts: { grant: id, terms: termsDigest, ...facts } };
}
