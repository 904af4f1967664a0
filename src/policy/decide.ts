import { shortfallOf } from "../core/approved.ts";
import type { Approved } from "../core/approved.ts";
import type { Decision, DenialCode, Obligation, PolicyReason } from "../core/decision.ts";
import type { JsonObject, JsonSchema } from "../core/json.ts";
import { fits } from "../tools/arguments.ts";
import type { CompiledPolicies } from "./compile.ts";
import { evaluate, evaluateAll } from "./evaluation.ts";
import type { Evaluation } from "./evaluation.ts";
import { meetObligations, sortedObligations } from "./obligations.ts";
import type { ReadPolicy } from "./policy.ts";
import { requestOf } from "./request.ts";
import type { Asked, CedarRequest, PolicyRequest } from "./request.ts";
import { responseAction } from "./schema.ts";

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
 * group, with its quorum, that was asked for on no easier terms than the forbid asks for now.
 *
 * A forbid with an obligation is lifted by meeting it. Arguments that change (redact, cap) make another call, so that is decided
 * too, and both have to be allowed: an approval that either needs is asked for, and what people then approve is the changed call.
 * Changed arguments that no longer fit the tool's JSON Schema make the call undecidable. So an obligation never opens what would be closed without it. What was redacted may fire again, since facts about the contents are
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
  // Nobody asked for answers to be decided on.
  if (request.step.kind === "response" && !compiled.slices.has(responseAction))
    return { decision: { outcome: "allow", policies: [] } };
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
  const first = evaluateAll(compiled, policies, slice.frame, request);
  if (first.status === "undecidable") return { status: "closed", conclusion: undecidable(first) };
  const { determining } = first;
  if (first.status === "allow") return { status: "open", permits: determining, lifted: [] };
  if (determining.length === 0) return closed("not_permitted");
  const lasting = determining.filter((policy) => policy.approval === undefined && policy.obligation === undefined);
  if (lasting.length > 0) return closed("forbidden", lasting);

  const second = evaluate(compiled, policies.permits, slice.frame, request);
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
  const args = !("arguments" in step)
    ? undefined
    : meetObligations(step.arguments, obligations, asked.slice.input ?? new Map());
  if (args === undefined || !("arguments" in step)) {
    const failed = reasons(asAsked.lifted.filter(({ obligation }) => obligation !== undefined));
    return undecidable({ detail: "an obligation cannot be met by this call", failed });
  }
  // The tool was promised arguments that fit: what a policy made of them has to as well.
  const fault = args === step.arguments ? undefined : schemaFaultOf(args, asked.slice.parameters);
  if (fault !== undefined) {
    const failed = reasons(asAsked.lifted.filter(({ obligation }) => obligation !== undefined));
    return undecidable({ detail: `what an obligation makes of the arguments does not fit the tool: ${fault}`, failed });
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

/** Undefined where they fit. A tool whose schema is not known takes nothing that was changed. */
function schemaFaultOf(args: JsonObject, parameters: JsonSchema | undefined): string | undefined {
  if (parameters === undefined) return "it has no schema";
  const fitting = fits(args, parameters);
  return fitting.ok ? undefined : fitting.problem;
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
  const requirements = asking.flatMap(({ approval = [] }) => approval);
  const obliging = policiesOf(
    compiled,
    obligations.map(({ policy }) => policy),
  );
  const policies = reasons([...asking, ...obliging]);
  if (!requirements.every((requirement) => shortfallOf(requirement, approved) === undefined)) {
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
