import { cancelOutcomesOf, cancelRequestsOf, lockWaitsOf, markUnknownOf } from "../../approvals/index.ts";
import type { CloseRunInput, CloseRunResult, OpenRunResult } from "../../core/contract.ts";
import { codeOf } from "../../core/errors.ts";
import type { Digest, RunId } from "../../core/ids.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import type { RunFailure, RunOutput, RunStatus } from "../../core/run.ts";
import type { ModelResult } from "../../core/transcript.ts";
import { faultPoint } from "../../faults/index.ts";
import { appendToOutbox } from "../../ledger/index.ts";
import { inOneTrip, inTransaction, sealPayload, writeSealed } from "../../store/index.ts";
import type { Pool, SealedPayload, Tx } from "../../store/index.ts";
import { requestEnded } from "../approved/request-events.ts";
import { maxEffectAttempts } from "../budgets/attempts.ts";
import { lockOrder } from "../budgets/budgets.ts";
import { chargeFacts, chargeSql } from "../budgets/charge.ts";
import type { Charge } from "../budgets/charge.ts";
import { GateError } from "../errors.ts";
import { sealingIn } from "../governed-call.ts";
import type { RunContext } from "../governed-call.ts";
import { divisionByZero } from "../sqlstate.ts";
import type { RunCache } from "./cache.ts";
import { runEvent } from "./event.ts";

export type LifecycleOptions = {
  readonly pool: Pool;
  /** Shared with the gate: the run's first step needs the same. */
  readonly cache: RunCache;
  /** Digest of the workflow code that this worker runs. */
  readonly bundle: Digest;
  readonly now: () => Date;
};

/**
 * Marks a registered run as running and records its start. Idempotent: after continue-as-new, and in every further attempt, it only
 * answers. Throws `unknown_run` or `run_not_open`.
 */
export async function openRun(options: LifecycleOptions, id: RunId, temporalRunId: string): Promise<OpenRunResult> {
  const run = await options.cache.context(id);
  const now = options.now();
  const started = runEvent(run, "run.started", "started", now, {
    agent: run.agent,
    release: run.release.digest,
    input: run.inputDigest,
    requestedBy: run.requestedBy,
    temporalRunId,
    workflowBundle: options.bundle,
    ...(run.dataKey === undefined ? {} : { dataKey: run.dataKey }),
  });
  const written = (tx: Tx) => [
    markRunning(tx, id, temporalRunId, options.bundle, now),
    // Dropped where it is there already.
    appendToOutbox(tx, [started]),
  ];
  await faultPoint("run.open", () => inOneTrip(options.pool, written)).catch((error: unknown) => {
    throw codeOf(error) === divisionByZero ? new GateError("run_not_open", "the run is closed") : error;
  });
  return { maxWallClockMs: run.release.document.limits.maxWallClockMs };
}

/** Divides by zero where the run is closed, so that the whole transaction fails. */
async function markRunning(tx: Tx, id: RunId, temporalRunId: string, bundle: Digest, now: Date): Promise<void> {
  await tx.query(
    `with opened as (
       update run set status = 'running', started_at = coalesce(started_at, $2), temporal_run_id = coalesce(temporal_run_id, $3),
         workflow_bundle = coalesce(workflow_bundle, $4)
       where id = $1 and closed_at is null returning id),
     execution as (
       insert into run_execution (run, position, temporal_run_id, opened_at)
       select id, coalesce((select max(position) + 1 from run_execution before where before.run = id), 0), $3, $2 from opened
       on conflict do nothing)
     select 1 / count(*) from opened`,
    [id, now, temporalRunId, bundle],
  );
}

/**
 * Ends a run: its answer is taken from its last model step, intents without an end become `unknown`, open requests are cancelled, and
 * what was held is given back. Idempotent. Throws `invalid_step` where a workflow calls a run completed that has no answer.
 */
export async function closeRun(options: LifecycleOptions, input: CloseRunInput): Promise<CloseRunResult> {
  // Only an answer needs more of the run than its row: one whose contents were erased or cannot be read has to end too.
  const context = input.status === "completed" ? await options.cache.context(input.run) : undefined;
  const close = async (tx: Tx): Promise<CloseRunResult> => {
    // The locks come first; the rest is sent behind them without waiting.
    const [, , row, last] = await Promise.all([
      lockWaitsOf(tx, input.run),
      lockBudgets(tx, input.run),
      lockedRun(tx, input.run),
      lastAnswer(tx, input.run),
    ]);
    if (row.closedAt !== null) return row.result === null ? {} : { result: row.result };
    const answer = context === undefined ? undefined : await answerOf(options, context, last);
    await endRun(tx, { id: input.run, team: row.team }, row, input, answer, options.now());
    return answer === undefined ? {} : { result: answer.digest };
  };
  return faultPoint("run.close", () => inTransaction(options.pool, close));
}

