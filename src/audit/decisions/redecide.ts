import { cosigningOf } from "../../core/decision.ts";
import type { Approved } from "../../core/approved.ts";
import type { ApprovalRequirement, DenialCode, ResponseFacts } from "../../core/decision.ts";
import type { Json } from "../../core/json.ts";
import { rulesOf } from "../../core/labels.ts";
import type { DataClass, FlowFacts } from "../../core/labels.ts";
import type { DecisionRecord, RunRecord, StepRecord } from "../../core/run-record.ts";
import type { ModelResult } from "../../core/transcript.ts";
import {
  answerFacts,
  approvedAhead,
  exhaustedBy,
  isShadow,
  policyRequestOf,
  redactionOf,
  withBudgets,
} from "../../gate/offline.ts";
import type { ResolvedStep, RunContext } from "../../gate/offline.ts";
import { callAction, detectorPolicy, explain, remotePolicy, requestJson, responseAction } from "../../policy/index.ts";
import type { CompiledPolicies, RedactionOf } from "../../policy/index.ts";
import { canonicalText, contentDigest } from "../../store/canonical.ts";
import { answerProblems } from "./answers.ts";
import { beforeStepsOf } from "./before-steps.ts";
import type { BeforeSteps } from "./before-steps.ts";
import { compiledSetsOf } from "./compiled-sets.ts";
import type { CompiledSets } from "./compiled-sets.ts";
import { editedAgain } from "../approvals/edits.ts";
import { grantedApprovals } from "../approvals/approvals.ts";
import { erasedText, erasureOf } from "../erasure.ts";
import { resolveStep, runContextOf } from "./recorded-step.ts";
import { check, erasedCheck } from "../report.ts";
import { standingBehind, standingDecisionProblems } from "../approvals/standing.ts";
import type { AuditCheck } from "../report.ts";

/** Denials that the engine had no part in, and that the record itself must bear out, or that nobody can look at again. */
const gateDenials: ReadonlySet<string> = new Set<DenialCode>([
  "declined",
  "approval_expired",
  "invalid_grant",
  "no_price",
]);

/** Of those, what the record has nothing on: the grant that was named, and the prices of then. */
const unseenDenials: ReadonlySet<string> = new Set<DenialCode>(["invalid_grant", "no_price"]);
const undecidablePolicy = "gate:undecidable";
/** What another decision point said, or a detector did not say, nobody can ask again: denials only, with these codes. */
const elsewhere: Readonly<Record<string, readonly DenialCode[]>> = {
  [remotePolicy]: ["forbidden", "undecidable"],
  [detectorPolicy]: ["undecidable"],
};

/** `asRecorded`: denials that are taken as recorded, since what they rest on is in no record. */
export type DecidedAgain = { readonly check: AuditCheck; readonly again: number; readonly asRecorded: number };

export function checkDecisions(record: RunRecord): AuditCheck {
  return decideAgain(record).check;
}

/**
 * Decides every recorded decision again: the action from the recorded contents, the policy set that is recorded, the facts that
 * are recorded, and the approvals whose signatures hold. Differences name the step and both sides.
 */
export function decideAgain(record: RunRecord): DecidedAgain {
  const erasure = erasureOf(record);
  if (erasure !== undefined) {
    const undecided = undecidedSteps(record);
    const told = `${record.decisions.length} not decided again: contents ${erasedText(erasure)}`;
    const found = undecided.length > 0 ? check("decisions", "", undecided) : erasedCheck("decisions", told);
    return { check: found, again: 0, asRecorded: 0 };
  }
  const run = runContextOf(record);
  const again: Again = { record, run, before: beforeStepsOf(record, run), sets: compiledSetsOf(record) };
  let asRecorded = 0;
  const problems = record.decisions.flatMap((decision) => {
    const step = record.steps.find((candidate) => candidate.seq === decision.seq);
    if (step === undefined) return [`step ${decision.seq}: decided on, but not recorded`];
    try {
      const { problems: found, again: isAgain } = redecide(again, step, decision);
      if (!isAgain) asRecorded += 1;
      return found.map((problem) => `step ${step.seq} (${step.name}): ${problem}`);
    } catch (error) {
      return [
        `step ${step.seq} (${step.name}): cannot be decided again: ${error instanceof Error ? error.message : "unknown error"}`,
      ];
    }
  });
  const count = record.decisions.length - asRecorded;
  const rest = asRecorded === 0 ? "" : `; ${asRecorded} denials taken as recorded: what they rest on is in no record`;
  return {
    check: check("decisions", `${count} decided again${rest}`, [
      ...problems,
      ...undecidedSteps(record),
      ...answerProblems(record, again.sets),
    ]),
    again: count,
    asRecorded,
  };
}

