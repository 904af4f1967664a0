import { budgetNames, periodStart } from "../core/budget.ts";
import type { Amounts, BudgetPeriod, BudgetState, Limits } from "../core/budget.ts";
import { teamList, timeOf } from "../store/index.ts";
import type { TeamFilter, Tx } from "../store/index.ts";

export type NewBudget = {
  readonly team: string;
  /** Undefined: the team as a whole. */
  readonly agent: string | undefined;
  readonly period: BudgetPeriod;
  readonly limits: Limits;
  readonly approvers: string;
  readonly by: string;
  /** In the place of Postgres' clock, by which steps are decided: a test's. */
  readonly now?: Date | undefined;
};

/** A budget with what is used of it in the period that now is in. */
export type Budget = BudgetState & {
  readonly team: string;
  readonly agent: string | null;
  readonly period: BudgetPeriod;
  readonly starts: Date;
  readonly at: Date;
  readonly by: string;
};

/** What has set a budget: the event's number, and when it was, by Postgres' clock. */
export type BudgetEvent = { readonly id: number; readonly at: Date };

/**
 * Sets a budget from the next decision on. Returns undefined where it is in force as given already. What it begins with is worked out from
 * the record, so that it is right for the whole of the present period, steps under way included: where nothing was counted for it yet,
 * decisions and outcomes everywhere wait for that sum.
 */
export async function setBudget(tx: Tx, budget: NewBudget): Promise<BudgetEvent | undefined> {
  const { team, agent = "", period, limits, approvers, by } = budget;
  await tx.query("select pg_advisory_xact_lock(hashtextextended($1, 0))", [`budget/${team}`]);
  const scope = { team, agent, period };
  const asked = await timeOf(tx, budget.now);
  const now = (await isCounted(tx, scope, asked)) ? asked : await beginWithRecord(tx, scope, budget.now);
  const { rows } = await tx.query<BudgetEvent>(
    `insert into budget_event (team, agent, period, max_micro_usd, max_tokens, max_calls, approvers, at, by_principal)
     select $1::text, $2::text, $3::text, $4::bigint, $5::bigint, $6::bigint, $7::text, $8::timestamptz, $9::text
     where not exists (
       select from (select * from budget_event where team = $1 and agent = $2 and period = $3 order by id desc limit 1) latest
       where (max_micro_usd, max_tokens, max_calls, approvers) is not distinct from ($4::bigint, $5::bigint, $6::bigint, $7::text))
     returning id, at`,
    [team, agent, period, limits.microUsd, limits.tokens, limits.calls, approvers, now, by],
  );
  return rows[0];
}

type Scope = { readonly team: string; readonly agent: string; readonly period: BudgetPeriod };

async function isCounted(tx: Tx, { team, agent, period }: Scope, now: Date): Promise<boolean> {
  const { rowCount } = await tx.query(
    "select from budget_use where team = $1 and agent = $2 and period = $3 and starts = $4",
    [team, agent, period, periodStart(period, now)],
  );
  return rowCount !== 0;
}

/**
 * The lock waits for every decision and outcome that is being written, and holds back the others: each step is either in the sum, or charged
 * to the new row when it ends. Returns when it was had: the period of then is begun, also where another was asked for in.
 */
async function beginWithRecord(tx: Tx, { team, agent, period }: Scope, given: Date | undefined): Promise<Date> {
  await tx.query("lock table step in share row exclusive mode");
  const now = await timeOf(tx, given);
  const starts = periodStart(period, now);
  await tx.query(
    `with begun as (
       insert into budget_use (team, agent, period, starts, spent_micro_usd, spent_tokens, spent_calls, held_micro_usd, held_tokens, held_calls)
       select $1::text, $2::text, $3::text, $4::timestamptz,
         -- Also what earlier attempts of a step took that is under way, and a call whose answer people decide on or were asked about.
         coalesce(sum(cost_micro_usd), 0), coalesce(sum(input_tokens::bigint + output_tokens + assumed_tokens), 0),
         count(*) filter (where step.state <> 'intended'),
         coalesce(sum(step.held_micro_usd) filter (where step.state = 'intended'), 0),
         coalesce(sum(step.held_tokens) filter (where step.state = 'intended'), 0),
         count(*) filter (where step.state = 'intended')
       from step join run on run.id = step.run
       where run.team = $1 and $2 in ('', run.agent) and step.decided_at >= $4::timestamptz
         and exists (select from effect where effect.run = step.run and effect.seq = step.seq)
       on conflict do nothing
       returning id)
     update step set budgets = step.budgets || begun.id from begun, run
     where run.id = step.run and run.team = $1 and $2 in ('', run.agent) and step.decided_at >= $4 and step.state = 'intended'`,
    [team, agent, period, starts],
  );
  return now;
}

/** The budgets in force, of one team or all, with what is used of them in the period that now is in. `given`: as of then. */
export async function listBudgets(tx: Tx, team: TeamFilter, given?: Date): Promise<readonly Budget[]> {
  const now = await timeOf(tx, given);
  const { rows } = await tx.query<BudgetRow>(
    `select b.team, b.agent, b.period, b.approvers, b.at, b.by_principal as by, b.max_micro_usd as "microUsd", b.max_tokens as tokens,
       b.max_calls as calls,
       coalesce(array[spent_micro_usd, spent_tokens, spent_calls, held_micro_usd, held_tokens, held_calls, extended_micro_usd,
         extended_tokens, extended_calls], array_fill(0::bigint, array[9]))::text[] as used
     from (select distinct on (team, agent, period) * from budget_event where $1::text[] is null or team = any($1)
           order by team, agent, period, id desc) b
     left join budget_use u on u.team = b.team and u.agent = b.agent and u.period = b.period
       and u.starts = case b.period when 'month' then $2::timestamptz else to_timestamp(0) end
     order by b.team, b.agent, b.period desc`,
    [teamList(team), periodStart("month", now)],
  );
  return rows.map((row) => budgetOf(row, now));
}

type BudgetRow = Limits & {
  readonly team: string;
  readonly agent: string;
  readonly period: BudgetPeriod;
  readonly approvers: string;
  readonly at: Date;
  readonly by: string;
  readonly used: readonly string[];
};

function budgetOf(
  { team, agent, period, approvers, at, by, microUsd, tokens, calls, used }: BudgetRow,
  now: Date,
): Budget {
  const name = budgetNames.find((known) => known === `${agent === "" ? "team" : "agent"}/${period}`);
  if (name === undefined) throw new TypeError(`a budget has no period \`${period}\``);
  const amounts = (from: number): Amounts => {
    const [first = 0, second = 0, third = 0] = used.slice(from, from + 3).map(Number);
    return { microUsd: first, tokens: second, calls: third };
  };
  return {
    name,
    team,
    agent: agent === "" ? null : agent,
    period,
    starts: periodStart(period, now),
    limits: { microUsd, tokens, calls },
    approvers,
    spent: amounts(0),
    held: amounts(3),
    extended: amounts(6),
    at,
    by,
  };
}
