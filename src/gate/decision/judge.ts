import type { Approved } from "../../core/approved.ts";
import { exhausted } from "../../core/budget.ts";
import type { Exhausted } from "../../core/budget.ts";
import type { Decision, DenialCode, HistoryFact, RunFacts } from "../../core/decision.ts";
import type { Digest } from "../../core/ids.ts";
import type { JsonObject } from "../../core/json.ts";
import { callAction, detectorPolicy, explain, groupsOfTool, narrowed, requestJson } from "../../policy/index.ts";
import type { CompiledPolicies, Detected, PolicyRequest } from "../../policy/index.ts";
import { contentDigest } from "../../store/index.ts";
import type { Tx } from "../../store/index.ts";
import { budgetFacts } from "../budgets/budgets.ts";
import type { RunContext } from "../governed-call.ts";
import { tryCount, wideLocks } from "../history/history.ts";
import type { HistoryCounter, HistoryLock } from "../history/history.ts";
import { madeWith } from "../step/resolve.ts";
import type { ResolvedStep } from "../step/resolve.ts";
import type { Standing } from "../step/standing.ts";
import { policyRequestOf, withBudgets } from "./asked.ts";
import type { Answering } from "./remote.ts";

/** What is known of a step before it is judged. */
export type Question = {
  readonly run: RunContext;
  readonly step: ResolvedStep;
  readonly standing: Standing;
  readonly policySet: Digest;
  /** Undefined where the set cannot be compiled for the run's release, which may be older than the policies: nothing is permitted then. */
  readonly policies: CompiledPolicies | undefined;
  readonly environment: RunFacts["environment"];
  /** A decision point that is asked too, and can only deny more; undefined: none. */
  readonly remote: Answering | undefined;
  /** What another detector said of the contents, where the policies look for it. */
  readonly detected: Detected | undefined;
  readonly at: Date;
};

export type Judged = {
  readonly decision: Decision;
  /** What the policies alone say, before budgets. */
  readonly policyDecision: Decision;
  readonly policySet: Digest;
  readonly facts: RunFacts;
  readonly request: Digest;
  /** The arguments that the call may happen with, where obligations change them. */
  readonly effective?: JsonObject;
  /** The budgets that have no room for it. */
  readonly exhausted: readonly Exhausted[];
};

/** What has to be locked before the step is judged, so that what is counted stays true until the decision is written. */
export function locksFor({ run, step, policies }: Question): readonly HistoryLock[] {
  if (policies === undefined || policies.history.length === 0 || step.refusal !== undefined) return [];
  const reads = new Set(historyFor(policies, step).map(({ name }) => name));
  return wideLocks(policies.history, { actions: actionsOf(step), reads }, run);
}

function historyFor(policies: CompiledPolicies, step: ResolvedStep): readonly HistoryFact[] {
  return policies.slices.get(actionOf(step))?.history ?? [];
}

export function actionOf(step: ResolvedStep): string {
  return callAction(step.kind, step.name);
}

function actionsOf(step: ResolvedStep): readonly string[] {
  const groups = step.kind !== "model" && step.tool !== undefined ? groupsOfTool(step.tool) : [];
  return [actionOf(step), ...groups];
}

/** Asks the engine, unless there is nothing to ask: an unknown tool, arguments that do not fit, no price. Then looks at the budgets. */
export async function judge(
  tx: Tx,
  count: HistoryCounter,
  question: Question,
  approved: readonly Approved[],
): Promise<Judged> {
  const { run, step, policySet, policies } = question;
  const denied = (code: DenialCode, text: string): Judged => {
    const decision = denial(code, text);
    const facts = factsOf(question, {});
    return { policySet, request: step.actionDigest, exhausted: [], facts, decision, policyDecision: decision };
  };
  if (step.refusal !== undefined) return denied(step.refusal.code, step.refusal.text);
  if (policies === undefined)
    return denied("undecidable", "the policies in force do not fit the tools of this release");
  const history = await tryCount(tx, count, {
    run,
    seq: step.seq,
    now: question.at,
    facts: historyFor(policies, step),
  });
  if (history === undefined) return denied("undecidable", "what the policies want counted cannot be counted");
  const found = question.detected;
  if (found?.status === "failed") return { ...denied("undecidable", ""), ...undetected(found.reason) };
  const facts = { ...factsOf(question, history), ...(found === undefined ? {} : { detected: found.classes }) };
  const asked = policyRequestOf(run, step, facts);
  const { decision: local, request, effective, made = asked } = explain(policies, asked, approved);
  const decision = await alsoRemotely(question.remote, local, made);
  // What it may take is what it is made with.
  const budget = budgetFacts(question.standing, madeWith(step, effective));
  const over = decision.outcome === "deny" ? [] : exhausted(budget);
  return {
    policySet,
    facts: over.length === 0 ? facts : { ...facts, budget },
    // Arguments that Cedar cannot hold are denied without being asked about; the action says what they were.
    request: request === undefined ? step.actionDigest : contentDigest(run.salt, requestJson(request, facts)),
    decision: withBudgets(decision, over, approved),
    policyDecision: decision,
    exhausted: over,
    ...(effective === undefined || decision.outcome === "deny" ? {} : { effective }),
  };
}

/** Without its answer, nobody knows whether the policies would have allowed it. */
export function undetected(reason: string): Pick<Judged, "decision" | "policyDecision"> {
  const decision: Decision = {
    outcome: "deny",
    code: "undecidable",
    policies: [{ policy: detectorPolicy, text: reason }],
  };
  return { decision, policyDecision: decision };
}

/** The remote decision point is asked about the call as it would be made, and only about what would not be denied anyway. */
export async function alsoRemotely(
  remote: Answering | undefined,
  local: Decision,
  made: PolicyRequest,
): Promise<Decision> {
  return remote === undefined || local.outcome === "deny" ? local : narrowed(local, await remote(made));
}

function factsOf({ step, standing, environment, at }: Question, history: RunFacts["history"]): RunFacts {
  return { ...standingFacts(standing, environment, at), flow: step.flow, history };
}

/** What is decided by of where the run stands. */
export function standingFacts(
  standing: Standing,
  environment: RunFacts["environment"],
  at: Date,
): Omit<RunFacts, "flow" | "history"> {
  return {
    at: at.toISOString(),
    environment,
    requester: { roles: standing.requesterRoles, groups: standing.requesterGroups },
    steps: standing.steps,
    spentMicroUsd: standing.spentMicroUsd,
    sameName: standing.sameName,
    sameNameApproved: standing.sameNameApproved,
    approvals: standing.approvals,
  };
}

export function denial(code: DenialCode, text: string): Decision {
  return { outcome: "deny", code, policies: [{ policy: `gate:${code}`, text }] };
}
