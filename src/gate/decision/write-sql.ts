import { outboxSql } from "../../ledger/index.ts";
import { sealedSql } from "../../store/index.ts";
import { lockOrder } from "../budgets/budgets.ts";
import { freezeSql } from "../run/freeze.ts";

/** What a statement is for: each part that it can do without saves the server its setting up. */
type Parts = { readonly several: boolean; readonly contents: boolean; readonly budgets: boolean };

/**
 * One statement, so that a commit needs no other. `$1`: decisions, as `rowOf` makes them, each of another run; `$2`: how many; `$3`: events;
 * `$4`: contents. What `room` does not join writes what `$1` says, since either all of it is placed, or nothing is written.
 */
function writeSql({ several, contents, budgets }: Parts): string {
  // Contents and budgets come first: this is known before a run's row is locked.
  const before = [
    contents ? "(select count(*) from stored) >= 0" : "",
    budgets ? "not exists (select from short)" : "",
  ];
  const ready = before
    .filter((condition) => condition !== "")
    .map((condition) => `${condition} and `)
    .join("");
  return `
  with given as materialized (
    select * from jsonb_to_recordset($1::jsonb) as given (
      run text, seq integer, n integer, run_decisions integer, counted integer, hold bigint, hold_tokens bigint, hold_calls integer, team text,
      agent text, tool text, budget_event bigint, budgets jsonb, budget_ids bigint[], kind text, name text, action text,
      arguments text, asked_by integer, call_index integer, call_id text, state text, result text, at timestamptz,
      activity text, outcome text, code text, policies text[], policy_set text, facts jsonb, request text, approval text,
      effective text, shadow boolean, edit text, standing_grant text, idempotency_key text, witnesses smallint,
      cosign_by timestamptz)),
  ${contents ? `stored as (${sealedSql("$4")} returning 1),` : ""}
  ${budgets ? budgetsHeldSql(contents) : ""}
  ${several ? `owner as materialized (select run.id from run where ${ready} run.id = any(array(select given.run from given)) order by run.id for no key update of run),` : ""}
  room as (
    update run set steps = run.steps + given.counted, held_micro_usd = run.held_micro_usd + given.hold,
      held_tokens = run.held_tokens + given.hold_tokens, held_calls = run.held_calls + given.hold_calls, decisions = run.decisions + 1
    from given ${several ? "join owner on owner.id = given.run" : ""}
    where ${several ? "" : ready} run.id = given.run and run.status = 'running' and run.decisions = given.run_decisions
      and run.steps + given.counted <= run.max_steps
      and (given.hold = 0 or run.spent_micro_usd + run.held_micro_usd + given.hold <= run.max_cost_micro_usd)
      and (given.hold_tokens = 0 or run.max_tokens is null
        or run.spent_tokens + run.held_tokens + given.hold_tokens <= run.max_tokens)
      and (given.hold_calls = 0 or run.max_calls is null
        or run.spent_calls + run.held_calls + given.hold_calls <= run.max_calls)
      and given.budget_event = (select coalesce(max(id), 0) from budget_event where team = given.team and agent in ('', given.agent))
      and ${freezeSql("given.team", "given.agent", "given.tool")} is null
      -- Another set may count what this one did not, and lock what this one left unlocked.
      and given.policy_set = (select policy_set from policy_activation where team = given.team order by id desc limit 1)
    returning given.*),
  placed as (
    insert into step (run, seq, kind, name, action, arguments, asked_by, call_index, call_id, state, result, held_micro_usd,
                      held_tokens, budgets, decided_at, finished_at)
    select run, seq, kind, name, action, arguments, asked_by, call_index, call_id, state, result, hold, hold_tokens, budget_ids, at,
      case when state = 'denied' then at end from room
    on conflict (run, seq) do update set state = excluded.state, result = excluded.result, held_micro_usd = excluded.held_micro_usd,
      held_tokens = excluded.held_tokens, budgets = excluded.budgets, decided_at = excluded.decided_at,
      finished_at = excluded.finished_at
      where step.state = 'waiting' and step.action = excluded.action
    returning run),
  decided as (
    insert into decision (run, seq, n, activity, outcome, code, policies, policy_set, facts, request, approval, at, effective, shadow, edit,
                          standing_grant, witnesses, cosign_by)
    select run, seq, n, activity, outcome, code, policies, policy_set, facts, request, approval, at, effective, shadow, edit, standing_grant,
      witnesses, cosign_by from given),
  intended as (
    insert into effect (run, seq, idempotency_key, state, intended_at, cosigning)
    select run, seq, idempotency_key, 'intended', at, case when witnesses is not null then 'waiting' end
    from given where state = 'intended'),
  told as (${outboxSql("$3")})
  -- Any that is not placed divides by zero: nothing is written then, and nobody has to look.
  select 1 / (case when count(*) = $2 then 1 else 0 end) as room from placed`;
}

/** The same text each time: what a statement is prepared under is then found without reading all of it. */
const writeSqls = new Map<number, string>();

export function sqlFor(parts: Parts): string {
  const place = Number(parts.several) + 2 * Number(parts.contents) + 4 * Number(parts.budgets);
  const sql = writeSqls.get(place) ?? writeSql(parts);
  writeSqls.set(place, sql);
  return sql;
}

function budgetsHeldSql(contents: boolean): string {
  return `
  -- What each takes of a budget, with what those before it take.
  wanted as materialized (
    select of_budget.*, given.run, given.hold, given.hold_tokens, sum(given.hold) over before as micro_usd,
      sum(given.hold_tokens) over before as tokens, row_number() over before as calls
    from given cross join lateral jsonb_to_recordset(given.budgets) as of_budget (
      id bigint, max_micro_usd bigint, max_tokens bigint, max_calls bigint)
    window before as (partition by of_budget.id order by given.run)),
  locked as materialized (
    select u.* from budget_use u
    where ${contents ? "(select count(*) from stored) >= 0 and " : ""} u.id = any(array(select id from wanted))
    order by ${lockOrder} for no key update of u),
  short as materialized (
    select from wanted left join locked u using (id)
    where (u.id is not null
      and (wanted.hold = 0 or max_micro_usd is null
        or u.spent_micro_usd + u.held_micro_usd + wanted.micro_usd <= max_micro_usd + u.extended_micro_usd)
      and (wanted.hold_tokens = 0 or max_tokens is null
        or u.spent_tokens + u.held_tokens + wanted.tokens <= max_tokens + u.extended_tokens)
      and (max_calls is null or u.spent_calls + u.held_calls + wanted.calls <= max_calls + u.extended_calls)) is not true),
  held as (
    update budget_use u set held_micro_usd = u.held_micro_usd + taken.micro_usd, held_tokens = u.held_tokens + taken.tokens,
      held_calls = u.held_calls + taken.calls
    from (select id, sum(hold) as micro_usd, sum(hold_tokens) as tokens, count(*) as calls from wanted group by id) taken
    where u.id = taken.id),`;
}
