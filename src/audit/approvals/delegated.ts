import type { LedgerEntry } from "../../core/ledger-event.ts";
import type { ApprovalRecord, CapacityRecord, RunRecord } from "../../core/run-record.ts";
import type { StandingGrantRecord } from "../../core/standing-grant.ts";
import { decidedEntry } from "./decided-anew.ts";
import { differences } from "../differences.ts";
import type { ExpectedFacts } from "../differences.ts";
import { happenedBefore } from "../ledger/happened-before.ts";
import type { Placed } from "../ledger/happened-before.ts";
import { readableEntries } from "../ledger/readable-entries.ts";
import { check, notChecked } from "../report.ts";
import type { AuditCheck } from "../report.ts";

/** As whom somebody decided or changed a call, as the ledger has it. */
export function capacityFacts(capacity: CapacityRecord | undefined): ExpectedFacts {
  return {
    person: capacity?.person ?? null,
    groups: capacity?.groups ?? null,
    delegation: capacity?.delegation?.id ?? null,
    delegator: capacity?.delegation?.delegator ?? null,
    delegatorPerson: capacity?.delegation?.person ?? null,
    delegatedFrom: capacity?.delegation?.from ?? null,
    delegatedUntil: capacity?.delegation?.until ?? null,
  };
}

/**
 * Where somebody decided, or changed a call, for somebody else: the log of people has that it was granted to them, in these terms, before they decided, and not
 * ended by then. `decided`: the decision's own entry; that there is one is the `join` check's to say.
 */
export function delegationProblems(
  { reviewer, capacity }: Pick<ApprovalRecord["decisions"][number], "reviewer" | "capacity">,
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
 * Everybody who decided, or changed a call, for somebody else, against the log of people as the record has it. That its entries are in the
 * signed log is the `keys` check's to say.
 */
export function checkDelegations(record: RunRecord): AuditCheck {
  const name = "delegations";
  const run = readableEntries(record.ledger.entries).map(({ entry }) => entry);
  const signed = [
    ...record.approvals.flatMap((request) =>
      request.decisions.map((one) => ({ one, what: request.id, entry: decidedEntry(run, request, one) })),
    ),
    ...(record.edits ?? []).map((one) => ({
      one,
      what: one.request,
      entry: run.find(({ kind, facts }) => kind === "approval.edited" && facts["approval"] === one.request),
    })),
  ].filter(({ one }) => one.capacity?.delegation !== undefined);
  if (signed.length === 0) return check(name, "nobody decided for anybody else", []);
  const { keys } = record;
  if (keys === undefined) return notChecked(name, "the record does not say how delegations were granted");
  const placed = readableEntries(keys.entries);
  const problems = signed.flatMap(({ one, what, entry }) =>
    delegationProblems(one, placed, entry).map((problem) => `${one.reviewer}'s delegation on \`${what}\`: ${problem}`),
  );
  if (problems.length > 0 && keys.waiting > 0)
    return notChecked(name, "the delegations are not all in the ledger yet; ask again");
  return check(name, `${signed.length} times somebody decided for another, who had given it to them`, problems);
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
      ...delegationProblems({ reviewer, capacity: approval }, placed, entry),
      ...(uses.some((use) => ended.some(({ entry: { at } }) => at > approval.at && at <= use.at))
        ? ["it was ended before the grant was used"]
        : []),
    ];
    return problems.map((problem) => ({ reviewer, delegation: delegation.id, problem }));
  });
}
