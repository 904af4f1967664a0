import type { Response } from "@cedar-policy/cedar-wasm/nodejs";

import type { ApprovalRequirement, Decision, DenialCode, Obligation, PolicyReason } from "../core/decision.ts";
import type { JsonObject } from "../core/json.ts";
import type { CompiledPolicies } from "./compile.ts";
import { evaluator } from "./evaluator.ts";
import type { ActionFrame, PolicySlice } from "./evaluator.ts";
import { meetObligations, sortedObligations } from "./obligations.ts";
import type { ReadPolicy } from "./policy.ts";
import { requestOf } from "./request.ts";
import type { Asked, CedarRequest, PolicyRequest } from "./request.ts";

/** Approvals that a checked grant brings: how many different members of `group` approved what `policy` asked for. */
export type Approved = { readonly policy: string; readonly group: string; readonly approvals: number };

export type Explanation = {
  readonly decision: Decision;
  /** The Cedar request that was asked; absent if none could be made. */
  readonly request?: CedarRequest;
  /** The arguments with which the call may happen, where obligations change it. */
  readonly effective?: JsonObject;
  /** Why it is undecidable. May quote arguments: for those who may read the run, not for logs. */
  readonly detail?: string;
};

/**
 * Decides one step. Pure, synchronous, and never throws: whatever cannot be decided is denied as `undecidable`.
 *
 * A forbid without `@decision` always wins. If only forbids that can be lifted fire, the permits are asked alone: nobody is asked
 * about what would be denied anyway. Then each forbid that people can lift must be satisfied by an approval for that policy and
 * group, with its quorum.
 *
 * A forbid with an obligation is lifted by meeting it. Arguments that change (redact, cap) make another call, so that is decided
 * too, and both have to be allowed: an approval that either needs is asked for, and what people then approve is the changed call.
 * So an obligation never opens what would be closed without it. What was redacted may fire again, since facts about the contents are
 * of the call as it was asked; what was capped may not, nor may an obligation that was not owed before.
 */
export function decide(
  compiled: CompiledPolicies,
  request: PolicyRequest,
  approved: readonly Approved[] = [],
): Decision {
  return explain(compiled, request, approved).decision;
}

/** {@link decide}, with what was asked of Cedar and what went wrong. */
export function explain(
  compiled: CompiledPolicies,
  request: PolicyRequest,
  approved: readonly Approved[] = [],
): Explanation {
  const asked = requestOf(compiled, request);
  if (asked.status === "undecidable") return { decision: deny("undecidable"), detail: asked.detail };
  const asAsked = weigh(compiled, request, asked);
  if (asAsked.status === "closed") return { request: asked.request, ...asAsked.conclusion };
  const obligations = sortedObligations(asAsked.lifted.flatMap(({ obligation }) => obligation ?? []));
  if (obligations.length === 0) return { request: asked.request, ...settle(compiled, [asAsked], [], approved) };
  return { request: asked.request, ...oblige(compiled, request, asked, asAsked, obligations, approved) };
}

type Ready = Extract<Asked, { status: "ready" }>;
type Conclusion = Pick<Explanation, "decision" | "detail" | "effective">;

/** What the policies say of one call, before approvals: closed for good, or open if every forbid in `lifted` is. */
type Verdict =
  | { readonly status: "closed"; readonly conclusion: Conclusion }
  | { readonly status: "open"; readonly permits: readonly ReadPolicy[]; readonly lifted: readonly ReadPolicy[] };
type Open = Extract<Verdict, { status: "open" }>;

function weigh(compiled: CompiledPolicies, { agent }: PolicyRequest, { request, slice }: Ready): Verdict {
  const policies = slice.of(agent);
  if (policies.screen !== undefined) {
    // If any forbid fires or fails, the answer is not one of these two, and each policy is asked for itself.
    const screened = evaluateSlice(compiled, request, policies.screen, slice.frame);
    if (screened.status === "allow") return { status: "open", permits: screened.determining, lifted: [] };
    if (screened.status === "deny" && screened.determining.length === 0) return closed("not_permitted");
  }
  const first = evaluateSlice(compiled, request, policies.all, slice.frame);
  if (first.status === "undecidable") return { status: "closed", conclusion: undecidable(first) };
  const { determining } = first;
  if (first.status === "allow") return { status: "open", permits: determining, lifted: [] };
  if (determining.length === 0) return closed("not_permitted");
  const lasting = determining.filter((policy) => policy.approval === undefined && policy.obligation === undefined);
  if (lasting.length > 0) return closed("forbidden", lasting);

  const second = evaluateSlice(compiled, request, policies.permits, slice.frame);
  if (second.status === "undecidable") return { status: "closed", conclusion: undecidable(second) };
  if (second.status === "deny") return closed("not_permitted");
  return { status: "open", permits: second.determining, lifted: determining };
}