/**
 * Ends a running run whose workflow is closed and so cannot do it: it was terminated, or died. The caller MUST know that. False where it
 * is not running.
 */
export async function closeLostRun(tx: Tx, id: RunId, now: Date): Promise<boolean> {
  const [, , row] = await Promise.all([lockWaitsOf(tx, id), lockBudgets(tx, id), lockedRun(tx, id)]);
  if (row.status !== "running") return false;
  await endRun(tx, { id, team: row.team }, row, { status: "cancelled" }, undefined, now);
  return true;
}

async function endRun(
  tx: Tx,
  run: { readonly id: RunId; readonly team: string },
  row: LockedRun,
  { status, failure }: Pick<CloseRunInput, "status" | "failure">,
  answer: SealedPayload | undefined,
  now: Date,
): Promise<void> {
  // Whoever is about to begin one of them, now or a moment later, finds that it is too late.
  await tx.query(
    "update effect set cosigning = 'late' where run = $1 and state = 'intended' and cosigning = 'waiting'",
    [run.id],
  );
  const [unended, cancelled] = await Promise.all([
    endOpenSteps(tx, run.id, now),
    cancelRequestsOf(tx, run.id),
    cancelOutcomesOf(tx, run.id),
    ...(answer === undefined ? [] : [writeSealed(tx, [answer])]),
  ]);
  const unanswered = await answersOf(tx, run.id, now);
  const charged = { microUsd: sumOf(unended, "microUsd"), tokens: sumOf(unended, "tokens") };
  if (unended.length > 0) await markUnknownOf(tx, run.id);
  await Promise.all([
    tx.query(
      `update run set status = $2, closed_at = $3, failure = $4, result = $5, held_micro_usd = 0, held_tokens = 0,
         spent_calls = spent_calls + held_calls, held_calls = 0, spent_micro_usd = spent_micro_usd + $6, spent_tokens = spent_tokens + $7
       where id = $1`,
      [
        run.id,
        status,
        now,
        failure === undefined ? null : keepable(failure),
        answer?.digest ?? null,
        charged.microUsd,
        charged.tokens,
      ],
    ),
    appendToOutbox(tx, [
      ...unended.map(({ seq, covered, taken }) =>
        runEvent(run, "step.unknown", `${seq}/result`, now, {
          seq,
          state: "unknown",
          ...chargeFacts(taken),
          ...(covered === null ? {} : { checkpoint: covered }),
        }),
      ),
      // Their calls came to an end, and their answers went nowhere; or they were never begun.
      ...unanswered.map(({ seq, taken }) =>
        runEvent(run, "step.result", `${seq}/result`, now, { seq, state: "cancelled", ...chargeFacts(taken) }),
      ),
      ...cancelled.map(({ id, seq }) => requestEnded(run, "cancelled", id, seq, now)),
      runEvent(run, "run.closed", "closed", now, {
        status,
        steps: row.steps,
        spentMicroUsd: row.spentMicroUsd + charged.microUsd,
        ...(answer === undefined ? {} : { result: answer.digest }),
        ...(failure === undefined ? {} : { failure: failure.code }),
      }),
    ]),
  ]);
}

function sumOf(steps: readonly UnendedStep[], unit: "microUsd" | "tokens"): number {
  return steps.reduce((sum, { charged }) => sum + charged[unit], 0);
}

/** Postgres keeps neither NUL nor half a character in JSON. */
function keepable({ code, message }: RunFailure): RunFailure {
  return { code, message: message.toWellFormed().replaceAll("\0", "\uFFFD") };
}

type LockedRun = {
  readonly team: string;
  readonly status: RunStatus;
  readonly closedAt: Date | null;
  readonly result: Digest | null;
  readonly steps: number;
  readonly spentMicroUsd: number;
};

/** Locks what the run's open steps hold of, before the run's own row: the order in which decisions and outcomes do. */
async function lockBudgets(tx: Tx, run: RunId): Promise<void> {
  await tx.query(
    `select from budget_use u where u.id in (select unnest(budgets) from step where run = $1 and state = 'intended')
     order by ${lockOrder} for no key update`,
    [run],
  );
}

async function lockedRun(tx: Tx, run: RunId): Promise<LockedRun> {
  const { rows } = await tx.query<LockedRun>(
    `select team, status, closed_at as "closedAt", result, steps, spent_micro_usd as "spentMicroUsd" from run where id = $1 for update`,
    [run],
  );
  if (rows[0] === undefined) throw new GateError("unknown_run", `run \`${run}\` is not registered`);
  return rows[0];
}

