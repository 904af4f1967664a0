import type { Decision, RunFacts } from "../core/decision.ts";
import { codeOf } from "../core/errors.ts";
import type { ApprovalId, Digest, RunId } from "../core/ids.ts";
import type { LedgerEvent, LedgerFacts, LedgerKind } from "../core/ledger-event.ts";
import type { TokenUsage } from "../core/money.ts";
import type { RunStatus } from "../core/run.ts";
import type { SealedPayload, StepState, Tx } from "../store/index.ts";
import { GateError } from "./errors.ts";
import type { RunContext } from "./governed-call.ts";
import type { ResolvedStep } from "./resolve.ts";

/** What the record says before a step is decided on, read in one round trip. */
export type Standing = {
  readonly runStatus: RunStatus;
  readonly steps: number;
  readonly maxSteps: number;
  readonly spentMicroUsd: number;
  readonly heldMicroUsd: number;
  readonly maxCostMicroUsd: number;
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
};

export async function readStanding(tx: Tx, run: RunContext, seq: number, name: string, now: Date): Promise<Standing> {
  const { rows } = await tx.query<Standing>(
    `select run.status as "runStatus", run.steps, run.max_steps as "maxSteps", run.spent_micro_usd as "spentMicroUsd",
       run.held_micro_usd as "heldMicroUsd", run.decisions as "runDecisions", run.max_cost_micro_usd as "maxCostMicroUsd",
       coalesce(run.watched_until > $5, false) as watched,
       (select count(*) from step other where other.run = run.id and other.name = $3 and other.seq <> $2
          and other.state in ('intended', 'done', 'failed', 'unknown')) as "sameName",
       (select policy_set from policy_activation where team = $4 order by id desc limit 1) as "policySet",
       step.state, step.action, step.result, step.kind,
       coalesce(last.n + 1, 0) as decisions, last.activity as "lastActivity", last.approval as "lastApproval"
     from run
     left join step on step.run = run.id and step.seq = $2
     left join lateral (select n, activity, approval from decision where decision.run = run.id and decision.seq = $2
                        order by n desc limit 1) last on true
     where run.id = $1`,
    [run.id, seq, name, run.team, now],
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
  /** A denial, as the model will read it. */
  readonly result: SealedPayload | undefined;
  readonly now: Date;
};

/**
 * Writes a decision with its step, its budget reservation and, where it allows, the intent: one statement, all or nothing. Throws
 * `limit_steps`, `limit_cost` or `run_not_open` where the run has no room for it; nothing is written then.
 */
export async function writeDecision(tx: Tx, d: DecisionToRecord): Promise<void> {
  const { run, step, decision, now } = d;
  const tool = step.kind === "tool" ? step : undefined;
  const state = stateAfter(decision);
  const hold = state === "intended" ? step.hold : 0;
  const counted = d.standing.state === null ? 1 : 0;
  const written = tx.query(
    `with room as (
       update run set steps = steps + $3::int, held_micro_usd = held_micro_usd + $4::bigint, decisions = decisions + 1
       where id = $1 and status = 'running' and decisions = $25::int and steps + $3::int <= max_steps
         and ($4::bigint = 0 or spent_micro_usd + held_micro_usd + $4::bigint <= max_cost_micro_usd)
       returning id),
     placed as (
       insert into step (run, seq, kind, name, action, arguments, asked_by, call_index, call_id, state, result, held_micro_usd,
                         decided_at, finished_at)
       select room.id, $2::int, $5::text, $6::text, $7::text, $8::text, $9::int, $10::int, $11::text, $12::text, $13::text, $4::bigint,
         $14::timestamptz, case when $12::text = 'denied' then $14::timestamptz end from room
       on conflict (run, seq) do update set state = excluded.state, result = excluded.result, held_micro_usd = excluded.held_micro_usd,
         decided_at = excluded.decided_at, finished_at = excluded.finished_at
         where step.state = 'waiting' and step.action = excluded.action
       returning run),
     decided as (
       insert into decision (run, seq, n, activity, outcome, code, policies, policy_set, facts, request, approval, at)
       select run, $2::int, $15::int, $16::text, $17::text, $18::text, $19::text[], $20::text, $21::jsonb, $22::text, $23::text,
         $14::timestamptz from placed),
     intended as (
       insert into effect (run, seq, idempotency_key, state, intended_at)
       select run, $2::int, $24::text, 'intended', $14::timestamptz from placed where $12::text = 'intended')
     -- Nothing placed divides by zero: the whole transaction fails, and needs no look from here.
     select 1 / count(*) as room from placed`,
    [
      run.id,
      step.seq,
      counted,
      hold,
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
    ],
  );
  await written.catch((error: unknown) => {
    if (isMadeBefore(error)) throw new GateError("invalid_step", "another step of the run is for the same call");
    throw codeOf(error) === divisionByZero ? noRoom(d, hold, counted) : error;
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

function noRoom({ standing }: DecisionToRecord, hold: number, counted: number): GateError {
  if (standing.runStatus !== "running") return new GateError("run_not_open", `run is ${standing.runStatus}`);
  if (standing.steps + counted > standing.maxSteps) {
    return new GateError("limit_steps", `the run has used its ${standing.maxSteps} steps`);
  }
  if (standing.spentMicroUsd + standing.heldMicroUsd + hold > standing.maxCostMicroUsd) {
    return new GateError(
      "limit_cost",
      `the step could cost ${hold} micro-USD, of ${standing.maxCostMicroUsd} the run has spent ${standing.spentMicroUsd} and holds ${standing.heldMicroUsd}`,
    );
  }
  // Parallel steps took the room in between, or the step is recorded already: reading again tells.
  return new GateError("already_recorded", "the record changed while the step was decided on");
}

/** The same for every attempt of a step, and for no other. */
export function idempotencyKeyOf(run: RunId, seq: number): string {
  return `${run}.${seq}`;
}

export type OutcomeToRecord = {
  readonly run: RunContext;
  readonly seq: number;
  readonly state: "done" | "failed" | "unknown";
  readonly result: Digest | undefined;
  readonly usage: TokenUsage | undefined;
  readonly costMicroUsd: number;
  readonly now: Date;
};

/**
 * Writes how an effect ended and settles the budget. False where it has an end already (another attempt was first): nothing is
 * written then, and the first one stands.
 */
export async function writeOutcome(tx: Tx, o: OutcomeToRecord): Promise<boolean> {
  const { rows } = await tx.query<{ ended: number }>(
    `with ended as (
       update step set state = $3::text, result = $4::text, cost_micro_usd = $5::bigint, input_tokens = $6::int,
         cached_input_tokens = $7::int, output_tokens = $8::int, reasoning_tokens = $9::int, finished_at = $10::timestamptz
       where run = $1 and seq = $2 and state = 'intended' returning run, seq, held_micro_usd),
     journal as (
       update effect set state = $11::text, ended_at = $10::timestamptz from ended where effect.run = ended.run and effect.seq = ended.seq),
     settled as (
       update run set spent_micro_usd = spent_micro_usd + $5::bigint, held_micro_usd = run.held_micro_usd - ended.held_micro_usd
       from ended where run.id = ended.run)
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

/** A ledger event of a run. `name` makes its dedup key, which is unique in the team's log. */
export function runEvent(
  run: { readonly id: RunId; readonly team: string },
  kind: LedgerKind,
  name: string,
  now: Date,
  facts: LedgerFacts,
): LedgerEvent {
  return { log: run.team, kind, dedupKey: `${run.id}/${name}`, run: run.id, at: now.toISOString(), facts };
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
