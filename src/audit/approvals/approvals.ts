import { kindOf, markEditor, parseStatement, signatureFault, tally } from "../../approvals/offline.ts";
import type { Vote } from "../../approvals/offline.ts";
import type { Approved } from "../../core/approved.ts";
import type { ApprovalRequirement } from "../../core/decision.ts";
import type { LedgerEntry } from "../../core/ledger-event.ts";
import type { ApprovalRecord, RunRecord } from "../../core/run-record.ts";
import { decidedAnewProblems, lastDecisions } from "./decided-anew.ts";
import { editBehind, editProblems } from "./edits.ts";
import type { Placed } from "../ledger/happened-before.ts";
import { check } from "../report.ts";
import { separationProblem } from "./separation.ts";
import { resolutionProblems } from "./resolutions.ts";
import { keyOf, signedOf } from "./signed.ts";
import { standingProblems } from "./standing.ts";
import type { AuditCheck } from "../report.ts";

type Signed = ApprovalRecord["decisions"][number];

/**
 * Every signed decision: the signature, and that it is on this very action. Without `contents`, what the reviewer was shown is not looked
 * for.
 */
export function checkApprovals(record: RunRecord, contents = true): AuditCheck {
  const problems = record.approvals.flatMap((request) => {
    return request.decisions.flatMap((signed) => {
      const problem = problemOf(record, request, signed, contents);
      return problem === undefined
        ? []
        : [`step ${request.seq}: ${signed.reviewer}'s decision on \`${request.id}\`: ${problem}`];
    });
  });
  const anew = record.approvals.flatMap(decidedAnewProblems);
  const used = record.decisions.filter((decision) => decision.outcome === "allow" && decision.approval !== null);
  const unmet = used.flatMap((decision) => {
    const request = record.approvals.find((candidate) => candidate.id === decision.approval);
    if (request === undefined)
      return [`step ${decision.seq}: allowed with \`${decision.approval ?? ""}\`, which is missing`];
    if (!wasUsed(request.state))
      return [`step ${decision.seq}: allowed with \`${request.id}\`, which is ${request.state}`];
    const granted = grantedApprovals(record, request, decision.at, contents);
    return granted
      .filter(({ approvals, quorum }) => approvals < quorum)
      .map(
        ({ policy, quorum }) => `step ${decision.seq}: policy \`${policy}\` asked for ${quorum} approvals, fewer hold`,
      );
  });
  const signatures = record.approvals.reduce((sum, request) => sum + request.decisions.length, 0);
  const { standingGrants = [] } = record;
  const uses = standingGrants.reduce((sum, grant) => sum + grant.uses.length, 0);
  const ahead =
    uses === 0
      ? ""
      : `; ${uses} uses of ${standingGrants.length} standing grants, within their limits as far as this run tells: uses by other runs are not here`;
  return check("approvals", `${signatures} signatures on ${record.approvals.length} requests${ahead}`, [
    ...problems,
    ...anew,
    ...unmet,
    ...editProblems(record, contents),
    ...resolutionProblems(record),
    ...standingProblems(record),
  ]);
}

/**
 * What the signatures on a request amount to at a time, by the persons and groups that were recorded with each: a person counts once, whatever
 * accounts or delegates decided. That somebody was who they were said to be, and in those groups, is the operator's word of that time:
 * the ledger's entry has it, the record of enrolments is not joined yet. Older records say nothing of groups: any reviewer counts there.
 */
export function grantedApprovals(
  record: RunRecord,
  request: ApprovalRecord,
  at: string,
  contents = true,
): readonly Approved[] {
  const votes = lastDecisions(request)
    .filter((signed) => signed.decision === "approve" && problemOf(record, request, signed, contents) === undefined)
    .map((signed) => voteOf(record, request, signed));
  const counts = tally(request.requirements, votes);
  const ageMs = Date.parse(at) - Date.parse(request.openedAt);
  return request.requirements.map((requirement, index) => ({ ...requirement, approvals: counts[index] ?? 0, ageMs }));
}

