-- Data keys, wrapped by a key provider: one for each person whom runs act for, one for runs that act for nobody in particular. To destroy
-- one is all that ever happens to it.
create table data_key (
  id text primary key check (id ~ '^key_[0-9A-HJKMNP-TV-Z]{26}$'),
  -- Whose, as in `run.subject_key`: an HMAC of the subject's id, '' for nobody in particular.
  subject text not null,
  provider text not null,
  wrapped bytea,
  created_at timestamptz not null,
  destroyed_at timestamptz,
  constraint destroyed check ((wrapped is null) = (destroyed_at is not null))
);
create unique index data_key_in_use on data_key (subject) where destroyed_at is null;

create function refuse_data_key_change() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE' and old.destroyed_at is null and new.destroyed_at is not null
     and (new.id, new.subject, new.provider, new.created_at) = (old.id, old.subject, old.provider, old.created_at) then
    return new;
  end if;
  raise exception 'data key % can only be destroyed', old.id using errcode = 'restrict_violation';
end $$;
create trigger destroyed_once before update or delete on data_key for each row execute function refuse_data_key_change();
create trigger append_only_truncate before truncate on data_key for each statement execute function refuse_change();

-- A run's own key and salt, encrypted under its data key. Null: a run of before, whose contents are under the deployment's key and have bare
-- digests; or one whose contents were erased.
alter table run add column data_key text references data_key, add column sealed_key bytea, add column contents_erased_at timestamptz,
  add constraint keyed check ((data_key is not null and contents_erased_at is null) = (sealed_key is not null)),
  add constraint erased check (contents_erased_at is null or (data_key is not null and closed_at is not null));
create index run_of_subject on run (subject_key, id) where subject_key <> '';

-- What is erased stays erased, and a run's key is never another.
create function refuse_rekeying() returns trigger language plpgsql as $$
begin
  if new.data_key is distinct from old.data_key
     or old.contents_erased_at is distinct from new.contents_erased_at and old.contents_erased_at is not null
     or new.sealed_key is distinct from old.sealed_key and new.sealed_key is not null then
    raise exception 'the keys of run % cannot change so', old.id using errcode = 'restrict_violation';
  end if;
  return new;
end $$;
create trigger keyed_once before update of data_key, sealed_key, contents_erased_at on run for each row execute function refuse_rekeying();

-- Nothing is erased of whom or what a hold stands on. Holds are placed and lifted, never deleted.
create table legal_hold (
  id text primary key check (id ~ '^hold_[0-9A-HJKMNP-TV-Z]{26}$'),
  -- As in `run.subject_key`, or of one run.
  subject text,
  run text references run,
  reason text not null,
  placed_by text not null,
  placed_at timestamptz not null,
  lifted_by text,
  lifted_at timestamptz,
  lift_reason text,
  constraint of_one check (num_nonnulls(subject, run) = 1),
  constraint lifted check (num_nonnulls(lifted_by, lifted_at, lift_reason) in (0, 3))
);
create index legal_hold_of_subject on legal_hold (subject) where lifted_at is null;
create index legal_hold_of_run on legal_hold (run) where lifted_at is null;

create function refuse_hold_change() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE' and old.lifted_at is null
     and (new.id, new.subject, new.run, new.reason, new.placed_by, new.placed_at)
       is not distinct from (old.id, old.subject, old.run, old.reason, old.placed_by, old.placed_at) then
    return new;
  end if;
  raise exception 'hold % can only be lifted, once', old.id using errcode = 'restrict_violation';
end $$;
create trigger lifted_once before update or delete on legal_hold for each row execute function refuse_hold_change();
create trigger append_only_truncate before truncate on legal_hold for each statement execute function refuse_change();

-- How long a team keeps the contents of closed runs, in days; null: for ever. `effects`: longer (or shorter) for runs that had such effects, the
-- longest counts. The last one of a team is in force.
create table retention_event (
  id bigint generated always as identity primary key,
  team text not null,
  days integer check (days >= 0),
  effects jsonb not null default '{}',
  at timestamptz not null,
  by_principal text not null,
  reason text not null
);
create index retention_event_latest on retention_event (team, id desc);
create trigger append_only before update or delete on retention_event for each row execute function refuse_change();
create trigger append_only_truncate before truncate on retention_event for each statement execute function refuse_change();
-- What is looked for when the time of contents is over.
create index run_with_contents on run (team, closed_at) where closed_at is not null and sealed_key is not null;