function undecidedSteps({ steps, decisions }: RunRecord): readonly string[] {
  return steps
    .filter(({ seq }) => !decisions.some((decision) => decision.seq === seq))
    .map(({ seq, name }) => `step ${seq} (${name}): recorded without a decision`);
}

/** What all decisions of a record have in common. */
type Again = {
  readonly record: RunRecord;
  readonly run: RunContext;
  readonly before: BeforeSteps;
  readonly sets: CompiledSets;
};
type Redecided = { readonly problems: readonly string[]; readonly again: boolean };

function redecide({ record, run, before, sets }: Again, step: StepRecord, recorded: DecisionRecord): Redecided {
  const rules = rulesOf(recorded.facts.flow);
  const asked = resolveStep(record, run, step, rules, before);
  const problems: string[] = [];
  expect(problems, "kind", recorded, step.kind, asked.kind);
  expect(problems, "action", recorded, step.action, asked.actionDigest);
  expect(problems, "name", recorded, step.name, asked.name);
  expect(problems, "arguments", recorded, step.arguments, asked.arguments);
  // What a reviewer made of it is another action, decided on in its place.
  const { edit = null } = recorded;
  const resolved = edit === null ? asked : editedAgain(record, asked, edit);
  if (recorded.outcome === "deny" && gateDenials.has(recorded.code ?? ""))
    return { problems: [...problems, ...unfounded(record, recorded)], again: !unseenDenials.has(recorded.code ?? "") };
  if (resolved.refusal !== undefined) {
    expectDenial(problems, recorded, resolved.refusal.code);
    return { problems, again: true };
  }
  const codes = recorded.policies.flatMap((policy) => elsewhere[policy] ?? []);
  if (codes.length > 0) {
    // The record's own word opens nothing: only such a denial is taken, and it has nothing beside it.
    const code = codes.find((one) => one === recorded.code) ?? codes[0];
    expectDenial(problems, recorded, code ?? null);
    expect(problems, "number of policies", recorded, String(recorded.policies.length), "1");
    return { problems, again: false };
  }
  if (record.policySets[recorded.policySet] === undefined)
    return { problems: [...problems, `policy set \`${recorded.policySet}\` is missing`], again: true };
  const compiled = sets(recorded.policySet);
  if (compiled === undefined) {
    expectDenial(problems, recorded, "undecidable");
    return { problems, again: true };
  }
  if (recorded.policies.includes(undecidablePolicy)) {
    expectDenial(problems, recorded, "undecidable");
    // What could not be counted then, cannot be seen from the run's own record.
    const counts = (compiled.slices.get(actionOf(resolved, recorded))?.history.length ?? 0) > 0;
    if (!counts) problems.push(`decision ${recorded.n}: undecidable, and its policies count nothing`);
    return { problems, again: !counts };
  }
  compare(problems, { record, run, step: resolved, recorded, compiled });
  return { problems, again: true };
}

/** A denial with this code, and nothing that a call could be made with. */
function expectDenial(problems: string[], recorded: DecisionRecord, code: string | null): void {
  expect(problems, "outcome", recorded, recorded.outcome, "deny");
  expect(problems, "code", recorded, recorded.code, code);
  expect(problems, "effective arguments", recorded, recorded.effective, null);
}

