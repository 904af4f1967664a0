-- Limits of a run beside its money, in tokens (input and output together) and calls (of models and tools); null is none. As with budgets,
-- `spent` is what ended steps took, `held` the most that those under way can, and the limit grows by what approvers give.
alter table run
  add column max_tokens bigint,
  add column max_calls bigint,
  add column spent_tokens bigint not null default 0,
  add column held_tokens bigint not null default 0,
  add column spent_calls bigint not null default 0,
  add column held_calls bigint not null default 0,
  add constraint tokens_and_calls check (spent_tokens >= 0 and held_tokens >= 0 and spent_calls >= 0 and held_calls >= 0);

-- What runs have taken so far, and what their steps under way will give back.
update run set spent_tokens = taken.spent_tokens, spent_calls = taken.spent_calls, held_tokens = taken.held_tokens,
  held_calls = taken.held_calls
from (select run,
        coalesce(sum(input_tokens + output_tokens) filter (where state <> 'intended'), 0)::bigint as spent_tokens,
        count(*) filter (where state in ('done', 'failed', 'unknown')) as spent_calls,
        coalesce(sum(held_tokens) filter (where state = 'intended'), 0)::bigint as held_tokens,
        count(*) filter (where state = 'intended') as held_calls
      from step group by run) taken
where taken.run = run.id;
