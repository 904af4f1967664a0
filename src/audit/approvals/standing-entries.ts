import { readTerms, termsDigest } from "../../approvals/offline.ts";
import { barredText } from "../../core/decision.ts";
import type { LedgerEntry } from "../../core/ledger-event.ts";
import type { RunRecord } from "../../core/run-record.ts";
import type { StandingGrantRecord } from "../../core/standing-grant.ts";
import { differences, timeDifference } from "../differences.ts";
import { readableEntries } from "../ledger/readable-entries.ts";
import { signedFacts } from "./signed.ts";

/** How the run's standing grants came to be, and ended: entries of its team's log that are in no run. What cannot be read is none. */
export function standingEntries(record: RunRecord): readonly LedgerEntry[] {
  return readableEntries(record.ledger.grants ?? [])
    .map(({ entry }) => entry)
    .filter(({ log, run }) => log === record.run.team && run === undefined);
}

/** The entries of a grant's approvals. */
export function standingApproved(record: RunRecord, grant: string): readonly LedgerEntry[] {
  return standingEntries(record).filter(({ kind, facts }) => kind === "standing.approved" && facts["grant"] === grant);
}

/**
 * Standing grants as the ledger has them against those of the record, both ways: each as it was proposed, each approval by the key and
 * signature of then, active before it was used, not revoked by then, and each use with its number and sum. `entries` are the run's own.
 */
export function standingEntryProblems(record: RunRecord, entries: readonly LedgerEntry[]): readonly string[] {
  const used = entries.filter(({ kind }) => kind === "standing.used");
  const grants = record.standingGrants ?? [];
  const told = standingEntries(record);
  return [
    ...used
      .filter(
        ({ facts }) =>
          !grants.some(({ id, uses }) => id === facts["grant"] && uses.some(({ seq }) => seq === facts["seq"])),
      )
      .map(
        ({ facts }) =>
          `the ledger has a use of \`${String(facts["grant"])}\` by step ${String(facts["seq"])}, the record does not`,
      ),
    ...grants.flatMap((grant) => {
      const of = ({ facts }: LedgerEntry): boolean => facts["grant"] === grant.id;
      const problems = [
        ...grantProblems(grant, told.filter(of)),
        ...useProblems(grant, used.filter(of), told.filter(of)),
      ];
      return problems.map((problem) => `standing grant \`${grant.id}\`: ${problem}`);
    }),
  ];
}

function grantProblems(grant: StandingGrantRecord, told: readonly LedgerEntry[]): readonly string[] {
  const terms = readTerms(grant.terms);
  const [proposed, ...others] = told.filter(({ kind }) => kind === "standing.proposed");
  // That its terms are terms is another check's to say.
  if (terms === undefined) return [];
  if (proposed === undefined || others.length > 0)
    return [`it was proposed ${proposed === undefined ? 0 : 1 + others.length} times in the ledger`];
  const { agent, tool, toolDigest, uses, sum, from, until } = terms;
  const digest = termsDigest(terms);
  const { expiresAt } = grant;
  const approved = new Map(
    told.filter(({ kind }) => kind === "standing.approved").map((entry) => [String(entry.facts["reviewer"]), entry]),
  );
  const problems = grant.approvals.flatMap((approval) => {
    const { reviewer, at } = approval;
    const entry = approved.get(reviewer);
    approved.delete(reviewer);
    const what = `${reviewer}'s approval`;
    if (entry === undefined) return [`${what} is not in the ledger`];
    const facts = { terms: digest, ...signedFacts(approval, approval) };
    return [...differences(what, entry, facts), ...timeDifference(what, entry, at)];
  });
  const sumMax = sum?.max ?? null;
  return [
    ...differences("the proposal", proposed, {
      terms: digest,
      agent,
      tool,
      toolDigest,
      uses,
      sum: sumMax,
      from,
      until,
      expiresAt,
    }),
    ...problems,
    ...[...approved.keys()].map((reviewer) => `${reviewer}'s approval is in the ledger, not in the record`),
  ];
}

function useProblems(
  grant: StandingGrantRecord,
  used: readonly LedgerEntry[],
  told: readonly LedgerEntry[],
): readonly string[] {
  const active = told.find(({ kind, facts }) => kind === "standing.approved" && facts["state"] === "active");
  const revoked = told.find(({ kind }) => kind === "standing.revoked");
  return grant.uses.flatMap(({ seq, n, amount, total, barred, at }) => {
    const what = `its use by step ${seq}`;
    const [entry, ...more] = used.filter(({ facts }) => facts["seq"] === seq);
    if (entry === undefined || more.length > 0)
      return [`${what} is ${entry === undefined ? "not" : "more than once"} in the ledger`];
    return [
      ...differences(what, entry, {
        n,
        amount,
        total,
        barred: barred.map(barredText),
        terms: told[0]?.facts["terms"] ?? null,
      }),
      ...timeDifference(what, entry, at),
      ...(active !== undefined && active.at <= at ? [] : [`${what} was before it was active`]),
      ...(revoked === undefined || revoked.at >= at ? [] : [`${what} was after it was revoked`]),
    ];
  });
}