type Comparing = {
  readonly record: RunRecord;
  readonly run: RunContext;
  readonly step: ResolvedStep;
  readonly recorded: DecisionRecord;
  readonly compiled: CompiledPolicies;
};

/** What the policies say of it now, against all that is recorded of what they said then. */
function compare(problems: string[], { record, run, step: resolved, recorded, compiled }: Comparing): void {
  const { edit = null } = recorded;
  const known = knownOf(record, run, resolved, recorded);
  expect(problems, "flow", recorded, plain(recorded.facts.flow), plain(asThen(known.flow, recorded.facts.flow)));
  expect(problems, "answer", recorded, plain(recorded.facts.response), plain(answerAsThen(known.response, recorded)));
  const asked = policyRequestOf(run, resolved, recorded.facts, redactionFor(record, run, resolved, recorded));
  const asking = { ...asked, rules: rulesOf(recorded.facts.flow) };
  const approved = approvedFor(record, recorded);
  const explained = explain(compiled, asking, approved);
  const { request } = explained;
  const decision = withBudgets(explained.decision, exhaustedBy(recorded.facts.budget), approved);
  const made = explained.effective ?? (edit !== null && resolved.kind === "tool" ? resolved.args : undefined);
  const effective = decision.outcome === "deny" ? undefined : made;
  expect(
    problems,
    "effective arguments",
    recorded,
    recorded.effective,
    effective === undefined ? null : contentDigest(record.salt, effective),
  );
  expect(problems, "shadow", recorded, String(recorded.shadow), String(isShadow(decision)));
  const cosigning = cosigningOf(decision);
  const cosignBy =
    cosigning === undefined ? null : new Date(Date.parse(recorded.at) + cosigning.withinMs).toISOString();
  expect(problems, "witnesses", recorded, text(recorded.witnesses), text(cosigning?.witnesses));
  expect(problems, "time for witnesses", recorded, recorded.cosignBy ?? null, cosignBy);
  expect(problems, "outcome", recorded, recorded.outcome, decision.outcome);
  expect(problems, "code", recorded, recorded.code, decision.outcome === "deny" ? decision.code : null);
  expect(
    problems,
    "policies",
    recorded,
    list(recorded.policies),
    list(decision.policies.map((reason) => reason.policy)),
  );
  expect(
    problems,
    "request",
    recorded,
    recorded.request,
    request === undefined
      ? (recorded.facts.response?.action ?? resolved.actionDigest)
      : contentDigest(record.salt, requestJson(request, recorded.facts)),
  );
  if ((recorded.standingGrant ?? null) !== null) {
    const { decision: unasked } = explain(compiled, asking, []);
    const wanted = unasked.outcome === "require_approval" ? unasked.requirements : undefined;
    const args = effective ?? (resolved.kind === "model" ? {} : resolved.args);
    problems.push(...standingDecisionProblems(record, recorded, wanted, args));
  }
  if (decision.outcome === "require_approval") {
    const opened = record.approvals.find((candidate) => candidate.id === recorded.approval);
    expect(problems, "requirements", recorded, requirements(opened?.requirements), requirements(decision.requirements));
  }
}

function plain(facts: FlowFacts | ResponseFacts | undefined): string {
  return facts === undefined ? "none" : canonicalText(facts as unknown as Json);
}

/** What would have been recorded by the rules of the recorded facts. By the first, detectors found less than today's, and never more. */
function asThen(known: FlowFacts, recorded: FlowFacts): FlowFacts {
  if (rulesOf(recorded) !== 1) return known;
  const { labels: _, ...then } = known;
  const { dataClasses, seen } = recorded;
  const isLess = (found: readonly DataClass[], of: readonly DataClass[]): boolean =>
    found.every((one) => of.includes(one));
  return {
    ...then,
    ...(isLess(dataClasses, then.dataClasses) ? { dataClasses } : {}),
    seen: isLess(seen.dataClasses, then.seen.dataClasses) ? { ...then.seen, dataClasses: seen.dataClasses } : then.seen,
  };
}

