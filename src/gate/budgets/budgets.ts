import { defaultApprovers, noAmounts, periodStart } from "../../core/budget.ts";
import type { Amounts, BudgetFacts, BudgetPeriod, BudgetState, Exhausted } from "../../core/budget.ts";
import type { ApprovalId } from "../../core/ids.ts";
import { appendToOutbox } from "../../ledger/index.ts";
import type { Tx } from "../../store/index.ts";
import { givenBeyond } from "../approved/rendered.ts";
import type { RunContext } from "../governed-call.ts";
import { runEvent } from "../run/event.ts";
import type { ResolvedStep } from "../step/resolve.ts";
import type { Standing } from "../step/standing.ts";

/** A budget of the run's team or agent in the period that now is in. */
export type BudgetStanding = BudgetState & {
  /** The event that set it. */
  readonly event: number;
  /** Its row of use; null where nothing has been decided in the period yet. */
  readonly use: number | null;
  /** When its period began, in milliseconds since the epoch. */
  readonly starts: number | null;
  readonly agent: string;
  readonly period: BudgetPeriod;
};

/** In which rows of `budget_use u` are locked, wherever several are, and always before the run's. */
export const lockOrder = "u.team, u.agent, u.period desc, u.starts";

/** SQL of the budgets that hold for a run, as a JSON list. `now` and the rest are SQL themselves. */
export function budgetsSql(team: string, agent: string, now: string): string {
  const amounts = (kind: string): string =>
    `json_build_object('microUsd', coalesce(u.${kind}_micro_usd, 0), 'tokens', coalesce(u.${kind}_tokens, 0), 'calls', coalesce(u.${kind}_calls, 0))`;
  return `(select json_agg(json_build_object(
       'event', b.id, 'use', u.id, 'starts', (extract(epoch from u.starts) * 1000)::bigint, 'agent', b.agent, 'period', b.period, 'approvers', b.approvers,
       'name', case b.agent when '' then 'team/' else 'agent/' end || b.period,
       'limits', json_build_object('microUsd', b.max_micro_usd, 'tokens', b.max_tokens, 'calls', b.max_calls),
       'extended', ${amounts("extended")}, 'spent', ${amounts("spent")}, 'held', ${amounts("held")})
       order by b.agent, b.period desc)
     from (select distinct on (e.agent, e.period) e.* from budget_event e where e.team = ${team} and e.agent in ('', ${agent})
           order by e.agent, e.period, e.id desc) b
     left join budget_use u on u.team = b.team and u.agent = b.agent and u.period = b.period
       and u.starts = case b.period when 'month' then date_trunc('month', ${now}, 'UTC') else to_timestamp(0) end)`;
}

/**
 * Begins the periods in which nothing was decided yet, with nothing spent: a step of an earlier month is settled there, and the month in
 * which a budget is set begins with it (`setBudget`).
 */
export async function openPeriods(tx: Tx, team: string, missing: readonly BudgetStanding[], now: Date): Promise<void> {
  await tx.query(
    `insert into budget_use (team, agent, period, starts)
     select $1, agent, period, starts from unnest($2::text[], $3::text[], $4::timestamptz[]) as given (agent, period, starts)
     on conflict do nothing`,
    [
      team,
      missing.map(({ agent }) => agent),
      missing.map(({ period }) => period),
      missing.map(({ period }) => periodStart(period, now)),
    ],
  );
}

/** The most that a step can take of its budgets. */
export function holdOf({ hold, holdTokens }: ResolvedStep): Amounts {
  return { microUsd: hold, tokens: holdTokens, calls: 1 };
}

/** What `exhausted` goes by: the run's own limit, and the budgets of its team and agent. */
export function budgetFacts(standing: Standing, step: ResolvedStep): BudgetFacts {
  const own: BudgetState = {
    name: "run",
    approvers: defaultApprovers,
    limits: { microUsd: standing.maxCostMicroUsd, tokens: standing.maxTokens, calls: standing.maxCalls },
    extended: noAmounts,
    spent: { microUsd: standing.spentMicroUsd, tokens: standing.spentTokens, calls: standing.spentCalls },
    held: { microUsd: standing.heldMicroUsd, tokens: standing.heldTokens, calls: standing.heldCalls },
  };
  const shared = standing.budgets.map(({ name, approvers, limits, extended, spent, held }) => ({
    name,
    approvers,
    limits,
    extended,
    spent,
    held,
  }));
  return { hold: holdOf(step), budgets: [own, ...shared] };
}

export type BudgetExtension = {
  readonly run: RunContext;
  readonly seq: number;
  readonly standing: Standing;
  /** The budgets that the consumed grant lets the step go beyond. */
  readonly exhausted: readonly Exhausted[];
  readonly approval: ApprovalId;
  readonly now: Date;
};

/**
 * Makes room for a step whose going beyond its budgets was approved, and tells the ledger: by what is missing, and the run's own limit
 * by at least the release's limit again. The rows stay locked until the transaction ends; contents that it writes MUST be written before. Returns the standing with that room; the step
 * MUST be decided with it in the same transaction.
 */
export async function extendBudgets(tx: Tx, extension: BudgetExtension): Promise<Standing> {
  const { run, standing, exhausted: given, approval, now } = extension;
  const added = new Map(given.map((one) => [one.name, givenBeyond(run, one)]));
  const amountsOf = (budget: BudgetStanding): Amounts => added.get(budget.name) ?? noAmounts;
  const { budgets } = standing;
  const forRun = added.get("run") ?? noAmounts;
  await Promise.all([
    tx.query(
      `with locked as materialized (select u.id from budget_use u where u.id = any($1::bigint[]) order by ${lockOrder} for no key update)
       update budget_use u set extended_micro_usd = u.extended_micro_usd + given.micro_usd,
         extended_tokens = u.extended_tokens + given.tokens, extended_calls = u.extended_calls + given.calls
       from locked join unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) as given (id, micro_usd, tokens, calls) using (id)
       where u.id = locked.id`,
      [
        budgets.map(({ use }) => use),
        budgets.map((budget) => amountsOf(budget).microUsd),
        budgets.map((budget) => amountsOf(budget).tokens),
        budgets.map((budget) => amountsOf(budget).calls),
      ],
    ),
    tx.query(
      `update run set max_cost_micro_usd = max_cost_micro_usd + $2, max_tokens = max_tokens + $3, max_calls = max_calls + $4
       where id = $1`,
      [run.id, forRun.microUsd, forRun.tokens, forRun.calls],
    ),
    appendToOutbox(
      tx,
      given.map(({ name, reason }) =>
        runEvent(run, "budget.extended", `approval/${approval}/${name}`, now, {
          approval,
          seq: extension.seq,
          budget: reason.policy,
          ...(added.get(name) ?? noAmounts),
        }),
      ),
    ),
  ]);
  return {
    ...standing,
    maxCostMicroUsd: standing.maxCostMicroUsd + forRun.microUsd,
    maxTokens: standing.maxTokens === null ? null : standing.maxTokens + forRun.tokens,
    maxCalls: standing.maxCalls === null ? null : standing.maxCalls + forRun.calls,
    budgets: budgets.map((budget) => ({ ...budget, extended: plus(budget.extended, amountsOf(budget)) })),
  };
}

function plus(a: Amounts, b: Amounts): Amounts {
  return { microUsd: a.microUsd + b.microUsd, tokens: a.tokens + b.tokens, calls: a.calls + b.calls };
}
