-- The Temporal executions of a run: one, and another for each time that it continued as new. Temporal deletes its histories after the namespace's
-- retention time, so each is archived once it has ended.
create table run_execution (
  run text not null references run,
  -- In the order in which they ran.
  position integer not null check (position >= 0),
  temporal_run_id text not null,
  opened_at timestamptz not null,
  -- The history in protobuf JSON, in the payload store; null until it is archived.
  history text references payload,
  events integer,
  -- RFC 6962 root over the RFC 8785 bytes of each event.
  root text check (root ~ '^[0-9a-f]{64}$'),
  archived_at timestamptz,
  -- Temporal had it no more when it was to be archived.
  lost_at timestamptz,
  primary key (run, position),
  unique (run, temporal_run_id),
  constraint archived check ((archived_at is null) = (history is null) and (history is null) = (root is null) and (root is null) = (events is null)),
  constraint either check (archived_at is null or lost_at is null)
);
create index run_execution_open on run_execution (opened_at) where archived_at is null and lost_at is null;

insert into run_execution (run, position, temporal_run_id, opened_at)
select id, 0, temporal_run_id, coalesce(started_at, created_at) from run where temporal_run_id is not null;

-- An execution is archived, or lost, once; the rest of it never changes.
create function refuse_execution_change() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE' and old.archived_at is null and old.lost_at is null
     and (new.run, new.position, new.temporal_run_id, new.opened_at) = (old.run, old.position, old.temporal_run_id, old.opened_at) then
    return new;
  end if;
  raise exception 'an execution of a run is archived once, and never changed or deleted' using errcode = 'restrict_violation';
end $$;
create trigger archived_once before update or delete on run_execution for each row execute function refuse_execution_change();
create trigger append_only_truncate before truncate on run_execution for each statement execute function refuse_change();
