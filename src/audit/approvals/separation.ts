import { barOf, subjectNames } from "../../approvals/offline.ts";
import type { ApprovalRecord, CapacityRecord, RunRecord } from "../../core/run-record.ts";

/** Separation of duties, and the terms of a delegation, at the time of a decision or of a change of the call. */
export function separationProblem(
  record: RunRecord,
  request: ApprovalRecord,
  reviewer: string,
  { at, person, delegation }: CapacityRecord,
): string | undefined {
  const names = [reviewer, person, ...(delegation === undefined ? [] : [delegation.delegator, delegation.person])];
  const bar = barOf(request.barred ?? [], names);
  if (bar !== undefined) return `\`${bar.person}\` is the ${bar.because}`;
  if (subjectNames(record.input).some((name) => names.includes(name))) return "it is by whom the run acts for";
  if (!(request.openedAt <= at && at < request.expiresAt)) return "it was not made while the request was open";
  if (delegation === undefined) return undefined;
  const { from, until, team, tool, maxAmount } = delegation;
  const { amount = null } = request;
  const name = record.steps.find((step) => step.seq === request.seq)?.name;
  const isCovered =
    from <= at &&
    at < until &&
    (team === null || team === record.run.team) &&
    (tool === null || tool === name) &&
    (maxAmount === null || (amount !== null && amount >= 0 && amount <= maxAmount));
  return isCovered ? undefined : `delegation \`${delegation.id}\` does not cover it`;
}
