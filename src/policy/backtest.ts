import { cosigningOf } from "../core/decision.ts";
import type { Approved } from "../core/approved.ts";
import type { ApprovalRequirement, Decision, Obligation } from "../core/decision.ts";
import type { Digest } from "../core/ids.ts";
import type { JsonObject } from "../core/json.ts";
import { contentDigest } from "../store/canonical.ts";
import type { CompiledPolicies } from "./compile.ts";
import { explain } from "./decide.ts";
import { evaluator, policySlice } from "./evaluator.ts";
import type { ReadPolicy } from "./policy.ts";
import { factsRead } from "./facts-seen.ts";
import type { SeenFact } from "./facts-seen.ts";
import { requestOf } from "./request.ts";
import type { PolicyRequest } from "./request.ts";

export const changeKinds = ["newly_denied", "newly_gated", "newly_allowed", "altered", "unchanged"] as const;
/** What becomes of a call under other policies. `altered`: allowed as before, but changed by an obligation, or no longer so. */
export type ChangeKind = (typeof changeKinds)[number];

/** As much of a decision as two of them are compared by. */
export type Verdict = {
  readonly outcome: Decision["outcome"];
  readonly code: string | null;
  readonly policies: readonly string[];
  /** Of the arguments that obligations change the call to. */
  readonly effective: Digest | null;
  readonly shadow: boolean;
  /** Witnesses that have to cosign before the call is made. */
  readonly witnesses: number;
};

/** `salt`: of the run, where the verdict is compared with what is recorded of it. */
export function verdictOf(decision: Decision, effective?: JsonObject, salt?: string): Verdict {
  const isAllowed = decision.outcome === "allow";
  return {
    outcome: decision.outcome,
    code: decision.outcome === "deny" ? decision.code : null,
    policies: decision.policies.map(({ policy }) => policy),
    effective: decision.outcome === "deny" || effective === undefined ? null : contentDigest(salt, effective),
    shadow: isAllowed && (decision.obligations ?? []).some(({ kind }) => kind === "shadow"),
    witnesses: cosigningOf(decision)?.witnesses ?? 0,
  };
}

/** Which policies determined a decision, and with what code it was denied, is not what becomes of the call. */
export function changeOf(from: Verdict, to: Verdict): ChangeKind {
  if (from.outcome !== to.outcome) {
    return to.outcome === "deny" ? "newly_denied" : to.outcome === "allow" ? "newly_allowed" : "newly_gated";
  }
  const isSameCall = from.effective === to.effective && from.shadow === to.shadow && from.witnesses === to.witnesses;
  return to.outcome !== "allow" || isSameCall ? "unchanged" : "altered";
}

/** The policy that a change is put down to: one that now holds the call back, or that no longer does; else the code. */
export function causeOf(from: Verdict, to: Verdict): string {
  const [first] = (to.outcome === "allow" && from.outcome !== "allow" ? from : to).policies.toSorted();
  return first ?? to.code ?? "";
}

/**
 * What a candidate set would have done with a call that was decided already. `undefined` stands for a set that does not fit the release:
 * the gate denies everything then. Pure; never throws.
 */
export function shadowDecide(
  candidate: CompiledPolicies | undefined,
  request: PolicyRequest,
  actual: Verdict,
  approved: readonly Approved[] = [],
): { readonly kind: ChangeKind; readonly cause: string } {
  const to = candidate === undefined ? unfit : verdictUnder(candidate, request, approved);
  return { kind: changeOf(actual, to), cause: causeOf(actual, to) };
}

function verdictUnder(candidate: CompiledPolicies, request: PolicyRequest, approved: readonly Approved[]): Verdict {
  const { decision, effective } = explain(candidate, request, approved);
  return verdictOf(decision, effective);
}

/** Of every call under a set that cannot be compiled for its release. */
export const unfit: Verdict = {
  outcome: "deny",
  code: "undecidable",
  policies: ["gate:undecidable"],
  effective: null,
  shadow: false,
  witnesses: 0,
};

/** A policy that was looked at for a call. */
export type ConsideredPolicy = {
  readonly policy: string;
  readonly effect: "permit" | "forbid";
  readonly text: string;
  readonly reason: string;
  /** Its scope and conditions hold for this call. */
  readonly matched: boolean;
  /** Who can lift it. */
  readonly approval?: readonly ApprovalRequirement[];
  readonly obligation?: Obligation;
  /** What it looks at, as the call has it. */
  readonly looksAt: readonly SeenFact[];
};

/**
 * Every policy whose scope is about the call's action and agent, and whether it matches. A decision names only those that determined it:
 * under a forbid, the permits that match are not among them. Undefined where no request can be made of the call.
 */
export function consideredFor(
  compiled: CompiledPolicies,
  request: PolicyRequest,
): readonly ConsideredPolicy[] | undefined {
  const asked = requestOf(compiled, request);
  if (asked.status === "undecidable") return undefined;
  const ids = Object.keys(asked.slice.of(request.agent).all.policies).sort();
  const policies = ids.flatMap((id) => compiled.policies.get(id) ?? []);
  // With only policies of one effect, all that match determine the decision.
  const matched = (["permit", "forbid"] as const).flatMap((effect) => {
    const own = policySlice(policies.filter((policy) => policy.effect === effect));
    const answer = evaluator.evaluate(own, asked.slice.frame, asked.request);
    return answer.type === "success" ? answer.response.diagnostics.reason : [];
  });
  return policies.map((policy) => ({
    ...consideredOf(policy, matched.includes(policy.id)),
    looksAt: factsRead(asked.request, policy.reads),
  }));
}

function consideredOf(policy: ReadPolicy, matched: boolean): Omit<ConsideredPolicy, "looksAt"> {
  const { id, effect, text, reason, approval, obligation } = policy;
  return {
    policy: id,
    effect,
    text,
    reason,
    matched,
    ...(approval === undefined ? {} : { approval }),
    ...(obligation === undefined ? {} : { obligation }),
  };
}
