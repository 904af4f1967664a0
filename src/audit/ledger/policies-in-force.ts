import type { RunRecord } from "../../core/run-record.ts";
import { scanEntry } from "../../ledger/proof/index.ts";
import type { Checkpoint } from "../../ledger/proof/index.ts";
import { isCovered } from "./entry-proof.ts";
import type { Placed } from "./happened-before.ts";
import { notInForce } from "./in-force.ts";
import type { Activation } from "./in-force.ts";
import { readableEntries } from "./readable-entries.ts";
import { check, notChecked } from "../report.ts";
import type { AuditCheck } from "../report.ts";

/**
 * Every decision was made under the policy set that was in force at its index in the ledger. Without a `checkpoint`, the entries' places in
 * the log are proved elsewhere.
 */
export function checkPoliciesInForce(record: RunRecord, checkpoint?: Checkpoint | string): AuditCheck {
  const { context } = record;
  if (context === undefined)
    return notChecked("policies", "the record does not tell which policy sets were put in force");
  const problems: string[] = [];
  let uncovered = 0;
  const activations = context.flatMap((excerpted): readonly Activation[] => {
    try {
      const { index, leaf } = excerpted;
      const entry = scanEntry(Buffer.from(leaf, "utf8"));
      if (entry.kind !== "policy.activated" || entry.log !== record.run.team || entry.run !== undefined) return [];
      if (checkpoint !== undefined && !isCovered(excerpted, checkpoint)) uncovered += 1;
      return [{ index, at: entry.at, policySet: String(entry.facts["policySet"]) }];
    } catch (error) {
      problems.push(`entry ${excerpted.index}: ${error instanceof Error ? error.message : "malformed"}`);
      return [];
    }
  });
  const byIndex = (a: { readonly index: number }, b: { readonly index: number }): number => a.index - b.index;
  const sorted = activations.toSorted(byIndex);
  const decided = readableEntries(record.ledger.entries)
    .filter(({ entry }) => entry.kind === "step.decided")
    .toSorted(byIndex);
  let before = 0;
  for (const { index, entry } of decided) {
    while ((sorted[before]?.index ?? index) < index) before += 1;
    const { seq, policySet } = { seq: String(entry.facts["seq"]), policySet: String(entry.facts["policySet"]) };
    const problem = notInForce(sorted, { seq, policySet, at: entry.at }, before);
    if (problem !== undefined) problems.push(problem);
  }
  problems.push(...unentered(record, decided));
  if (problems.length > 0) return check("policies", "", problems);
  if (uncovered > 0) return notChecked("policies", `${uncovered} policy sets were put in force after the checkpoint`);
  return check("policies", `${decided.length} decisions under the set that was in force`, []);
}

/** A decision that has no entry has no index at which a set could have been in force. Some may still wait to be entered. */
function unentered({ decisions, ledger }: RunRecord, decided: readonly Placed[]): readonly string[] {
  if (ledger.waiting > 0) return [];
  const keyOf = (...parts: readonly unknown[]): string => JSON.stringify(parts);
  const entered = new Set(decided.map(({ entry: { at, facts } }) => keyOf(facts["seq"], facts["policySet"], at)));
  return decisions
    .filter(({ seq, policySet, at }) => !entered.has(keyOf(seq, policySet, at)))
    .map(({ seq, n }) => `decision ${n} of step ${seq} is not in the ledger under its policy set`);
}
