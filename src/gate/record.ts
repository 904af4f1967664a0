import type { StepKind } from "../core/action.ts";
import { exhausted, noAmounts, periodStart } from "../core/budget.ts";
import type { Decision, RunFacts } from "../core/decision.ts";
import { codeOf } from "../core/errors.ts";
import type { ApprovalId, Digest, GrantId, RunId } from "../core/ids.ts";
import type { LedgerEvent } from "../core/ledger-event.ts";
import type { TokenUsage } from "../core/money.ts";
import type { RunStatus } from "../core/run.ts";
import type { SealedPayload, StepState, Tx } from "../store/index.ts";
import { budgetFacts, budgetsSql, holdOf, lockOrder, openPeriods } from "./budgets.ts";
import type { BudgetStanding } from "./budgets.ts";
import { GateError } from "./errors.ts";
import { freezeSql, frozenFailure } from "./freeze.ts";
import type { Freeze } from "./freeze.ts";
import type { RunContext } from "./governed-call.ts";
import { runEvent } from "./run-event.ts";
import type { ResolvedStep } from "./resolve.ts";

/** What the record says before a step is decided on, read in one round trip. */
export type Standing = {
  readonly runStatus: RunStatus;
  readonly steps: number;
  readonly maxSteps: number;
  readonly spentMicroUsd: number;
  readonly heldMicroUsd: number;
  readonly maxCostMicroUsd: number;
  readonly spentTokens: number;
  readonly heldTokens: number;
  /** Null: no limit. */
  readonly maxTokens: number | null;
  readonly spentCalls: number;
  readonly heldCalls: number;
  readonly maxCalls: number | null;
  readonly watched: boolean;
  readonly sameName: number;
  readonly policySet: Digest | null;
  readonly state: StepState | null;
  readonly action: Digest | null;
  readonly result: Digest | null;
  readonly kind: string | null;
  readonly decisions: number;
  /** Of the whole run: a decision made by this standing is written only while it is the same. */
  readonly runDecisions: number;
  readonly lastActivity: string | null;
  readonly lastApproval: ApprovalId | null;
  /** Digest of the arguments that the last decision changed the call to. */
  readonly lastEffective: Digest | null;
  readonly lastShadow: boolean;
  readonly lastPolicySet: Digest | null;
  /** The answer that the last decision was on; null where it was on the call. */
  readonly lastAnswer: Digest | null;
  /** The request whose edit the last decision was made on. */
  readonly lastEdit: ApprovalId | null;
  /** Of who asked for the run, now. */
  readonly requesterRoles: readonly string[];
  readonly requesterGroups: readonly string[];
  /** Grants that the run has consumed. */
  readonly approvals: number;
  /** Of the run's team and agent, in the order in which they are locked. */
  readonly budgets: readonly BudgetStanding[];
};

type StandingRow = Omit<Standing, "budgets"> & {
  readonly budgets: readonly BudgetStanding[] | null;
  readonly freeze: Freeze | null;
};

/**
 * Throws `unknown_run`, and a failure to try again after where the step is frozen and something could still come of it: also an effect
 * that was allowed is not begun then. Without its `kind`, a model that has the name of a frozen tool is frozen too.
 */
export async function readStanding(
  tx: Tx,
  run: RunContext,
  seq: number,
  name: string,
  now: Date,
  kind: StepKind = "tool",
): Promise<Standing> {
  const { freeze, budgets, ...standing } = await standingRow(tx, run, seq, name, now, kind);
  if (freeze !== null && standing.runStatus === "running" && !isOver(standing.state)) throw frozenFailure(freeze);
  const missing = (budgets ?? []).filter(({ use }) => use === null);
  if (missing.length === 0) return { ...standing, budgets: budgets ?? [] };
  await openPeriods(tx, run.team, missing, now);
  return readStanding(tx, run, seq, name, now, kind);
}

function isOver(state: StepState | null): boolean {
  return state !== null && state !== "waiting" && state !== "intended";
}

