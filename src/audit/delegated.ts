import type { LedgerEntry } from "../core/ledger-event.ts";
import type { ApprovalRecord } from "../core/run-record.ts";
import type { StandingGrantRecord } from "../core/standing-grant.ts";
import { differences } from "./differences.ts";
import { happenedBefore } from "./happened-before.ts";
import type { Placed } from "./happened-before.ts";

/**
 * Where somebody decided for somebody else: the log of people has that it was granted to them, in these terms, before they decided, and not
 * ended by then. `decided`: the decision's own entry; that there is one is the `join` check's to say.
 */
export function delegationProblems(
  { reviewer, capacity }: ApprovalRecord["decisions"][number],
  placed: readonly Placed[],
  decided: LedgerEntry | undefined,
): readonly string[] {
  const { delegation, at = "" } = capacity ?? {};
  if (delegation === undefined) return [];
  const of = (kind: string): readonly Placed[] =>
    placed.filter(({ entry }) => entry.kind === kind && entry.facts["delegation"] === delegation.id);
  const [granted, ...others] = of("delegation.granted");
  if (granted === undefined || others.length > 0)
    return [`it was granted ${granted === undefined ? 0 : 1 + others.length} times`];
  const { delegator, team, tool, maxAmount, from, until } = delegation;
  return [
    ...differences("its grant", granted.entry, { delegate: reviewer, delegator, team, tool, maxAmount, from, until }),
    ...(decided === undefined || happenedBefore(granted, decided) ? [] : ["it was granted after it was used"]),
    // By the clock alone: a delegation is not locked by who uses it, so the log may have its end before a use that was in time.
    ...(of("delegation.revoked").some(({ entry }) => entry.at <= at) ? ["it was ended before it was used"] : []),
  ];
}

/**
 * The same of each approval of a standing grant, and that nobody's delegation was ended when the grant was used: what a delegate agreed to
 * ahead does not outlive that. `approved`: the entries of the grant's approvals.
 */
export function delegationProblemsAhead(
  { approvals, uses }: Pick<StandingGrantRecord, "approvals" | "uses">,
  placed: readonly Placed[],
  approved: readonly LedgerEntry[],
): readonly { readonly reviewer: string; readonly delegation: string; readonly problem: string }[] {
  return approvals.flatMap((approval) => {
    const { reviewer, delegation } = approval;
    if (delegation === undefined) return [];
    const entry = approved.find(({ facts }) => facts["reviewer"] === reviewer);
    const ended = placed.filter(
      ({ entry: { kind, facts } }) => kind === "delegation.revoked" && facts["delegation"] === delegation.id,
    );
    const problems = [
      ...delegationProblems({ ...approval, decision: "approve", capacity: approval }, placed, entry),
      ...(uses.some((use) => ended.some(({ entry: { at } }) => at > approval.at && at <= use.at))
        ? ["it was ended before the grant was used"]
        : []),
    ];
    return problems.map((problem) => ({ reviewer, delegation: delegation.id, problem }));
  });
}
