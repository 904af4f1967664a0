import type { Response } from "@cedar-policy/cedar-wasm/nodejs";

import type { ApprovalRequirement, Decision, DenialCode, PolicyReason } from "../core/decision.ts";
import type { CompiledPolicies } from "./compile.ts";
import { evaluator } from "./evaluator.ts";
import type { NamedSchema, PolicySlice } from "./evaluator.ts";
import type { ReadPolicy } from "./policy.ts";
import { requestOf } from "./request.ts";
import type { CedarRequest, PolicyRequest } from "./request.ts";

/** Approvals that a checked grant brings: how many different members of `group` approved what `policy` asked for. */
export type Approved = { readonly policy: string; readonly group: string; readonly approvals: number };

export type Explanation = {
  readonly decision: Decision;
  /** The Cedar request that was asked; absent if none could be made. */
  readonly request?: CedarRequest;
  /** Why it is undecidable. May quote arguments: for those who may read the run, not for logs. */
  readonly detail?: string;
};

/**
 * Decides one step. Pure, synchronous, and never throws: whatever cannot be decided is denied as `undecidable`.
 *
 * A forbid without `@decision` always wins. If only forbids that people can lift fire, the step is decided again
 * without them: nobody is asked about what would be denied anyway. Then each of them must be satisfied by an
 * approval for that policy and group, with its quorum.
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
  const { slice } = asked;
  const evaluate = (policies: PolicySlice): Evaluation =>
    evaluateSlice(compiled, asked.request, policies, slice.schema);
  return { request: asked.request, ...conclude(evaluate(slice.all), () => evaluate(slice.unliftable), approved) };
}

type Evaluation =
  | { readonly status: "allow" | "deny"; readonly determining: readonly ReadPolicy[] }
  | { readonly status: "undecidable"; readonly detail: string; readonly failed: readonly PolicyReason[] };

type Conclusion = Pick<Explanation, "decision" | "detail">;

function conclude(first: Evaluation, withoutLiftable: () => Evaluation, approved: readonly Approved[]): Conclusion {
  if (first.status === "undecidable") return undecidable(first);
  if (first.status === "allow") return { decision: { outcome: "allow", policies: reasons(first.determining) } };
  const fired = first.determining;
  if (fired.length === 0) return { decision: deny("not_permitted") };
  const lasting = fired.filter((policy) => policy.approval === undefined);
  if (lasting.length > 0) return { decision: deny("forbidden", reasons(lasting)) };

  const second = withoutLiftable();
  if (second.status === "undecidable") return undecidable(second);
  if (second.status === "deny") {
    return {
      decision: deny(second.determining.length === 0 ? "not_permitted" : "forbidden", reasons(second.determining)),
    };
  }
  const requirements = fired.flatMap((policy) => (policy.approval === undefined ? [] : [policy.approval]));
  const policies = reasons(fired);
  if (!requirements.every((requirement) => isSatisfied(requirement, approved))) {
    return { decision: { outcome: "require_approval", policies, requirements } };
  }
  return { decision: { outcome: "allow", policies: [...reasons(second.determining), ...policies] } };
}

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
  schema: NamedSchema,
): Evaluation {
  try {
    const answer = evaluator.evaluate(slice, schema, request);
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

function undecidable({ detail, failed }: Extract<Evaluation, { status: "undecidable" }>): Conclusion {
  return { decision: deny("undecidable", failed), detail };
}

function deny(code: DenialCode, policies: readonly PolicyReason[] = []): Decision {
  return { outcome: "deny", code, policies };
}

function reasons(policies: readonly ReadPolicy[]): PolicyReason[] {
  return policies.map(({ id, reason }) => ({ policy: id, text: reason }));
}