async function standingRow(
  tx: Tx,
  run: RunContext,
  seq: number,
  name: string,
  now: Date,
  kind: StepKind,
): Promise<StandingRow> {
  const { rows } = await tx.query<StandingRow>(
    `select run.status as "runStatus", run.steps, run.max_steps as "maxSteps", run.spent_micro_usd as "spentMicroUsd",
       run.held_micro_usd as "heldMicroUsd", run.decisions as "runDecisions", run.max_cost_micro_usd as "maxCostMicroUsd",
       run.spent_tokens as "spentTokens", run.held_tokens as "heldTokens", run.max_tokens as "maxTokens",
       run.spent_calls as "spentCalls", run.held_calls as "heldCalls", run.max_calls as "maxCalls",
       coalesce(run.watched_until > $5, false) as watched,
       (select count(*) from step other where other.run = run.id and other.name = $3 and other.seq <> $2
          and other.state in ('intended', 'done', 'failed', 'unknown')) as "sameName",
       (select policy_set from policy_activation where team = $4 order by id desc limit 1) as "policySet",
       step.state, step.action, step.result, step.kind,
       coalesce(last.n + 1, 0) as decisions, last.activity as "lastActivity", last.approval as "lastApproval",
       last.effective as "lastEffective", coalesce(last.shadow, false) as "lastShadow",
       last.policy_set as "lastPolicySet", last.answer as "lastAnswer", last.edit as "lastEdit",
       coalesce(requester.roles, '{}') as "requesterRoles", coalesce(requester.groups, '{}') as "requesterGroups",
       (select count(*) from approval_request used where used.run = run.id and used.state = 'consumed') as approvals,
       ${freezeSql("$4", "$6", "$7")} as freeze, ${budgetsSql("$4", "$6", "$5::timestamptz")} as budgets
     from run
     left join step on step.run = run.id and step.seq = $2
     left join principal requester on requester.id = run.requested_by
     left join lateral (select n, activity, approval, effective, shadow, edit, policy_set, facts #>> '{response,answer}' as answer from decision
                        where decision.run = run.id and decision.seq = $2
                        order by n desc limit 1) last on true
     where run.id = $1`,
    [run.id, seq, name, run.team, now, run.agent, kind === "tool" ? name : ""],
  );
  const standing = rows[0];
  if (standing === undefined) throw new GateError("unknown_run", `run \`${run.id}\` is not registered`);
  return standing;
}

export type DecisionToRecord = {
  readonly run: RunContext;
  readonly step: ResolvedStep;
  readonly standing: Standing;
  readonly decision: Decision;
  readonly policySet: Digest;
  readonly facts: RunFacts;
  readonly request: Digest;
  readonly activity: string;
  /** The request that was opened, or the grant that was consumed. */
  readonly approval: ApprovalId | undefined;
  /** The arguments that obligations changed the call to. */
  readonly effective: SealedPayload | undefined;
  readonly shadow: boolean;
  /** The request whose edit it was made on: `step` is the call as the agent asked for it. */
  readonly edit?: ApprovalId | undefined;
  /** The standing grant that it was made by. */
  readonly standingGrant?: GrantId | undefined;
  /** A denial, as the model will read it. */
  readonly result: SealedPayload | undefined;
  readonly now: Date;
};

/**
 * Writes a decision with its step, what it holds of its budgets and, where it allows, the intent: one statement, all or nothing. Rows are
 * locked in one order everywhere: budgets, run, step. Throws `limit_steps`, `limit_cost` or `run_not_open` where there is no room for
 * it, and `already_recorded` where what it goes by has changed, a freeze or a new budget included; nothing is written then.
 */