async function lastAnswer(tx: Tx, run: RunId): Promise<Digest | undefined> {
  const { rows } = await tx.query<{ result: Digest }>(
    "select result from step where run = $1 and kind = 'model' and state = 'done' order by seq desc limit 1",
    [run],
  );
  return rows[0]?.result;
}

async function answerOf(
  { cache }: LifecycleOptions,
  run: RunContext,
  last: Digest | undefined,
): Promise<SealedPayload> {
  const result = last === undefined ? undefined : ((await cache.payload(last)) as unknown as ModelResult);
  if (result === undefined || result.problem !== undefined || result.toolCalls.length > 0) {
    throw new GateError("invalid_step", "the run has no answer to complete with");
  }
  const { content } = result;
  const output: RunOutput =
    run.release.document.output === undefined ? { text: content } : { value: JSON.parse(content) as JsonObject };
  return sealPayload(sealingIn(run), output as unknown as Json);
}

/** The steps that were cancelled just now while people decided on what their models had answered, or witnesses on their intents. */
async function answersOf(
  tx: Tx,
  run: RunId,
  now: Date,
): Promise<readonly { readonly seq: number; readonly taken: Charge }[]> {
  const { rows } = await tx.query<{ seq: number; taken: Charge }>(
    `select step.seq, ${chargeSql} as taken from step join effect using (run, seq)
     where run = $1 and step.state = 'cancelled' and step.finished_at = $2 and effect.state = 'result' order by step.seq`,
    [run, now],
  );
  return rows;
}

type UnendedStep = {
  readonly seq: number;
  /** The checkpoint that it was begun on, if it had to wait for one. */
  readonly covered: number | null;
  /** All that it took. */
  readonly taken: Charge;
  /** What of that its end was charged with. */
  readonly charged: Charge["assumed"];
};

/**
 * The steps whose intents had no end; those that waited still are cancelled. What all held is given back; as calls they count, since they
 * were allowed. A model call that is under way may be paid for, whatever becomes of its answer: it is charged with what it held.
 */
async function endOpenSteps(tx: Tx, run: RunId, now: Date): Promise<readonly UnendedStep[]> {
  const { rows } = await tx.query<UnendedStep & { state: string }>(
    `with open as materialized (
       select step.seq, step.state = 'intended' as intended,
         case when step.state = 'waiting' or effect.cosigning = 'late' then 'cancelled' else 'unknown' end as ends,
         case when step.state = 'intended' and effect.cosigning is distinct from 'late'
           then greatest(0, least(effect.attempts, $3::int) - step.attempts_settled) else 0 end as unsettled
       from step left join effect using (run, seq) where step.run = $1 and step.state in ('waiting', 'intended')),
     ended as (
       update step set state = open.ends, finished_at = $2, cost_micro_usd = cost_micro_usd + open.unsettled * held_micro_usd,
         assumed_micro_usd = assumed_micro_usd + open.unsettled * held_micro_usd,
         assumed_tokens = assumed_tokens + open.unsettled * held_tokens::bigint
       from open where step.run = $1 and step.seq = open.seq and step.state in ('waiting', 'intended')
       returning step.run, step.seq, step.state, open.intended, held_micro_usd, held_tokens, budgets, ${chargeSql} as taken,
         open.unsettled * held_micro_usd as charged_micro_usd, open.unsettled * held_tokens::bigint as charged_tokens),
     returned as (
       update budget_use u set held_micro_usd = u.held_micro_usd - given.micro_usd, held_tokens = u.held_tokens - given.tokens,
         held_calls = u.held_calls - given.calls, spent_calls = u.spent_calls + given.calls,
         spent_micro_usd = u.spent_micro_usd + given.charged_micro_usd, spent_tokens = u.spent_tokens + given.charged_tokens
       from (select id, sum(held_micro_usd)::bigint as micro_usd, sum(held_tokens)::bigint as tokens, count(*) as calls,
               sum(charged_micro_usd)::bigint as charged_micro_usd, sum(charged_tokens)::bigint as charged_tokens
             from ended, unnest(budgets) as id where intended group by id) given
       where u.id = given.id)
     update effect set state = case ended.state when 'cancelled' then 'result' else 'unknown' end, ended_at = $2 from ended
     where effect.run = ended.run and effect.seq = ended.seq and effect.state = 'intended'
     returning effect.seq, effect.state, effect.covered_size as covered, ended.taken,
       json_build_object('microUsd', ended.charged_micro_usd, 'tokens', ended.charged_tokens) as charged`,
    [run, now, maxEffectAttempts],
  );
  return rows.filter(({ state }) => state === "unknown");
}
