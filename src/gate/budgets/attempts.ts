import type { Amounts } from "../../core/budget.ts";
import type { RunId } from "../../core/ids.ts";
import { inTransaction } from "../../store/index.ts";
import type { Pool, Tx } from "../../store/index.ts";
import { lockOrder } from "./budgets.ts";
import { assumedFor, chargeSql, noCharge, plusCharge, tokensOf } from "./charge.ts";
import type { Charge } from "./charge.ts";

/** How often an effect is begun before its failure is final. Attempts in which the gate itself failed do not count. */
export const maxEffectAttempts = 5;

/** Attempts whose cost is recorded, and what they took. */
export type SettledAttempts = { readonly attempts: number; readonly charge: Charge };

export const noneSettled: SettledAttempts = { attempts: 0, charge: noCharge };

/** An attempt that is about to be made. */
export type Attempt = {
  /** The how-manyth, from 1; 0 where the effect has ended. */
  readonly number: number;
  /** The most that it may take. */
  readonly hold: Pick<Amounts, "microUsd" | "tokens">;
  readonly before: SettledAttempts;
  /** Whether there is room for it beside what those before it took. It MUST NOT be made otherwise. */
  readonly hasRoom: boolean;
};

/** Counts another beginning of an effect that costs nothing, and returns the count. */
export async function beginAgain(tx: Tx, run: RunId, seq: number): Promise<number> {
  const { rows } = await tx.query<{ attempts: number }>(
    "update effect set attempts = attempts + 1 where run = $1 and seq = $2 and state = 'intended' returning attempts",
    [run, seq],
  );
  return rows[0]?.attempts ?? 0;
}

/**
 * The same for a call that is paid for. An attempt before it that told nothing may have been: all that was held is charged for each. What
 * the step holds is for one attempt, so the next needs room beside that; without it, nothing is begun.
 */
export async function beginPaidAgain(pool: Pool, run: RunId, seq: number): Promise<Attempt> {
  return inTransaction(pool, async (tx) => {
    await lockFor(tx, run, seq);
    const { rows } = await tx.query<{ settled: SettledAttempts; hold: Charge["assumed"]; begun: number }>(
      `select ${settledSql} as settled, json_build_object('microUsd', step.held_micro_usd, 'tokens', step.held_tokens) as hold,
         effect.attempts as begun
       from step join effect using (run, seq) where run = $1 and seq = $2 and step.state = 'intended' and effect.state = 'intended'`,
      [run, seq],
    );
    const [found] = rows;
    if (found === undefined) return { number: 0, hold: noCharge.assumed, before: noneSettled, hasRoom: false };
    const { settled, hold, begun } = found;
    // One that was counted beyond the last was never made.
    const lost = assumedFor(hold, Math.max(0, Math.min(begun, maxEffectAttempts) - settled.attempts));
    const before = { attempts: Math.max(begun, settled.attempts), charge: plusCharge(settled.charge, lost) };
    await charge(tx, run, seq, lost, before.attempts);
    const attempt = { number: before.attempts + 1, hold, before };
    // What is not to be made is not counted: it would be charged if this worker died now.
    if (!isFree(before.charge) && !(await hasRoom(tx, run, seq))) return { ...attempt, hasRoom: false };
    return { ...attempt, number: await beginAgain(tx, run, seq), hasRoom: true };
  });
}

/** Charges what an attempt took that is to be followed by another. Where that has begun, it is charged already. */
export async function settleAttempt(
  pool: Pool,
  run: RunId,
  seq: number,
  { number, taken }: { readonly number: number; readonly taken: Charge },
): Promise<void> {
  await inTransaction(pool, async (tx) => {
    await lockFor(tx, run, seq);
    const settled = await settledAttempts(tx, run, seq);
    if (settled?.attempts === number - 1) await charge(tx, run, seq, taken, number);
  });
}

/** Undefined where the step is not recorded. */
export async function settledAttempts(tx: Tx, run: RunId, seq: number): Promise<SettledAttempts | undefined> {
  const { rows } = await tx.query<{ settled: SettledAttempts }>(
    `select ${settledSql} as settled from step where run = $1 and seq = $2`,
    [run, seq],
  );
  return rows[0]?.settled;
}

const settledSql = `json_build_object('attempts', step.attempts_settled, 'charge', ${chargeSql})`;

/** Budgets, then the run: nothing that is read or written of the step after it is changed by others before the transaction ends. */
async function lockFor(tx: Tx, run: RunId, seq: number): Promise<void> {
  await Promise.all([
    tx.query(
      `select from budget_use u where u.id = any((select budgets from step where run = $1 and seq = $2)::bigint[])
       order by ${lockOrder} for no key update`,
      [run, seq],
    ),
    tx.query("select from run where id = $1 for no key update", [run]),
  ]);
}

async function charge(tx: Tx, run: RunId, seq: number, charged: Charge, attempts: number): Promise<void> {
  const { costMicroUsd, usage, assumed } = charged;
  await tx.query(
    `with charged as (
       update step set cost_micro_usd = cost_micro_usd + $3::bigint, input_tokens = input_tokens + $4::int,
         cached_input_tokens = cached_input_tokens + $5::int, output_tokens = output_tokens + $6::int,
         reasoning_tokens = reasoning_tokens + $7::int, assumed_micro_usd = assumed_micro_usd + $8::bigint,
         assumed_tokens = assumed_tokens + $9::bigint, attempts_settled = $11::int
       where run = $1 and seq = $2 and state = 'intended' returning budgets),
     of_run as (
       update run set spent_micro_usd = spent_micro_usd + $3::bigint, spent_tokens = spent_tokens + $10::bigint from charged where id = $1)
     update budget_use u set spent_micro_usd = u.spent_micro_usd + $3::bigint, spent_tokens = u.spent_tokens + $10::bigint
     from charged where u.id = any(charged.budgets)`,
    [
      run,
      seq,
      costMicroUsd,
      usage.input,
      usage.cachedInput,
      usage.output,
      usage.reasoning,
      assumed.microUsd,
      assumed.tokens,
      tokensOf(charged),
      attempts,
    ],
  );
}

function isFree(taken: Charge): boolean {
  return taken.costMicroUsd === 0 && tokensOf(taken) === 0;
}

/** Whether what the step holds still fits, in the run's limits and in all budgets as they are now. */
async function hasRoom(tx: Tx, run: RunId, seq: number): Promise<boolean> {
  const { rows } = await tx.query<{ fits: boolean }>(
    `select (step.held_micro_usd = 0 or run.spent_micro_usd + run.held_micro_usd <= run.max_cost_micro_usd)
       and (step.held_tokens = 0 or run.max_tokens is null or run.spent_tokens + run.held_tokens <= run.max_tokens)
       and not exists (
         select from budget_use u
         cross join lateral (select max_micro_usd, max_tokens from budget_event e
           where e.team = u.team and e.agent = u.agent and e.period = u.period order by id desc limit 1) b
         where u.id = any(step.budgets)
           and (step.held_micro_usd > 0 and u.spent_micro_usd + u.held_micro_usd > b.max_micro_usd + u.extended_micro_usd
             or step.held_tokens > 0 and u.spent_tokens + u.held_tokens > b.max_tokens + u.extended_tokens)) as fits
     from step join run on run.id = step.run where step.run = $1 and step.seq = $2`,
    [run, seq],
  );
  return rows[0]?.fits === true;
}
