import {
  answers,
  isGranted,
  isInTime,
  isWithinDelegation,
  matchCall,
  readSigned,
  readTerms,
  signatureFault,
  standingKind,
  standingMismatch,
  standingVote,
  subjectNames,
  termsDigest,
  toolDigest,
} from "../../approvals/offline.ts";
import type { ApprovalRequirement } from "../../core/decision.ts";
import type { JsonObject } from "../../core/json.ts";
import type { DecisionRecord, RunRecord } from "../../core/run-record.ts";
import type { Vote } from "../../approvals/offline.ts";
import type { StandingGrantRecord, StandingTerms, StandingUseRecord } from "../../core/standing-grant.ts";
import { keyOf, signedOf } from "./signed.ts";

type Approval = StandingGrantRecord["approvals"][number];

/** The grant that took the place of an approval, as far as a decision names one. */
export function standingBehind(record: RunRecord, { standingGrant }: DecisionRecord): StandingGrantRecord | undefined {
  return (record.standingGrants ?? []).find(({ id }) => id === standingGrant);
}

/**
 * Every standing grant that the run used: that enough people signed these very terms, and that each use was one of them: of this agent and
 * tool, in time, within number and sum as far as one run can tell, and not by whom it was barred for. Whether the calls are such as the terms
 * say is looked at where they are decided again.
 */
export function standingProblems(record: RunRecord): readonly string[] {
  const grants = record.standingGrants ?? [];
  const unknown = record.decisions
    .filter((decision) => (decision.standingGrant ?? null) !== null)
    .flatMap((decision) => {
      const what = `step ${decision.seq}: allowed ahead by \`${decision.standingGrant ?? ""}\``;
      const uses = standingBehind(record, decision)?.uses.filter(({ seq }) => seq === decision.seq);
      if (uses === undefined) return [`${what}, which is missing`];
      if (uses.length !== 1) return [`${what}, which has ${uses.length} uses by it`];
      if (decision.outcome !== "allow" || decision.approval !== null) return [`${what}, but it is no such decision`];
      return uses[0]?.at === decision.at ? [] : [`${what}, at another time than it was decided`];
    });
  const ids = grants.map(({ id }) => id);
  return [
    ...unknown,
    ...(new Set(ids).size === ids.length ? [] : ["a standing grant is recorded twice"]),
    ...grants.flatMap((grant) =>
      grantProblems(record, grant).map((problem) => `standing grant \`${grant.id}\`: ${problem}`),
    ),
  ];
}

function grantProblems(record: RunRecord, grant: StandingGrantRecord): readonly string[] {
  const terms = readTerms(grant.terms);
  if (terms === undefined) return ["its terms are malformed"];
  const signed = grant.approvals.flatMap((approval) => {
    const problem = approvalProblem(record, grant, terms, approval);
    return problem === undefined ? [] : [`${approval.reviewer}'s approval: ${problem}`];
  });
  const votes = grant.approvals.map((one) => aheadVote(one, one.groups));
  return [
    ...signed,
    ...(isGranted(terms, votes) ? [] : ["fewer people of the groups approved it than had to"]),
    ...(terms.team === record.run.team && terms.agent === record.run.agent ? [] : ["it is for another agent"]),
    ...grant.uses.flatMap((use) =>
      useProblems(record, grant, terms, use).map((problem) => `its use by step ${use.seq}: ${problem}`),
    ),
    ...countProblems(terms, grant.uses),
  ];
}

function approvalProblem(
  record: RunRecord,
  { id, expiresAt }: StandingGrantRecord,
  terms: StandingTerms,
  approval: Approval,
): string | undefined {
  const { reviewer, at, delegation } = approval;
  const fault = signatureFault(signedOf(approval), keyOf(approval), standingKind.type);
  if (fault !== undefined) return fault;
  const statement = readSigned(standingKind, approval.statement);
  if (statement === undefined) return "the statement is malformed";
  const { team, agent, tool } = terms;
  const facts = { id, team, agent, tool, termsDigest: termsDigest(terms), expiresAt: new Date(expiresAt) };
  const field = standingMismatch(statement, facts, reviewer);
  if (field !== undefined) return `its \`${field}\` is not the grant's`;
  if (at >= expiresAt) return "it came too late";
  const barred = [record.run.requestedBy, ...subjectNames(record.input)];
  if (aheadNames(approval).some((name) => barred.includes(name)))
    return "it is by who asked for the run, or for whom it acts";
  if (delegation === undefined) return undefined;
  const limits = { ...delegation, from: new Date(delegation.from), until: new Date(delegation.until) };
  return isWithinDelegation(terms, limits, new Date(at))
    ? undefined
    : `delegation \`${delegation.id}\` does not cover it`;
}

