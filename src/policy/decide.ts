import { shortfallOf } from "../core/approved.ts";
import type { Approved } from "../core/approved.ts";
import type { Decision, DenialCode, Obligation, PolicyReason } from "../core/decision.ts";
import type { JsonObject } from "../core/json.ts";
import type { CompiledPolicies } from "./compile.ts";
import { evaluate, evaluateAll } from "./evaluation.ts";
import type { Evaluation } from "./evaluation.ts";
import { sortedObligations } from "./obligations.ts";
import { obliged } from "./obliged.ts";
import type { ReadPolicy } from "./policy.ts";
import { requestOf } from "./request.ts";
import type { Asked, CedarRequest, PolicyRequest } from "./request.ts";
import { responseAction } from "./schema.ts";

export type Explanation = {
  readonly decision: Decision;
  /** The Cedar request that was asked; absent if none could be made. */
  readonly request?: CedarRequest;
  /**
   * The arguments with which the call may happen, where obligations change it: all of a tool's, `maxOutputTokens` of a model's. Of an answer,
   * what goes further in its place.
   */
  readonly effective?: JsonObject;
  /** The request as obligations change it: who else is asked, is asked about that. */
  readonly made?: PolicyRequest;
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
 * Changed arguments that no longer fit the tool's JSON Schema make the call undecidable. So an obligation never opens what would be closed
 * without it. What was redacted in a call may fire again, since facts about the contents are of the call as it was asked; what was capped may
 * not, nor what an answer still holds, nor an obligation that was not owed before.
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
type Conclusion = Pick<Explanation, "decision" | "detail" | "effective" | "made">;

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

/** The step with its obligations met: decided as a step of its own, where it is one. */
function oblige(
  compiled: CompiledPolicies,
  request: PolicyRequest,
  asked: Ready,
  asAsked: Open,
  obligations: readonly Obligation[],
  approved: readonly Approved[],
): Conclusion {
  const made = obliged(request, asked.slice, obligations);
  if (made.status === "unmet") {
    const failed = reasons(asAsked.lifted.filter(({ obligation }) => obligation !== undefined));
    return undecidable({ detail: made.detail, failed });
  }
  const isAsAsked = made.request === request;
  const changed = isAsAsked ? asked : requestOf(compiled, made.request);
  if (changed.status === "undecidable") return { decision: deny("undecidable"), detail: changed.detail };
  const asChanged = isAsAsked ? asAsked : weigh(compiled, request, changed);
  if (asChanged.status === "closed") return asChanged.conclusion;
  const unmet = asChanged.lifted.filter(({ id, obligation }) => obligation !== undefined && !made.met.has(id));
  if (unmet.length > 0) return { decision: deny("forbidden", reasons(unmet)) };
  const conclusion = settle(compiled, [asAsked, asChanged], obligations, approved);
  if (isAsAsked) return conclusion;
  const { effective } = made;
  return { ...conclusion, made: made.request, ...(effective === undefined ? {} : { effective }) };
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
