import type { StepCode } from "../../core/action.ts";
import { codeOf } from "../../core/errors.ts";
import type { Digest, RunId } from "../../core/ids.ts";
import type { LedgerEvent } from "../../core/ledger-event.ts";
import type { Pool, Tx } from "../../store/index.ts";
import { settledAttempts } from "../budgets/attempts.ts";
import type { SettledAttempts } from "../budgets/attempts.ts";
import { lockOrder } from "../budgets/budgets.ts";
import { chargeFacts, plusCharge, tokensOf } from "../budgets/charge.ts";
import type { Charge } from "../budgets/charge.ts";
import type { RunContext } from "../governed-call.ts";
import { runEvent } from "../run/event.ts";
import { divisionByZero } from "../sqlstate.ts";

export type OutcomeToRecord = {
  readonly run: RunContext;
  readonly seq: number;
  /** `waiting`: the effect has ended, and people decide on its result. */
  readonly state: "done" | "failed" | "unknown" | "waiting";
  readonly result: Digest | undefined;
  /** What the attempt that ended took. */
  readonly taken: Charge;
  /** What those before it did. */
  readonly before: SettledAttempts;
  /** The size of the cosigned checkpoint that it was begun on, where it had to wait for one. */
  readonly covered?: number | undefined;
  /** It was never begun; or there was no room for another attempt. */
  readonly code?: "not_cosigned" | StepCode | undefined;
  readonly now: Date;
};

/** Rows by what is given, not by joins: a plan that was made while the tables were empty stays good. */
const outcomeSql = `with step_read as materialized (select budgets, state from step where run = $1 and seq = $2),
     locked as materialized (
       select u.id from budget_use u where u.id = any((select budgets from step_read)::bigint[]) order by ${lockOrder} for no key update),
     owner as materialized (select id from run where (select count(*) from locked) >= 0 and id = $1 for no key update),
     ended as (
       update step set state = $3::text, result = $4::text, cost_micro_usd = cost_micro_usd + $5::bigint, input_tokens = input_tokens + $6::int,
         cached_input_tokens = cached_input_tokens + $7::int, output_tokens = output_tokens + $8::int,
         reasoning_tokens = reasoning_tokens + $9::int, assumed_micro_usd = assumed_micro_usd + $12::bigint,
         assumed_tokens = assumed_tokens + $13::bigint, code = $16::text, finished_at = case when $3::text <> 'waiting' then $10::timestamptz end
       from owner where run = $1 and seq = $2 and state = 'intended' and attempts_settled = $15::int
       returning run, seq, held_micro_usd, held_tokens, budgets),
     journal as (
       update effect set state = $11::text, ended_at = $10::timestamptz from ended where effect.run = $1 and effect.seq = $2),
     settled as (
       update run set spent_micro_usd = spent_micro_usd + $5::bigint, held_micro_usd = run.held_micro_usd - ended.held_micro_usd,
         spent_tokens = spent_tokens + $14::bigint, spent_calls = spent_calls + 1,
         -- A worker of an earlier version may have begun the step, and held none of these.
         held_tokens = greatest(0, run.held_tokens - ended.held_tokens), held_calls = greatest(0, run.held_calls - 1)
       from ended where run.id = $1),
     charged as (
       update budget_use u set spent_micro_usd = u.spent_micro_usd + $5::bigint, spent_tokens = u.spent_tokens + $14::bigint,
         spent_calls = u.spent_calls + 1, held_micro_usd = u.held_micro_usd - ended.held_micro_usd,
         held_tokens = u.held_tokens - ended.held_tokens, held_calls = u.held_calls - 1
       from ended where u.id = any((select budgets from ended)::bigint[]))
     -- Where it was not ended before, but is now or has other attempts behind it, nothing may be written.
     select count(*) / (case when count(*) = 0 and (select state from step_read) = 'intended' then 0 else 1 end) as ended from ended`;

/**
 * Writes how an effect ended and settles its budgets: what it cost is spent, also where that is more than was held, and the hold is
 * given back. False where it has an end already (another attempt was first): nothing is written then, and the first one stands. Fails
 * with a division by zero where that is not certain, or `before` is not what was settled: `settling` reads that again.
 */
export async function writeOutcome(tx: Tx, o: OutcomeToRecord): Promise<boolean> {
  const { usage, assumed, costMicroUsd } = o.taken;
  const { rows } = await tx.query<{ ended: number }>(outcomeSql, [
    o.run.id,
    o.seq,
    o.state,
    o.result ?? null,
    costMicroUsd,
    usage.input,
    usage.cachedInput,
    usage.output,
    usage.reasoning,
    o.now,
    o.state === "unknown" ? "unknown" : "result",
    assumed.microUsd,
    assumed.tokens,
    tokensOf(o.taken),
    o.before.attempts,
    // The journal tells of what was never begun.
    o.code === "not_cosigned" ? null : o.code,
  ]);
  return rows[0]?.ended === 1;
}

/** An attempt whose worker was taken for dead may end while the next is under way: what is settled before it has changed then. */
export async function settling<Result>(
  pool: Pool,
  { run, seq, before }: { readonly run: RunId; readonly seq: number; readonly before: SettledAttempts },
  write: (before: SettledAttempts) => Promise<Result>,
): Promise<Result> {
  let known = before;
  for (let reread = 1; ; reread += 1) {
    try {
      return await write(known);
    } catch (error) {
      if (codeOf(error) !== divisionByZero || reread > maxRereads) throw error;
      known = (await settledAttempts(pool, run, seq)) ?? known;
    }
  }
}

/** Each means that another attempt began or ended meanwhile. */
const maxRereads = 10;

export function outcomeEvent(o: OutcomeToRecord): LedgerEvent {
  const kind = o.state === "unknown" ? "step.unknown" : "step.result";
  return runEvent(o.run, kind, `${o.seq}/result`, o.now, {
    seq: o.seq,
    state: o.state,
    ...chargeFacts(plusCharge(o.before.charge, o.taken)),
    ...(o.result === undefined ? {} : { result: o.result }),
    ...(o.covered === undefined ? {} : { checkpoint: o.covered }),
    ...(o.code === undefined ? {} : { code: o.code }),
  });
}
