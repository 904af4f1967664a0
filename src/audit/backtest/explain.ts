import type { ApprovalRequirement, DecisionOutcome, Obligation, PolicyReason, RunFacts } from "../../core/decision.ts";
import { CodedError } from "../../core/errors.ts";
import type { ApprovalId, Digest, RunId } from "../../core/ids.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import { rulesOf } from "../../core/labels.ts";
import { callablesOf } from "../../core/retrieval.ts";
import type { ApprovalRecord, DecisionRecord, RunRecord } from "../../core/run-record.ts";
import { exhaustedBy, withBudgets } from "../../gate/index.ts";
import {
  compilePolicies,
  consideredFor,
  explain,
  factsOf,
  parsePolicySet,
  PolicyError,
  requestJson,
} from "../../policy/index.ts";
import type { CompiledPolicies, ConsideredPolicy, PolicyRequest, SeenFact } from "../../policy/index.ts";
import { contentDigest } from "../../store/index.ts";
import type { DecidedRun, DecidedStep } from "./pages.ts";
import { createRebuilder } from "./rebuild.ts";
import { approvedFor } from "../decisions/redecide.ts";

/** Why a step was decided as it was, from its record alone. */
export type DecisionExplanation = {
  readonly run: RunId;
  readonly seq: number;
  /** The how-manyth decision on the step, from 0, of how many. */
  readonly n: number;
  readonly of: number;
  readonly kind: string;
  readonly name: string;
  readonly at: string;
  readonly outcome: DecisionOutcome;
  readonly code: string | null;
  readonly policySet: Digest;
  readonly obligations: readonly Obligation[];
  /** Digest of what the engine was asked. */
  readonly request: Digest;
  /** Null where the call's arguments cannot be read, and for a model call. */
  readonly arguments: JsonObject | null;
  readonly facts: RunFacts;
  /** The same as policies see them, with who asked for whom; empty where no request can be made of the call. */
  readonly seen: readonly SeenFact[];
  /** Budgets and limits of the run without room for the step. */
  readonly exhausted: readonly PolicyReason[];
  /** Every policy about the action and the agent, those that determined the decision first. */
  readonly policies: readonly (ConsideredPolicy & { readonly determined: boolean })[];
  readonly approvals: readonly {
    readonly id: ApprovalId;
    readonly state: string;
    readonly requirements: readonly ApprovalRequirement[];
    readonly decisions: readonly { readonly reviewer: string; readonly decision: "approve" | "deny" }[];
  }[];
  /** What it would have taken for the call to be allowed. */
  readonly needed: readonly string[];
  /** What the record does not bear out when the step is decided again. */
  readonly doubts: readonly string[];
};

export class ExplainError extends CodedError<"decision_not_found"> {}

/** Throws `decision_not_found`. Without `n`: the last decision on the step. */
export function explainDecision(record: RunRecord, seq: number, n?: number): DecisionExplanation {
  const onStep = record.decisions.filter((decision) => decision.seq === seq);
  const decision = n === undefined ? onStep.at(-1) : onStep.find((candidate) => candidate.n === n);
  const step = record.steps.find((candidate) => candidate.seq === seq);
  if (decision === undefined || step === undefined) {
    const which = n === undefined || onStep.length === 0 ? "" : ` with number ${n}`;
    throw new ExplainError("decision_not_found", `run \`${record.run.id}\` has no decision on step ${seq}${which}`, {
      hint:
        onStep.length > 0
          ? `its numbers are ${onStep.map((one) => one.n).join(", ")}`
          : record.steps.length === 0
            ? `nothing was decided yet; what it waits for: countersign run show ${record.run.id}`
            : `it has steps 0 to ${record.steps.length - 1}`,
    });
  }
  const again = decideAgain(record, decision);
  const approvals = record.approvals.filter((approval) => approval.seq === seq);
  const determined = new Set(decision.policies);
  const policies = (again.considered ?? [])
    .map((policy) => ({ ...policy, determined: determined.has(policy.policy) }))
    .toSorted((a, b) => Number(b.determined) - Number(a.determined) || Number(b.matched) - Number(a.matched));
  const call = again.request?.step;
  return {
    run: record.run.id,
    seq,
    n: decision.n,
    of: onStep.length,
    kind: decision.facts.response === undefined ? step.kind : "response",
    name: step.name,
    at: decision.at,
    outcome: decision.outcome,
    code: decision.code,
    policySet: decision.policySet,
    obligations: again.obligations,
    request: decision.request,
    arguments: call !== undefined && "arguments" in call ? call.arguments : null,
    facts: decision.facts,
    seen: again.seen,
    exhausted: exhaustedBy(decision.facts.budget).map(({ reason }) => reason),
    policies,
    approvals: approvals.map(viewOfApproval),
    needed: neededFor(decision, policies, approvals, again.detail),
    doubts: again.doubts,
  };
}

type Again = {
  readonly request?: PolicyRequest;
  readonly considered?: readonly ConsideredPolicy[];
  readonly seen: readonly SeenFact[];
  readonly obligations: readonly Obligation[];
  readonly detail?: string;
  readonly doubts: readonly string[];
};

const nothing = { seen: [], obligations: [], doubts: [] } as const;

