import type { Response } from "@cedar-policy/cedar-wasm/nodejs";

import type { PolicyReason } from "../core/decision.ts";
import type { CompiledPolicies } from "./compile.ts";
import { evaluator } from "./evaluator.ts";
import type { ActionFrame, PolicySlice, Screen } from "./evaluator.ts";
import { noneHolds } from "./guards.ts";
import type { ReadPolicy } from "./policy.ts";
import type { CedarRequest } from "./request.ts";
import type { AgentSlice } from "./slices.ts";

/** What Cedar says of a request: every policy that determines it, or why nothing can be said. */
export type Evaluation =
  | { readonly status: "allow" | "deny"; readonly determining: readonly ReadPolicy[] }
  | { readonly status: "undecidable"; readonly detail: string; readonly failed: readonly PolicyReason[] };

/** Parts that are asked one by one; with more of them, all policies together are faster. */
const maxParts = 2;

/** Never throws: an engine that fails can say nothing. */
export function evaluate(
  compiled: CompiledPolicies,
  slice: PolicySlice,
  frame: ActionFrame,
  request: CedarRequest,
): Evaluation {
  const answer = ask(slice, frame, request);
  return typeof answer === "string"
    ? { status: "undecidable", detail: answer, failed: [] }
    : evaluationOf(compiled, answer);
}

/** The same as {@link evaluate} with all of an agent's policies, by way of its guards and its screen where there are any. */
export function evaluateAll(
  compiled: CompiledPolicies,
  policies: AgentSlice,
  frame: ActionFrame,
  request: CedarRequest,
): Evaluation {
  if (policies.guards !== undefined && noneHolds(policies.guards, request))
    return evaluate(compiled, policies.permits, frame, request);
  const screened = policies.screen && evaluateScreened(compiled, policies.screen, frame, request);
  return screened ?? evaluate(compiled, policies.all, frame, request);
}

/**
 * Undefined where the screen does not settle it. Forbids of a part that neither fires nor fails neither fire nor fail; those of
 * a part that fires are asked one by one, since the first to fire hides whether another does, or fails.
 */
function evaluateScreened(
  compiled: CompiledPolicies,
  screen: Screen,
  frame: ActionFrame,
  request: CedarRequest,
): Evaluation | undefined {
  const answer = ask(screen.slice, frame, request);
  if (typeof answer === "string" || answer.diagnostics.errors.length > 0) return undefined;
  const fired = answer.diagnostics.reason.filter((id) => screen.parts.has(id));
  if (fired.length === 0) return evaluationOf(compiled, answer);
  if (fired.length > maxParts) return undefined;
  const reason = answer.diagnostics.reason.filter((id) => !screen.parts.has(id));
  for (const id of fired) {
    const slice = screen.parts.get(id);
    const part = slice === undefined ? "no such part" : ask(slice, frame, request);
    if (typeof part === "string" || part.diagnostics.errors.length > 0 || part.diagnostics.reason.length === 0) {
      return undefined;
    }
    reason.push(...part.diagnostics.reason);
  }
  return evaluationOf(compiled, { decision: "deny", diagnostics: { reason, errors: [] } });
}

/** Cedar's answer, or why there is none. */
function ask(slice: PolicySlice, frame: ActionFrame, request: CedarRequest): Response | string {
  try {
    const answer = evaluator.evaluate(slice, frame, request);
    return answer.type === "success" ? answer.response : (answer.errors[0]?.message ?? "cedar gave no reason");
  } catch {
    return "the policy engine failed";
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
