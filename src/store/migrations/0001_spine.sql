-- People and services that may call the API. Tokens are kept as SHA-256 only.
create table principal (
  id text primary key,
  display_name text not null,
  roles text[] not null default '{}',
  groups text[] not null default '{}',
  token_sha256 text unique,
  created_at timestamptz not null default now()
);

-- Contents, content-addressed by the SHA-256 of their RFC 8785 bytes and encrypted at rest (AES-256-GCM).
create table payload (
  digest text primary key check (digest ~ '^[0-9a-f]{64}$'),
  key_id text not null,
  nonce bytea not null,
  ciphertext bytea not null,
  created_at timestamptz not null default now()
);

create table release (
  digest text primary key check (digest ~ '^[0-9a-f]{64}$'),
  team text not null,
  agent text not null,
  document jsonb not null,
  created_at timestamptz not null,
  created_by text not null
);
create index release_by_agent on release (team, agent, created_at desc);

-- A channel is the latest of its events.
create table channel_event (
  id bigint generated always as identity primary key,
  team text not null,
  agent text not null,
  channel text not null check (channel in ('dev', 'staging', 'production')),
  release text not null references release,
  at timestamptz not null,
  by_principal text not null,
  reason text not null default ''
);
create index channel_event_latest on channel_event (team, agent, channel, id desc);

create table policy_set (
  digest text primary key check (digest ~ '^[0-9a-f]{64}$'),
  document jsonb not null,
  created_at timestamptz not null
);

create table policy_activation (
  id bigint generated always as identity primary key,
  team text not null,
  policy_set text not null references policy_set,
  at timestamptz not null,
  by_principal text not null
);
create index policy_activation_latest on policy_activation (team, id desc);

-- The workflow code that a run was executed with, kept so that it can be replayed with it.
create table workflow_bundle (
  digest text primary key check (digest ~ '^[0-9a-f]{64}$'),
  code bytea not null,
  created_at timestamptz not null default now()
);

create table run (
  id text primary key,
  team text not null,
  agent text not null,
  release text not null references release,
  input text not null references payload,
  requested_by text not null,
  status text not null default 'pending' check (status in ('pending', 'running', 'completed', 'failed', 'cancelled')),
  created_at timestamptz not null,
  started_at timestamptz,
  closed_at timestamptz,
  temporal_run_id text,
  workflow_bundle text,
  failure jsonb,
  result text references payload,
  max_steps integer not null,
  max_cost_micro_usd bigint not null,
  steps integer not null default 0,
  spent_micro_usd bigint not null default 0,
  held_micro_usd bigint not null default 0,
  -- Somebody watches until then: tokens are published beside the history.
  watched_until timestamptz,
  constraint budget check (held_micro_usd >= 0 and spent_micro_usd >= 0),
  constraint closed check ((closed_at is not null) = (status in ('completed', 'failed', 'cancelled')))
);
create index run_newest on run (team, id desc);
create index run_open on run (id) where status in ('pending', 'running');

-- One governed call. `result` is set once, with the state that ends it.
create table step (
  run text not null references run,
  seq integer not null check (seq >= 0),
  kind text not null check (kind in ('model', 'tool', 'retrieval', 'notify')),
  name text not null,
  action text not null,
  arguments text not null,
  -- For a tool: the model step that asked for it, and the index of the call in it.
  asked_by integer,
  call_index integer,
  call_id text,
  state text not null check (state in ('waiting', 'intended', 'done', 'failed', 'denied', 'unknown', 'cancelled')),
  result text references payload,
  held_micro_usd bigint not null default 0,
  cost_micro_usd bigint not null default 0,
  input_tokens integer not null default 0,
  cached_input_tokens integer not null default 0,
  output_tokens integer not null default 0,
  reasoning_tokens integer not null default 0,
  decided_at timestamptz not null,
  finished_at timestamptz,
  primary key (run, seq),
  constraint tokens check (cached_input_tokens <= input_tokens and reasoning_tokens <= output_tokens),
  constraint finished check ((finished_at is not null) = (state in ('done', 'failed', 'denied', 'unknown', 'cancelled')))
);

-- Every decision ever made on a step; a step that waited for people has two or more. Append-only.
create table decision (
  run text not null,
  seq integer not null,
  n integer not null,
  -- The Temporal activity that asked. A retry of it finds its own decision.
  activity text not null,
  outcome text not null check (outcome in ('allow', 'deny', 'require_approval')),
  code text,
  policies text[] not null default '{}',
  policy_set text not null references policy_set,
  -- What the engine was asked, for a later re-decision: the facts here, the contents by digest in the step.
  facts jsonb not null,
  request text not null,
  approval text,
  at timestamptz not null,
  primary key (run, seq, n),
  foreign key (run, seq) references step
);

-- The effect journal: an intent before the effect, its end after.
create table effect (
  run text not null,
  seq integer not null,
  idempotency_key text not null unique,
  state text not null check (state in ('intended', 'result', 'unknown', 'reconciled')),
  -- How often the effect was begun: what bounds retries, since Temporal also counts attempts in which nothing could be decided.
  attempts integer not null default 1,
  intended_at timestamptz not null,
  ended_at timestamptz,
  primary key (run, seq),
  foreign key (run, seq) references step,
  constraint ended check ((ended_at is not null) = (state <> 'intended'))
);

-- History is never rewritten. Erasing a payload's contents is the one exception, and has a path of its own.
create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception '% rows are never changed or deleted', tg_table_name using errcode = 'restrict_violation';
end $$;

do $$
declare name text;
begin
  foreach name in array array['release', 'channel_event', 'policy_set', 'policy_activation', 'decision', 'workflow_bundle'] loop
    execute format('create trigger append_only before update or delete on %I for each row execute function refuse_change()', name);
    execute format('create trigger append_only_truncate before truncate on %I for each statement execute function refuse_change()', name);
  end loop;
end $$;
