/** What rows look like to callers. */
import type { DecisionView, FreezeView, RunView, StepView } from "../api/index.ts";
import { denialCodes } from "../core/decision.ts";
import type { DenialCode } from "../core/decision.ts";
import type { FreezeInForce } from "../registry/index.ts";
import type { DecisionRow, RunRow, StepRow } from "../store/index.ts";

export function viewOfRun(row: RunRow): RunView {
  return {
    id: row.id,
    team: row.team,
    agent: row.agent,
    release: row.release,
    status: row.status,
    requestedBy: row.requestedBy,
    createdAt: row.createdAt.toISOString(),
    startedAt: row.startedAt?.toISOString() ?? null,
    closedAt: row.closedAt?.toISOString() ?? null,
    failure: row.failure,
    steps: row.steps,
    maxSteps: row.maxSteps,
    spentMicroUsd: row.spentMicroUsd,
    maxCostMicroUsd: row.maxCostMicroUsd,
    spentTokens: row.spentTokens,
    maxTokens: row.maxTokens,
    spentCalls: row.spentCalls,
    maxCalls: row.maxCalls,
    contentsErasedAt: row.contentsErasedAt?.toISOString() ?? null,
  };
}

export function viewOfStep(row: StepRow): StepView {
  return {
    seq: row.seq,
    kind: row.kind,
    name: row.name,
    state: row.state,
    action: row.action,
    askedBy: row.askedBy,
    callIndex: row.callIndex,
    costMicroUsd: row.costMicroUsd,
    tokens: {
      input: row.inputTokens,
      cachedInput: row.cachedInputTokens,
      output: row.outputTokens,
      reasoning: row.reasoningTokens,
    },
    decidedAt: row.decidedAt.toISOString(),
    finishedAt: row.finishedAt?.toISOString() ?? null,
    cosigning: row.cosigning,
    checkpoint: row.coveredSize,
    code: row.code,
  };
}

export function viewOfDecision(row: DecisionRow): DecisionView {
  return {
    seq: row.seq,
    n: row.n,
    about: row.facts.response === undefined ? "call" : "answer",
    outcome: row.outcome,
    code: row.code !== null && isDenialCode(row.code) ? row.code : null,
    policies: [...row.policies],
    policySet: row.policySet,
    approval: row.approval,
    standingGrant: row.standingGrant,
    cosigned:
      row.witnesses === null || row.cosignBy === null
        ? null
        : { witnesses: row.witnesses, by: row.cosignBy.toISOString() },
    at: row.at.toISOString(),
  };
}

export function viewOfFreeze(freeze: FreezeInForce): FreezeView {
  return { ...freeze, at: freeze.at.toISOString() };
}

function isDenialCode(code: string): code is DenialCode {
  return denialCodes.some((known) => known === code);
}