/** Everybody that an approval is of: by account and person, and for whom it was given. */
function aheadNames({ reviewer, person, delegation }: Approval): readonly string[] {
  return [reviewer, person, ...(delegation === undefined ? [] : [delegation.delegator, delegation.person])];
}

/** What an approval counts as, for these groups: with what was recorded of the persons then. */
export function aheadVote({ reviewer, person, delegation }: Approval, groups: readonly string[]): Vote {
  return standingVote(reviewer, [person, ...(delegation === undefined ? [] : [delegation.person])], groups);
}

function useProblems(
  record: RunRecord,
  { id, approvals }: StandingGrantRecord,
  terms: StandingTerms,
  { seq, at, barred }: StandingUseRecord,
): readonly string[] {
  const step = record.steps.find((candidate) => candidate.seq === seq);
  const tool = record.release.tools.find(({ name }) => name === terms.tool);
  const decided = record.decisions.some((one) => one.seq === seq && one.standingGrant === id);
  const names = approvals.flatMap(aheadNames);
  const bar = barred.find(({ person }) => names.includes(person));
  return [
    ...(decided ? [] : ["no decision is by it"]),
    ...(step?.kind === "tool" && step.name === terms.tool ? [] : ["it is of another tool"]),
    ...(tool !== undefined && toolDigest(tool) === terms.toolDigest ? [] : ["the tool is not the one that it is for"]),
    ...(isInTime(terms, new Date(at))
      ? []
      : [`it was at \`${at}\`, and holds from \`${terms.from}\` until \`${terms.until}\``]),
    ...(bar === undefined ? [] : [`\`${bar.person}\` is the ${bar.because}`]),
  ];
}

/** Number and sum, as far as the run's own uses tell: what other runs used in between only their records and the whole log have. */
function countProblems({ uses: most, sum }: StandingTerms, uses: readonly StandingUseRecord[]): readonly string[] {
  const inOrder = uses.toSorted((a, b) => a.n - b.n);
  return inOrder.flatMap(({ seq, n, amount, total }, place) => {
    const before = inOrder[place - 1];
    const atLeast = (before?.total ?? 0) + amount;
    const next = n === (before?.n ?? 0) + 1;
    const what = `its use by step ${seq}`;
    return [
      ...(n >= 1 && n <= most ? [] : [`${what} is number ${n}, of ${most}`]),
      ...(sum === undefined || total <= sum.max ? [] : [`${what} brings its sum to ${total}, of ${sum.max}`]),
      ...(sum !== undefined || total === 0 ? [] : [`${what} has a sum, and it bounds none`]),
      ...(before !== undefined && n === before.n ? [`use ${n} was made twice`] : []),
      ...(amount >= 0 && total >= atLeast && (!next || total === atLeast)
        ? []
        : [`${what} adds ${amount}, and comes to ${total}`]),
    ];
  });
}

/**
 * Whether a decision that a standing grant allowed is one that it is for: what the policies ask for without it, and the call as it was made.
 * `asking`: what they ask for, undefined where they ask for nothing.
 */
export function standingDecisionProblems(
  record: RunRecord,
  decision: DecisionRecord,
  asking: readonly ApprovalRequirement[] | undefined,
  args: JsonObject,
): readonly string[] {
  const grant = standingBehind(record, decision);
  const terms = grant === undefined ? undefined : readTerms(grant.terms);
  // That it is there is another check's to say.
  if (grant === undefined || terms === undefined) return [];
  const what = `decision ${decision.n}: standing grant \`${grant.id}\``;
  const matched = matchCall(terms, args);
  const use = grant.uses.find(({ seq }) => seq === decision.seq);
  return [
    ...(asking !== undefined && answers(terms, asking) ? [] : [`${what} was approved for other requirements`]),
    ...(matched.matches ? [] : [`${what} is for other calls: \`${matched.argument}\``]),
    ...(!matched.matches || use === undefined || matched.amount === use.amount
      ? []
      : [`${what} counted ${use.amount}, the call has ${matched.amount}`]),
  ];
}