function decideAgain(record: RunRecord, decision: DecisionRecord): Again {
  const policies = compiledOf(record, decision.policySet);
  const steps = record.decisions.flatMap((one) => decidedStep(record, one) ?? []);
  const step = steps.find(({ seq, n }) => seq === decision.seq && n === decision.n);
  if (step === undefined) return { ...nothing, doubts: ["the step is not recorded"] };
  const { id, agent, release, requestedBy, team } = record.run;
  const run: DecidedRun = { id, agent, release, requestedBy, input: record.input, salt: record.salt, decisions: steps };
  const declared = (digest: Digest) => {
    const document = record.policySets[digest];
    return document === undefined ? undefined : parsePolicySet(document).history;
  };
  const rebuilt = createRebuilder(run, { digest: release, document: record.release }, team, declared)(step, policies);
  if (rebuilt.status === "gate") return nothing;
  if (rebuilt.status === "lost") return { ...nothing, doubts: [`cannot be decided again: ${rebuilt.reason}`] };
  // As it was decided, and not as a candidate would decide it.
  const request = { ...rebuilt.request, rules: rulesOf(decision.facts.flow) };
  if (policies === undefined) return { ...nothing, request, detail: "the policies did not fit the release's tools" };
  const explained = explain(policies, request, step.approved);
  const verdict = withBudgets(explained.decision, exhaustedBy(decision.facts.budget), step.approved);
  const considered = consideredFor(policies, request);
  return {
    request,
    ...(considered === undefined ? {} : { considered }),
    seen: explained.request === undefined ? [] : factsOf(explained.request),
    obligations: verdict.outcome === "allow" ? (verdict.obligations ?? []) : [],
    ...(explained.detail === undefined ? {} : { detail: explained.detail }),
    doubts: [
      ...differs("outcome", decision.outcome, verdict.outcome),
      ...(explained.request === undefined
        ? []
        : differs(
            "request",
            decision.request,
            contentDigest(record.salt, requestJson(explained.request, decision.facts)),
          )),
    ],
  };
}

function differs(what: string, recorded: string, again: string): readonly string[] {
  return recorded === again
    ? []
    : [`${what} recorded ${recorded}, decided again ${again}: see countersign audit replay`];
}

function compiledOf(record: RunRecord, digest: Digest): CompiledPolicies | undefined {
  const document: Json | undefined = record.policySets[digest];
  if (document === undefined) return undefined;
  try {
    return compilePolicies(parsePolicySet(document), callablesOf(record.release));
  } catch (error) {
    if (error instanceof PolicyError) return undefined;
    throw error;
  }
}

function decidedStep(record: RunRecord, decision: DecisionRecord): DecidedStep | undefined {
  const step = record.steps.find(({ seq }) => seq === decision.seq);
  if (step === undefined) return undefined;
  const asking = record.steps.find(({ seq }) => seq === step.askedBy)?.result ?? null;
  return {
    ...decision,
    kind: step.kind,
    name: step.name,
    arguments: step.arguments,
    callIndex: step.callIndex,
    asked: asking === null ? undefined : record.payloads[asking],
    answer: decision.facts.response === undefined ? undefined : record.payloads[decision.facts.response.answer],
    approved: approvedFor(record, decision),
    witnesses: decision.witnesses ?? null,
    at: new Date(decision.at),
  };
}

function viewOfApproval({ id, state, requirements, decisions }: ApprovalRecord) {
  return { id, state, requirements, decisions: decisions.map(({ reviewer, decision }) => ({ reviewer, decision })) };
}

const gateNeeds: Readonly<Record<string, string>> = {
  unknown_tool: "a tool that the release has",
  invalid_arguments: "arguments that fit the tool's JSON Schema",
  no_price: "a price for the model, without which its cost has no bound",
  declined: "a reviewer who approves: this one was declined, and is not asked about again",
  approval_expired: "an approval in time: nobody decided before the request expired",
  invalid_grant: "a grant for this very action, not used before",
  not_cosigned: "witnesses that answer in time",
};

function neededFor(
  { outcome, code, approval }: DecisionRecord,
  policies: readonly (ConsideredPolicy & { readonly determined: boolean })[],
  approvals: readonly ApprovalRecord[],
  detail: string | undefined,
): readonly string[] {
  if (outcome === "allow") return [];
  if (outcome === "require_approval") {
    const asked = approvals.find(({ id }) => id === approval)?.requirements ?? [];
    return asked.map(
      ({ policy, group, quorum, expiresMs }) =>
        `${quorum} of group ${group} to approve within ${expiresMs / 3_600_000} h (${policy})`,
    );
  }
  const fromGate = gateNeeds[code ?? ""];
  if (fromGate !== undefined) return [fromGate];
  if (code === "not_permitted") {
    const permits = policies.filter(({ effect, matched }) => effect === "permit" && !matched);
    const about = permits.map(({ policy }) => policy).join(", ");
    return [
      permits.length === 0
        ? "a permit: none is about this action and agent"
        : `a permit whose conditions hold; about this action are ${about}`,
    ];
  }
  if (code === "forbidden") {
    return policies
      .filter(({ determined }) => determined)
      .map(({ policy, reason }) => `that ${policy} does not apply (${reason}); nobody can lift it`);
  }
  return [detail === undefined ? "a call that the engine can decide" : `a call that the engine can decide: ${detail}`];
}
