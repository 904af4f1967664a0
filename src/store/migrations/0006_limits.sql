-- What a team (agent '') or one of its agents may use up, in a calendar month of UTC or in all. The latest of a team, agent and period
-- counts; a limit that is null is none.
create table budget_event (
  id bigint generated always as identity primary key,
  team text not null,
  agent text not null default '',
  period text not null check (period in ('month', 'total')),
  max_micro_usd bigint check (max_micro_usd between 0 and 1000000000000000),
  max_tokens bigint check (max_tokens between 0 and 1000000000000000),
  max_calls bigint check (max_calls between 0 and 1000000000000000),
  -- The group whose members may let a step go beyond it.
  approvers text not null,
  at timestamptz not null,
  by_principal text not null
);
create index budget_event_latest on budget_event (team, agent, period, id desc);

-- What was used up of a budget since `starts`: `spent` is what ended steps cost, `held` the most that those under way can, `extended`
-- what approvers gave beyond the limits. Rows are locked in the order (agent, period desc, starts), and before the run's row.
create table budget_use (
  id bigint generated always as identity primary key,
  team text not null,
  agent text not null default '',
  period text not null check (period in ('month', 'total')),
  starts timestamptz not null,
  spent_micro_usd bigint not null default 0,
  spent_tokens bigint not null default 0,
  spent_calls bigint not null default 0,
  held_micro_usd bigint not null default 0,
  held_tokens bigint not null default 0,
  held_calls bigint not null default 0,
  extended_micro_usd bigint not null default 0,
  extended_tokens bigint not null default 0,
  extended_calls bigint not null default 0,
  unique (team, agent, period, starts),
  constraint spent check (spent_micro_usd >= 0 and spent_tokens >= 0 and spent_calls >= 0),
  constraint held check (held_micro_usd >= 0 and held_tokens >= 0 and held_calls >= 0),
  constraint extended check (extended_micro_usd >= 0 and extended_tokens >= 0 and extended_calls >= 0)
)
-- Every step of a team writes its row: room on the page lets that touch no index.
with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- What a step holds in tokens, and of which budgets: what it held is given back to these, whatever the month is by then.
alter table step add column held_tokens integer not null default 0, add column budgets bigint[];
-- For the sum that a new budget begins with. Nearly free to keep, since steps come in the order of their time.
create index step_by_time on step using brin (decided_at);

-- Who stopped what. '' is every team, agent or tool; the latest of each target counts.
create table freeze_event (
  id bigint generated always as identity primary key,
  team text not null default '',
  agent text not null default '',
  tool text not null default '',
  frozen boolean not null,
  reason text not null,
  at timestamptz not null,
  by_principal text not null,
  constraint target check (agent = '' or (team <> '' and tool = ''))
);
create index freeze_event_latest on freeze_event (team, agent, tool, id desc);

do $$
declare name text;
begin
  foreach name in array array['budget_event', 'freeze_event'] loop
    execute format('create trigger append_only before update or delete on %I for each row execute function refuse_change()', name);
    execute format('create trigger append_only_truncate before truncate on %I for each statement execute function refuse_change()', name);
  end loop;
end $$;