function answerAsThen(known: ResponseFacts | undefined, { facts }: DecisionRecord): ResponseFacts | undefined {
  const then = facts.response?.callDataClasses;
  if (known === undefined || then === undefined || rulesOf(facts.flow) !== 1) return known;
  return then.every((one) => known.callDataClasses.includes(one)) ? { ...known, callDataClasses: then } : known;
}

/** What follows from the record: of the call, or of the model's answer where it was decided on that. */
function knownOf(
  record: RunRecord,
  run: RunContext,
  step: ResolvedStep,
  { facts }: DecisionRecord,
): { readonly flow: FlowFacts; readonly response?: ResponseFacts } {
  if (facts.response === undefined) return { flow: step.flow };
  return answerFacts(...answered(record, run, step, facts.response));
}

/** Makes a decided answer without some classes of data; undefined where the decision was on the call. */
export function redactionFor(
  record: RunRecord,
  run: RunContext,
  step: ResolvedStep,
  { facts }: DecisionRecord,
): RedactionOf | undefined {
  return facts.response === undefined ? undefined : redactionOf(...answered(record, run, step, facts.response));
}

function answered(
  record: RunRecord,
  run: RunContext,
  step: ResolvedStep,
  response: ResponseFacts,
): Parameters<typeof answerFacts> {
  const answer = record.payloads[response.answer];
  if (answer === undefined) throw new Error("what the model answered is missing");
  if (step.kind !== "model") throw new Error("only a model's answer is decided on");
  return [run, step, answer as unknown as ModelResult];
}

function actionOf({ kind, name }: ResolvedStep, { facts }: DecisionRecord): string {
  if (facts.response !== undefined) return responseAction;
  return callAction(kind, name);
}

function requirements(wanted: readonly ApprovalRequirement[] | undefined): string | null {
  if (wanted === undefined) return null;
  return list(
    wanted.map(({ policy, group, quorum, expiresMs, ...terms }) => {
      const more = Object.keys(terms).length === 0 ? "" : ` with ${canonicalText(terms as unknown as Json)}`;
      return `${quorum} of ${group} in ${expiresMs} ms for ${policy}${more}`;
    }),
  );
}

function expect(
  problems: string[],
  what: string,
  { n }: DecisionRecord,
  recorded: string | null,
  again: string | null,
): void {
  if (recorded !== again)
    problems.push(`decision ${n}: ${what} recorded \`${recorded ?? "none"}\`, decided again \`${again ?? "none"}\``);
}

function text(value: number | null | undefined): string | null {
  return value === null || value === undefined ? null : String(value);
}

function list(values: readonly string[]): string {
  return values.toSorted().join(",");
}

/** A decision that consumed a grant had its approvals, as had one by a standing grant; one that opened a request had none. */
export function approvedFor(record: RunRecord, recorded: DecisionRecord): readonly Approved[] {
  if (recorded.outcome === "allow" && (recorded.standingGrant ?? null) !== null)
    return approvedAhead(standingBehind(record, recorded)?.terms.requirements ?? []);
  if (recorded.outcome !== "allow" || recorded.approval === null) return [];
  const approval = record.approvals.find((candidate) => candidate.id === recorded.approval);
  return approval === undefined ? [] : grantedApprovals(record, approval, recorded.at);
}

/** Whether the record shows what a denial of the gate's own says. */
function unfounded(record: RunRecord, { n, code, approval }: DecisionRecord): readonly string[] {
  const request = record.approvals.find((candidate) => candidate.id === approval);
  if (code === "declined" && !request?.decisions.some((one) => one.decision === "deny"))
    return [`decision ${n}: declined, but nobody did`];
  if (code === "approval_expired" && request?.state !== "expired")
    return [`decision ${n}: expired, but the request is ${request?.state ?? "missing"}`];
  return [];
}
