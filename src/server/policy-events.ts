/** What the server tells a team's ledger of candidates, guards and proposals of its policies. */
import type { Digest } from "../core/ids.ts";
import type { LedgerEvent, LedgerFacts, LedgerKind } from "../core/ledger-event.ts";
import type { PolicyGuard, PolicyProposal } from "../registry/index.ts";

function eventOf(team: string, kind: LedgerKind, dedupKey: string, now: Date, facts: LedgerFacts): LedgerEvent {
  return { log: team, kind, dedupKey, at: now.toISOString(), facts };
}

export function policyShadowed(
  team: string,
  event: number,
  policySet: Digest | undefined,
  by: string,
  now: Date,
): LedgerEvent {
  return eventOf(team, "policy.shadowed", `policy/shadow/${event}`, now, { policySet: policySet ?? "", by });
}

export function policyGuarded(
  team: string,
  event: number,
  guard: PolicyGuard | undefined,
  by: string,
  now: Date,
): LedgerEvent {
  const facts = { approvers: guard?.approvers ?? "", quorum: guard?.quorum ?? 0, by };
  return eventOf(team, "policy.guarded", `policy/guard/${event}`, now, facts);
}

export function policyProposed({ id, team, policySet, approvers, quorum, by }: PolicyProposal, now: Date): LedgerEvent {
  const facts = { proposal: id, policySet, approvers, quorum, by };
  return eventOf(team, "policy.proposed", `policy/proposal/${id}`, now, facts);
}

export function proposalApproved({ id, team, policySet }: PolicyProposal, by: string, now: Date): LedgerEvent {
  return eventOf(team, "policy.approved", `policy/proposal/${id}/approved/${by}`, now, { proposal: id, policySet, by });
}