/** The call with its obligations met: decided as a call of its own, where it is one. */
function oblige(
  compiled: CompiledPolicies,
  request: PolicyRequest,
  asked: Ready,
  asAsked: Open,
  obligations: readonly Obligation[],
  approved: readonly Approved[],
): Conclusion {
  const { step } = request;
  // A model call has neither arguments to change nor a result to do without.
  const args =
    step.kind === "tool" ? meetObligations(step.arguments, obligations, asked.slice.input ?? new Map()) : undefined;
  if (args === undefined || step.kind !== "tool") {
    const failed = reasons(asAsked.lifted.filter(({ obligation }) => obligation !== undefined));
    return undecidable({ detail: "an obligation cannot be met by this call", failed });
  }
  const changed =
    args === step.arguments ? asked : requestOf(compiled, { ...request, step: { ...step, arguments: args } });
  if (changed.status === "undecidable") return { decision: deny("undecidable"), detail: changed.detail };
  const asChanged = changed === asked ? asAsked : weigh(compiled, request, changed);
  if (asChanged.status === "closed") return asChanged.conclusion;
  const met = new Set(obligations.flatMap((one) => (one.kind === "cap" ? [] : [one.policy])));
  const unmet = asChanged.lifted.filter(({ id, obligation }) => obligation !== undefined && !met.has(id));
  if (unmet.length > 0) return { decision: deny("forbidden", reasons(unmet)) };
  const conclusion = settle(compiled, [asAsked, asChanged], obligations, approved);
  return changed === asked ? conclusion : { ...conclusion, effective: args };
}

/** What remains when nothing forbids: whether people have approved all that has to be approved. */
function settle(
  compiled: CompiledPolicies,
  verdicts: readonly Open[],
  obligations: readonly Obligation[],
  approved: readonly Approved[],
): Conclusion {
  const lifted = verdicts.flatMap((verdict) => verdict.lifted);
  const asking = policiesOf(
    compiled,
    lifted.filter(({ approval }) => approval !== undefined).map(({ id }) => id),
  );
  const requirements = asking.flatMap(({ approval }) => approval ?? []);
  const obliging = policiesOf(
    compiled,
    obligations.map(({ policy }) => policy),
  );
  const policies = reasons([...asking, ...obliging]);
  if (!requirements.every((requirement) => isSatisfied(requirement, approved))) {
    return { decision: { outcome: "require_approval", policies, requirements } };
  }
  return {
    decision: {
      outcome: "allow",
      policies: [...reasons(verdicts.at(-1)?.permits ?? []), ...policies],
      ...(obligations.length === 0 ? {} : { obligations }),
    },
  };
}

/** The policies of these ids, once each, in the order of their ids. */
function policiesOf(compiled: CompiledPolicies, ids: readonly string[]): ReadPolicy[] {
  return [...new Set(ids)].sort().flatMap((id) => compiled.policies.get(id) ?? []);
}

type Evaluation =
  | { readonly status: "allow" | "deny"; readonly determining: readonly ReadPolicy[] }
  | { readonly status: "undecidable"; readonly detail: string; readonly failed: readonly PolicyReason[] };

function isSatisfied({ policy, group, quorum }: ApprovalRequirement, approved: readonly Approved[]): boolean {
  return approved.some(
    (one) =>
      one.policy === policy && one.group === group && Number.isSafeInteger(one.approvals) && one.approvals >= quorum,
  );
}

function evaluateSlice(
  compiled: CompiledPolicies,
  request: CedarRequest,
  slice: PolicySlice,
  frame: ActionFrame,
): Evaluation {
  try {
    const answer = evaluator.evaluate(slice, frame, request);
    if (answer.type === "success") return evaluationOf(compiled, answer.response);
    return { status: "undecidable", detail: answer.errors[0]?.message ?? "cedar gave no reason", failed: [] };
  } catch {
    return { status: "undecidable", detail: "the policy engine failed", failed: [] };
  }
}

/** A forbid that fails is skipped by Cedar, which would open what it closes: so any failure means undecidable. */
function evaluationOf(compiled: CompiledPolicies, { decision, diagnostics }: Response): Evaluation {
  if (diagnostics.errors.length > 0) {
    return {
      status: "undecidable",
      detail: diagnostics.errors.map(({ error }) => error.message).join("; "),
      failed: diagnostics.errors
        .map(({ policyId }) => ({ policy: policyId, text: "failed while it was evaluated" }))
        .sort((a, b) => (a.policy < b.policy ? -1 : 1)),
    };
  }
  const determining = diagnostics.reason.toSorted().map((id) => compiled.policies.get(id));
  if (!determining.every((policy) => policy !== undefined)) {
    return { status: "undecidable", detail: "cedar named a policy that it was not given", failed: [] };
  }
  return { status: decision, determining };
}

function undecidable({ detail, failed }: Omit<Extract<Evaluation, { status: "undecidable" }>, "status">): Conclusion {
  return { decision: deny("undecidable", failed), detail };
}

function closed(code: DenialCode, policies: readonly ReadPolicy[] = []): Verdict {
  return { status: "closed", conclusion: { decision: deny(code, reasons(policies)) } };
}

function deny(code: DenialCode, policies: readonly PolicyReason[] = []): Decision {
  return { outcome: "deny", code, policies };
}

function reasons(policies: readonly ReadPolicy[]): PolicyReason[] {
  return policies.map(({ id, reason }) => ({ policy: id, text: reason }));
}
