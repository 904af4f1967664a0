-- Events on their way to the ledger, written in the transaction that they tell of. Rows leave when they are sequenced.
create table ledger_outbox (
  log text not null,
  id bigint generated always as identity,
  dedup_key text not null,
  run text,
  -- Canonical JSON of the entry without its `run`. Text, not jsonb: jsonb refuses U+0000, which JSON escapes.
  event text not null check (octet_length(event) <= 16384),
  -- In the order in which the sequencer takes them.
  primary key (log, id),
  unique (log, dedup_key)
)
-- A queue is mostly dead rows: without this, vacuum comes too late, and taking the first rows has to pass all the dead ones.
with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_insert_threshold = -1);

-- The leaves of each log's tree. `body` is the exact bytes that `leaf_hash` is over.
create table ledger_entry (
  log text not null,
  idx bigint not null check (idx >= 0),
  leaf_hash bytea not null check (octet_length(leaf_hash) = 32),
  body bytea not null check (octet_length(body) <= 16384),
  -- These three are in `body` too; here they are what the constraints hold.
  dedup_key text not null,
  run text,
  seq bigint check (seq >= 0),
  primary key (log, idx),
  unique (log, dedup_key),
  constraint in_run check ((run is null) = (seq is null))
);
create unique index ledger_entry_run on ledger_entry (run, seq, log) where run is not null;

-- Tiles of height 8, as in C2SP tlog-tiles: `data` is the hashes of nodes n * 256 … n * 256 + width - 1 of tree level 8 * level.
-- Level 0 has full tiles only: its last one is the newest entries' leaf hashes. Above it, each width is a row of its own.
create table ledger_tile (
  log text not null,
  level smallint not null check (level >= 0),
  n bigint not null check (n >= 0),
  width smallint not null check (width between 1 and 256),
  data bytea not null check (octet_length(data) = width * 32),
  primary key (log, level, n, width),
  constraint full_leaves check (level > 0 or width = 256)
);

-- The head of each log. Every append is a compare-and-swap on `size`.
create table ledger_state (
  log text primary key,
  size bigint not null check (size >= 0),
  root bytea not null check (octet_length(root) = 32),
  -- Roots of the perfect subtrees, the largest first.
  right_edge bytea[] not null
);

-- The last entry of each run: what its next one chains to.
create table ledger_run (
  log text not null,
  run text not null,
  seq bigint not null,
  leaf_hash bytea not null check (octet_length(leaf_hash) = 32),
  primary key (log, run)
);

-- Signed notes. Two of one size cannot be.
create table ledger_checkpoint (
  log text not null,
  size bigint not null check (size > 0),
  note text not null,
  signed_at timestamptz not null default now(),
  primary key (log, size)
);

create function refuse_shrinking() returns trigger language plpgsql as $$
begin
  if new.log is distinct from old.log or new.size <= old.size then
    raise exception 'a ledger only grows' using errcode = 'restrict_violation';
  end if;
  return new;
end $$;

do $$
declare name text;
begin
  foreach name in array array['ledger_entry', 'ledger_tile', 'ledger_checkpoint'] loop
    execute format('create trigger append_only before update or delete on %I for each row execute function refuse_change()', name);
    execute format('create trigger append_only_truncate before truncate on %I for each statement execute function refuse_change()', name);
  end loop;
  foreach name in array array['ledger_state', 'ledger_run'] loop
    execute format('create trigger keep before delete on %I for each row execute function refuse_change()', name);
    execute format('create trigger keep_truncate before truncate on %I for each statement execute function refuse_change()', name);
  end loop;
end $$;
create trigger grow before update on ledger_state for each row execute function refuse_shrinking();
-- A queued event waits to become an entry as it is.
create trigger as_appended before update on ledger_outbox for each row execute function refuse_change();
create trigger as_appended_truncate before truncate on ledger_outbox for each statement execute function refuse_change();
