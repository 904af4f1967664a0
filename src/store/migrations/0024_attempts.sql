-- A model is paid for every attempt, also one whose answer was lost. `cost_micro_usd` and the tokens are of all attempts; of them, `assumed` is
-- what was charged where nobody knows what an attempt took: all that the step held. Tokens that are assumed are in none of the other columns.
alter table step
  add column assumed_micro_usd bigint not null default 0 check (assumed_micro_usd >= 0),
  add column assumed_tokens bigint not null default 0 check (assumed_tokens >= 0),
  -- How many of the effect's attempts are in these sums. One that was begun and is not may have been paid for.
  add column attempts_settled integer not null default 0;