export async function writeDecision(tx: Tx, d: DecisionToRecord): Promise<void> {
  const { run, step, decision, now } = d;
  const tool = step.kind === "tool" ? step : undefined;
  const state = stateAfter(decision);
  const counted = d.standing.state === null ? 1 : 0;
  const budgets = state === "intended" ? d.standing.budgets : [];
  // The period that was read is the one to be charged.
  if (budgets.some(({ starts, period }) => periodStart(period, now).getTime() !== starts)) throw changed();
  const hold = state === "intended" ? holdOf(step, run) : noAmounts;
  const written = tx.query(
    `with locked as materialized (
       select $4::bigint = 0 or given.max_micro_usd is null
           or u.spent_micro_usd + u.held_micro_usd + $4::bigint <= given.max_micro_usd + u.extended_micro_usd as has_money,
         $27::bigint = 0 or given.max_tokens is null
           or u.spent_tokens + u.held_tokens + $27::bigint <= given.max_tokens + u.extended_tokens as has_tokens,
         given.max_calls is null or u.spent_calls + u.held_calls + 1 <= given.max_calls + u.extended_calls as has_calls
       from budget_use u
       join unnest($26::bigint[], $28::bigint[], $29::bigint[], $30::bigint[]) as given (id, max_micro_usd, max_tokens, max_calls) using (id)
       order by ${lockOrder} for no key update of u),
     room as (
       update run set steps = steps + $3::int, held_micro_usd = held_micro_usd + $4::bigint, held_tokens = held_tokens + $27::bigint,
         held_calls = held_calls + $37::int, decisions = decisions + 1
       -- The budgets come first: this is known before the run's row is locked.
       where cardinality($26::bigint[]) = (select count(*) from locked where has_money and has_tokens and has_calls)
         and id = $1 and status = 'running' and decisions = $25::int and steps + $3::int <= max_steps
         and ($4::bigint = 0 or spent_micro_usd + held_micro_usd + $4::bigint <= max_cost_micro_usd)
         and ($27::bigint = 0 or max_tokens is null or spent_tokens + held_tokens + $27::bigint <= max_tokens)
         and ($37::int = 0 or max_calls is null or spent_calls + held_calls + $37::int <= max_calls)
         and $31::bigint = (select coalesce(max(id), 0) from budget_event where team = $32 and agent in ('', $33))
         and ${freezeSql("$32", "$33", "$34")} is null
       returning id),
     held as (
       update budget_use u set held_micro_usd = u.held_micro_usd + $4::bigint, held_tokens = u.held_tokens + $27::bigint,
         held_calls = u.held_calls + 1
       from room where u.id = any($26::bigint[])),
     placed as (
       insert into step (run, seq, kind, name, action, arguments, asked_by, call_index, call_id, state, result, held_micro_usd,
                         held_tokens, budgets, decided_at, finished_at)
       select room.id, $2::int, $5::text, $6::text, $7::text, $8::text, $9::int, $10::int, $11::text, $12::text, $13::text, $4::bigint,
         $27::bigint, nullif($26::bigint[], '{}'), $14::timestamptz, case when $12::text = 'denied' then $14::timestamptz end from room
       on conflict (run, seq) do update set state = excluded.state, result = excluded.result, held_micro_usd = excluded.held_micro_usd,
         held_tokens = excluded.held_tokens, budgets = excluded.budgets, decided_at = excluded.decided_at,
         finished_at = excluded.finished_at
         where step.state = 'waiting' and step.action = excluded.action
       returning run),
     decided as (
       insert into decision (run, seq, n, activity, outcome, code, policies, policy_set, facts, request, approval, at, effective,
                             shadow, edit, standing_grant)
       select run, $2::int, $15::int, $16::text, $17::text, $18::text, $19::text[], $20::text, $21::jsonb, $22::text, $23::text,
         $14::timestamptz, $35::text, $36::boolean, $38::text, $39::text from placed),
     intended as (
       insert into effect (run, seq, idempotency_key, state, intended_at)
       select run, $2::int, $24::text, 'intended', $14::timestamptz from placed where $12::text = 'intended')
     -- Nothing placed divides by zero: the whole transaction fails, and needs no look from here.
     select 1 / count(*) as room from placed`,
    [
      run.id,
      step.seq,
      counted,
      hold.microUsd,
      step.kind,
      step.name,
      step.actionDigest,
      step.arguments,
      tool?.askedBy ?? null,
      tool?.callIndex ?? null,
      tool?.callId ?? null,
      state,
      d.result?.digest ?? null,
      now,
      d.standing.decisions,
      d.activity,
      decision.outcome,
      decision.outcome === "deny" ? decision.code : null,
      decision.policies.map((reason) => reason.policy),
      d.policySet,
      d.facts,
      d.request,
      d.approval ?? null,
      idempotencyKeyOf(run.id, step.seq),
      d.standing.runDecisions,
      budgets.map(({ use }) => use),
      hold.tokens,
      budgets.map(({ limits }) => limits.microUsd),
      budgets.map(({ limits }) => limits.tokens),
      budgets.map(({ limits }) => limits.calls),
      Math.max(0, ...d.standing.budgets.map(({ event }) => event)),
      run.team,
      run.agent,
      step.kind === "tool" ? step.name : "",
      d.effective?.digest ?? null,
      d.shadow,
      hold.calls,
      d.edit ?? null,
      d.standingGrant ?? null,
    ],
  );
  await written.catch((error: unknown) => {
    if (isMadeBefore(error)) throw new GateError("invalid_step", "another step of the run is for the same call");
    throw codeOf(error) === divisionByZero ? noRoom(d, counted) : error;
  });
}

