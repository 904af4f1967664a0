import type { Decision, RunFacts } from "../../core/decision.ts";
import type { ApprovalId, Digest } from "../../core/ids.ts";
import type { LedgerEvent } from "../../core/ledger-event.ts";
import type { Tx } from "../../store/index.ts";
import { chargeSql } from "../budgets/charge.ts";
import type { Charge } from "../budgets/charge.ts";
import { isShadow } from "../decision/asked.ts";
import { decidedEvent } from "../decision/events.ts";
import { GateError } from "../errors.ts";
import type { RunContext } from "../governed-call.ts";
import type { ResolvedModelStep } from "../step/resolve.ts";

export type AnswerDecision = {
  readonly run: RunContext;
  readonly step: ResolvedModelStep;
  readonly activity: string;
  readonly decision: Decision;
  readonly facts: RunFacts & { readonly response: NonNullable<RunFacts["response"]> };
  readonly policySet: Digest;
  readonly request: Digest;
  /** The request that was opened, or the grant that was consumed or refused. */
  readonly approval: ApprovalId | undefined;
  /** Digest of what obligations made of the answer, where they changed it. */
  readonly effective: Digest | undefined;
};

/**
 * Writes a decision on a model's answer as the next one on its step, and returns its ledger event. The run's row MUST be locked by the
 * transaction.
 */
export async function writeAnswerDecision(tx: Tx, d: AnswerDecision): Promise<LedgerEvent> {
  const { run, step, decision, facts } = d;
  const policies = decision.policies.map((reason) => reason.policy);
  const code = decision.outcome === "deny" ? decision.code : undefined;
  const at = new Date(facts.at);
  const { rows } = await tx.query<{ n: number }>(
    `with counted as (update run set decisions = decisions + 1 where id = $1)
     insert into decision (run, seq, n, activity, outcome, code, policies, policy_set, facts, request, approval, at, effective, shadow)
     select $1, $2, (select coalesce(max(n) + 1, 0) from decision where run = $1 and seq = $2), $3, $4, $5, $6::text[], $7, $8::jsonb, $9,
       $10, $11, $12, $13
     returning n`,
    [
      run.id,
      step.seq,
      d.activity,
      decision.outcome,
      code ?? null,
      policies,
      d.policySet,
      facts,
      d.request,
      d.approval ?? null,
      at,
      d.effective ?? null,
      isShadow(decision),
    ],
  );
  return decidedEvent({ ...d, n: rows[0]?.n ?? 0, answer: facts.response.answer, shadow: isShadow(decision), now: at });
}

/**
 * Ends a step whose answer waited for people, and returns what its call took. Throws `already_recorded` where it does not wait any more, and
 * `run_not_open`.
 */
export async function answerAgain(
  tx: Tx,
  { run, step, result, now }: { run: RunContext; step: ResolvedModelStep; result: Digest; now: Date },
): Promise<Charge> {
  // The run first, as everywhere.
  const { rows: open } = await tx.query("select from run where id = $1 and status = 'running' for no key update", [
    run.id,
  ]);
  if (open.length === 0) throw new GateError("run_not_open", "the run is closed");
  const { rows } = await tx.query<{ taken: Charge }>(
    `update step set state = 'done', result = $3, finished_at = $4 where run = $1 and seq = $2 and state = 'waiting' and action = $5
     returning ${chargeSql} as taken`,
    [run.id, step.seq, result, now, step.actionDigest],
  );
  const [ended] = rows;
  if (ended === undefined) throw new GateError("already_recorded", "the answer was decided on already");
  return ended.taken;
}