/** Whether a grant was used, whatever came of it. */
export function wasUsed(state: string): boolean {
  return state === "consumed" || state === "outcome_unknown";
}

/** What a decision counts as, by what was recorded with it. */
export function voteOf(record: RunRecord, request: ApprovalRecord, signed: Signed): Vote {
  const { reviewer, decision, capacity } = signed;
  const behind = editBehind(record, request.id);
  const names = behind === undefined ? [] : [...behind.editors, ...behind.persons];
  const kind = kindOf(signedOf(signed));
  if (capacity === undefined) {
    const groups = request.requirements.map(({ group }: ApprovalRequirement) => group);
    return markEditor(names, { reviewer, decision, kind, groups });
  }
  const { person, groups, delegation, at } = capacity;
  const afterMs = Date.parse(at) - Date.parse(request.openedAt);
  const persons = [person, ...(delegation === undefined ? [] : [delegation.person])];
  return markEditor(names, { reviewer, decision, kind, groups, persons, afterMs });
}

/** A grant that was used must have had enough approvals by keys that were not revoked by then. `revoked`: entries that revoke a key. */
export function usedProblems(
  record: RunRecord,
  request: ApprovalRecord,
  entries: readonly LedgerEntry[],
  revoked: (keyId: string) => readonly Placed[],
): readonly string[] {
  const used = entries.find((entry) => entry.kind === "approval.consumed" && entry.facts["approval"] === request.id);
  if (used === undefined) return [];
  const holding = lastDecisions(request).filter(
    ({ decision, keyId }) => decision === "approve" && revoked(keyId).every(({ entry }) => entry.at >= used.at),
  );
  const counts = tally(
    request.requirements,
    holding.map((signed) => voteOf(record, request, signed)),
  );
  return request.requirements.flatMap(({ quorum }, index) => {
    const approvals = counts[index] ?? 0;
    return approvals >= quorum
      ? []
      : [`\`${request.id}\` was used with ${approvals} approvals by keys that were not revoked, of ${quorum}`];
  });
}

function problemOf(record: RunRecord, request: ApprovalRecord, signed: Signed, contents: boolean): string | undefined {
  const fault = signatureFault(signedOf(signed), keyOf(signed));
  if (fault !== undefined) return fault;
  const statement = parseOrUndefined(signed.statement);
  if (statement === undefined) return "the statement is malformed";
  if (statement.request !== request.id || statement.run !== record.run.id || statement.seq !== request.seq)
    return "it is on another request";
  if (statement.action !== request.action) return "it is on another action";
  const behind = editBehind(record, request.id);
  const asked = behind === undefined ? actionsAskedAbout(record, request) : [behind.action];
  if (!asked.includes(request.action)) return "the request is on another action than the step";
  if (statement.team !== record.run.team || statement.expiresAt !== request.expiresAt) return "it is on other terms";
  if (!record.decisions.some(({ approval, policySet }) => approval === request.id && policySet === statement.policySet))
    return "it is on another policy set than the one that asked";
  if (contents && !(statement.rendered in record.payloads)) return "what the reviewer was shown is missing";
  if (statement.reviewer !== signed.reviewer || statement.decision !== signed.decision)
    return "the statement says something else";
  if (statement.reviewer === record.run.requestedBy) return "the reviewer is who asked for the run";
  if (signed.capacity === undefined)
    return (request.barred ?? []).length === 0 ? undefined : "as whom they decided is missing";
  return separationProblem(record, request, signed.reviewer, signed.capacity);
}

/** What a request can be on: the step's call, or an answer that was decided on with it. */
function actionsAskedAbout(record: RunRecord, { id, seq }: ApprovalRecord): readonly (string | undefined)[] {
  const asked = record.decisions.find(({ approval, outcome }) => approval === id && outcome === "require_approval");
  return [asked?.facts.response?.action ?? record.steps.find((step) => step.seq === seq)?.action];
}

function parseOrUndefined(text: string): ReturnType<typeof parseStatement> | undefined {
  try {
    return parseStatement(text);
  } catch {
    return undefined;
  }
}