function isMadeBefore(error: unknown): boolean {
  return error instanceof Error && "constraint" in error && error.constraint === "step_of_call";
}

/** SQLSTATE of what a statement here does when it found nothing to do. */
export const divisionByZero = "22012";

function stateAfter(decision: Decision): "intended" | "denied" | "waiting" {
  switch (decision.outcome) {
    case "allow":
      return "intended";
    case "deny":
      return "denied";
    case "require_approval":
      return "waiting";
  }
}

function noRoom({ standing, run, step, decision }: DecisionToRecord, counted: number): GateError {
  if (standing.runStatus !== "running") return new GateError("run_not_open", `run is ${standing.runStatus}`);
  if (standing.steps + counted > standing.maxSteps) {
    return new GateError("limit_steps", `the run has used its ${standing.maxSteps} steps`);
  }
  const [first] = decision.outcome === "allow" ? exhausted(budgetFacts(standing, run, step)) : [];
  // Parallel steps took the room in between, or the step is recorded already: reading again tells.
  return first === undefined ? changed() : new GateError("limit_cost", first.reason.text);
}

function changed(): GateError {
  return new GateError("already_recorded", "the record changed while the step was decided on");
}

/** The same for every attempt of a step, and for no other. */
export function idempotencyKeyOf(run: RunId, seq: number): string {
  return `${run}.${seq}`;
}

export type OutcomeToRecord = {
  readonly run: RunContext;
  readonly seq: number;
  /** `waiting`: the effect has ended, and people decide on its result. */
  readonly state: "done" | "failed" | "unknown" | "waiting";
  readonly result: Digest | undefined;
  readonly usage: TokenUsage | undefined;
  readonly costMicroUsd: number;
  readonly now: Date;
};

/**
 * Writes how an effect ended and settles its budgets: what it cost is spent, also where that is more than was held, and the hold is
 * given back. False where it has an end already (another attempt was first): nothing is
 * written then, and the first one stands.
 */
