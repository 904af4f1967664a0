/** What of a decision follows from the record alone: the gate and an auditor work it out alike. */
import { exhausted } from "../../core/budget.ts";
import { shortfallOf } from "../../core/approved.ts";
import type { Approved } from "../../core/approved.ts";
import type { BudgetFacts, Exhausted } from "../../core/budget.ts";
import type { Decision, RunFacts } from "../../core/decision.ts";
import type { PolicyRequest, RedactionOf } from "../../policy/index.ts";
import type { RunContext } from "../governed-call.ts";
import type { ResolvedStep } from "../step/resolve.ts";

/**
 * A decision with what the budgets say: a step that has no room asks the people of its budgets, beside those whom policies ask. Nobody
 * is asked about what is denied, and what was approved is not asked again.
 */
export function withBudgets(decision: Decision, over: readonly Exhausted[], approved: readonly Approved[]): Decision {
  const open = over.filter(({ requirement }) => shortfallOf(requirement, approved) !== undefined);
  if (open.length === 0 || decision.outcome === "deny") return decision;
  const asked = decision.outcome === "require_approval" ? decision : { policies: [], requirements: [] };
  return {
    outcome: "require_approval",
    policies: [...asked.policies, ...open.map(({ reason }) => reason)],
    requirements: [...asked.requirements, ...open.map(({ requirement }) => requirement)],
  };
}

/** The same for a recorded decision: what the budgets said is worked out again from what is recorded of them. */
export function exhaustedBy(budget: BudgetFacts | undefined): readonly Exhausted[] {
  return budget === undefined ? [] : exhausted(budget);
}

/**
 * What the engine is asked about a step: about the model's answer where the facts are of one, and else about the call. `redacted`: makes the
 * answer without some classes of data, for who has it.
 */
export function policyRequestOf(
  run: RunContext,
  step: ResolvedStep,
  facts: RunFacts,
  redacted?: RedactionOf,
): PolicyRequest {
  const { document } = run.release;
  return {
    agent: {
      team: run.team,
      name: run.agent,
      release: run.release.digest,
      useCase: document.useCase,
      riskTier: document.riskTier,
    },
    run: {
      id: run.id,
      requestedBy: run.requestedBy,
      ...(run.input.subject === undefined ? {} : { subject: run.input.subject }),
    },
    step:
      facts.response !== undefined
        ? {
            kind: "response",
            model: step.name,
            response: facts.response,
            ...(redacted === undefined ? {} : { redacted }),
          }
        : step.kind === "model"
          ? { kind: "model", model: step.name, maxOutputTokens: document.model.maxOutputTokens }
          : { kind: step.kind, tool: step.name, arguments: step.args },
    facts,
  };
}

/** Whether the call is to be recorded only. */
export function isShadow(decision: Decision): boolean {
  return decision.outcome === "allow" && (decision.obligations ?? []).some(({ kind }) => kind === "shadow");
}
