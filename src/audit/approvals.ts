import { keyIdOf, parseStatement, verifyStatement } from "../approvals/index.ts";
import type { ApprovalRecord, RunRecord } from "../core/run-record.ts";
import type { Approved } from "../policy/index.ts";
import { editBehind, editProblems } from "./edits.ts";
import { check } from "./report.ts";
import { resolutionProblems } from "./resolutions.ts";
import { grantProblems } from "./standing-grants.ts";
import type { AuditCheck } from "./report.ts";

type Signed = ApprovalRecord["decisions"][number];

/** Every signed decision: the signature, and that it is on this very action. */
export function checkApprovals(record: RunRecord): AuditCheck {
  const problems = record.approvals.flatMap((request) => {
    return request.decisions.flatMap((signed) => {
      const problem = problemOf(record, request, signed);
      return problem === undefined
        ? []
        : [`step ${request.seq}: ${signed.reviewer}'s decision on \`${request.id}\`: ${problem}`];
    });
  });
  const used = record.decisions.filter((decision) => decision.outcome === "allow" && decision.approval !== null);
  const unmet = used.flatMap((decision) => {
    const request = record.approvals.find((candidate) => candidate.id === decision.approval);
    if (request === undefined)
      return [`step ${decision.seq}: allowed with \`${decision.approval ?? ""}\`, which is missing`];
    if (request.state !== "consumed")
      return [`step ${decision.seq}: allowed with \`${request.id}\`, which is ${request.state}`];
    const granted = grantedApprovals(record, request);
    return request.requirements
      .filter(({ policy, quorum }) => (granted.find((one) => one.policy === policy)?.approvals ?? 0) < quorum)
      .map(
        ({ policy, quorum }) => `step ${decision.seq}: policy \`${policy}\` asked for ${quorum} approvals, fewer hold`,
      );
  });
  const signatures = record.approvals.reduce((sum, request) => sum + request.decisions.length, 0);
  return check("approvals", `${signatures} signatures on ${record.approvals.length} requests`, [
    ...problems,
    ...unmet,
    ...editProblems(record),
    ...grantProblems(record),
    ...resolutionProblems(record),
  ]);
}

/**
 * What the signatures on a request amount to. Which group a reviewer was in is the operator's word: the record of enrolments in the
 * ledger is not joined yet.
 */
export function grantedApprovals(record: RunRecord, request: ApprovalRecord): readonly Approved[] {
  const reviewers = new Set(
    request.decisions
      .filter((signed) => signed.decision === "approve" && problemOf(record, request, signed) === undefined)
      .map((signed) => signed.reviewer),
  );
  const editors = new Set(editBehind(record, request.id)?.editors);
  return request.requirements.map(({ policy, group, editorCounts }) => ({
    policy,
    group,
    // Whoever changed the call counts only where the policy says so.
    approvals: [...reviewers].filter((reviewer) => editorCounts === true || !editors.has(reviewer)).length,
  }));
}

function problemOf(record: RunRecord, request: ApprovalRecord, signed: Signed): string | undefined {
  if (keyIdOf(signed.publicKey) !== signed.keyId) return "the key is not the one that it names";
  if (!verifyStatement(signed.statement, signed.signature, signed.publicKey)) return "the signature does not verify";
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
  if (!(statement.rendered in record.payloads)) return "what the reviewer was shown is missing";
  if (statement.reviewer !== signed.reviewer || statement.decision !== signed.decision)
    return "the statement says something else";
  if (statement.reviewer === record.run.requestedBy) return "the reviewer is who asked for the run";
  return undefined;
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