export async function writeOutcome(tx: Tx, o: OutcomeToRecord): Promise<boolean> {
  const { rows } = await tx.query<{ ended: number }>(
    `with step_read as materialized (select budgets from step where run = $1 and seq = $2),
     locked as materialized (
       select u.id from budget_use u where u.id = any((select budgets from step_read)::bigint[]) order by ${lockOrder} for no key update),
     owner as materialized (select id from run where (select count(*) from locked) >= 0 and id = $1 for no key update),
     ended as (
       update step set state = $3::text, result = $4::text, cost_micro_usd = $5::bigint, input_tokens = $6::int,
         cached_input_tokens = $7::int, output_tokens = $8::int, reasoning_tokens = $9::int,
         finished_at = case when $3::text <> 'waiting' then $10::timestamptz end
       from owner where run = owner.id and seq = $2 and state = 'intended' returning run, seq, held_micro_usd, held_tokens, budgets),
     journal as (
       update effect set state = $11::text, ended_at = $10::timestamptz from ended where effect.run = ended.run and effect.seq = ended.seq),
     settled as (
       update run set spent_micro_usd = spent_micro_usd + $5::bigint, held_micro_usd = run.held_micro_usd - ended.held_micro_usd,
         spent_tokens = spent_tokens + $6::int + $8::int, spent_calls = spent_calls + 1,
         -- A worker of an earlier version may have begun the step, and held none of these.
         held_tokens = greatest(0, run.held_tokens - ended.held_tokens), held_calls = greatest(0, run.held_calls - 1)
       from ended where run.id = ended.run),
     charged as (
       update budget_use u set spent_micro_usd = u.spent_micro_usd + $5::bigint, spent_tokens = u.spent_tokens + $6::int + $8::int,
         spent_calls = u.spent_calls + 1, held_micro_usd = u.held_micro_usd - ended.held_micro_usd,
         held_tokens = u.held_tokens - ended.held_tokens, held_calls = u.held_calls - 1
       from ended where u.id = any(ended.budgets))
     select count(*) as ended from ended`,
    [
      o.run.id,
      o.seq,
      o.state,
      o.result ?? null,
      o.costMicroUsd,
      o.usage?.input ?? 0,
      o.usage?.cachedInput ?? 0,
      o.usage?.output ?? 0,
      o.usage?.reasoning ?? 0,
      o.now,
      o.state === "unknown" ? "unknown" : "result",
    ],
  );
  return rows[0]?.ended === 1;
}

/** Counts another beginning of an effect, and returns the count. */
export async function beginAgain(tx: Tx, run: RunId, seq: number): Promise<number> {
  const { rows } = await tx.query<{ attempts: number }>(
    "update effect set attempts = attempts + 1 where run = $1 and seq = $2 and state = 'intended' returning attempts",
    [run, seq],
  );
  return rows[0]?.attempts ?? 0;
}

/** What the ledger says of a decision: with it, an intent where something is about to happen. */
export function decisionEvents(d: DecisionToRecord): readonly LedgerEvent[] {
  const { run, step, decision, now } = d;
  const decided = runEvent(run, "step.decided", `${step.seq}/decided/${d.standing.decisions}`, now, {
    seq: step.seq,
    n: d.standing.decisions,
    step: step.kind,
    name: step.name,
    agent: run.agent,
    release: run.release.digest,
    action: step.actionDigest,
    arguments: step.arguments,
    outcome: decision.outcome,
    ...(decision.outcome === "deny" ? { code: decision.code } : {}),
    policies: decision.policies.map((reason) => reason.policy),
    policySet: d.policySet,
    request: d.request,
    activity: d.activity,
    ...(d.approval === undefined ? {} : { approval: d.approval }),
    ...(d.effective === undefined ? {} : { effective: d.effective.digest }),
    ...(d.shadow ? { shadow: "true" } : {}),
    ...(d.edit === undefined ? {} : { edit: d.edit }),
    ...(d.standingGrant === undefined ? {} : { grant: d.standingGrant }),
  });
  if (decision.outcome !== "allow") return [decided];
  const intent = runEvent(run, "step.intent", `${step.seq}/intent`, now, {
    seq: step.seq,
    action: step.actionDigest,
    idempotencyKey: idempotencyKeyOf(run.id, step.seq),
    heldMicroUsd: step.hold,
  });
  return [decided, intent];
}

export function outcomeEvent(o: OutcomeToRecord): LedgerEvent {
  const kind = o.state === "unknown" ? "step.unknown" : "step.result";
  return runEvent(o.run, kind, `${o.seq}/result`, o.now, {
    seq: o.seq,
    state: o.state,
    costMicroUsd: o.costMicroUsd,
    ...(o.result === undefined ? {} : { result: o.result }),
    ...(o.usage === undefined
      ? {}
      : {
          inputTokens: o.usage.input,
          cachedInputTokens: o.usage.cachedInput,
          outputTokens: o.usage.output,
          reasoningTokens: o.usage.reasoning,
        }),
  });
}
