-- What history facts are counted over. A class is the calls of a team that policies see as the same actions; a fact asks for some classes.
create table call_class (
  id integer generated always as identity primary key,
  team text not null,
  kind text not null,
  name text not null,
  -- The Cedar actions that a call is, or is in, sorted: what `groupsOfTool` in src/policy/schema.ts says.
  actions text[] not null,
  unique (team, kind, name, actions)
);

-- Which classes the calls of a release are of. It follows from the release's document.
create table release_call (
  release text not null references release,
  kind text not null,
  name text not null,
  class integer not null references call_class,
  primary key (release, kind, name)
);

-- Whom a run is for: an HMAC of the subject's id, or '' where it is for nobody in particular. Null: the run was registered before this
-- was kept, and may be for anybody.
alter table run add column subject_key text;

-- One narrow row for each intent, written with it. Nothing in it ever changes, so that counting stays within an index.
create table history_step (
  run text not null,
  seq integer not null,
  class integer not null,
  agent text not null,
  requester text not null,
  subject text,
  -- When the step was decided on.
  at timestamptz not null,
  primary key (run, seq)
)
-- Counts read an index alone where vacuum has been: nothing here dies, so inserts have to call for it.
with (autovacuum_vacuum_insert_threshold = 5000, autovacuum_vacuum_insert_scale_factor = 0);
create index history_step_by_class on history_step (class, at) include (agent);
create index history_step_by_requester on history_step (class, requester, at);
create index history_step_by_subject on history_step (class, subject, at);

create function class_of(of_team text, of_kind text, of_name text, of_actions text[]) returns integer language plpgsql as $$
declare found_id integer;
begin
  insert into call_class (team, kind, name, actions) values (of_team, of_kind, of_name, of_actions) on conflict do nothing;
  select id into strict found_id from call_class
  where team = of_team and kind = of_kind and name = of_name and actions = of_actions;
  return found_id;
end $$;

create function classify_calls(of release) returns void language sql as $$
  insert into release_call (release, kind, name, class)
  select $1.digest, call.kind, call.name, class_of($1.team, call.kind, call.name, call.actions)
  from (
    select 'model' as kind, $1.document -> 'model' ->> 'name' as name, array['model'] as actions
    union all
    select 'tool', tool ->> 'name', array(
      select distinct action collate "C" from (
        values ('tool'), ('tool/' || (tool ->> 'name')), ('effect/' || (tool ->> 'effect'))
        union all select 'group/' || value from jsonb_array_elements_text(tool -> 'groups')) as all_of (action)
      order by 1)
    from jsonb_array_elements($1.document -> 'tools') as tool) as call
  where call.name is not null
  on conflict do nothing
$$;

create function classify_release() returns trigger language plpgsql as $$
begin
  perform classify_calls(new);
  return null;
end $$;
create trigger classify after insert on release for each row execute function classify_release();

-- A call that its release does not list (a kind of step that has no class yet) counts under its kind and name: none goes uncounted.
create function note_intent() returns trigger language plpgsql as $$
begin
  insert into history_step (run, seq, class, agent, requester, subject, at)
  select run.id, step.seq,
    coalesce(call.class, class_of(run.team, step.kind, step.name, array[step.kind, step.kind || '/' || step.name])),
    run.agent, run.requested_by, run.subject_key, new.intended_at
  from run
  join step on step.run = run.id
  left join release_call call on call.release = run.release and call.kind = step.kind and call.name = step.name
  where run.id = new.run and step.seq = new.seq;
  return null;
end $$;
create trigger note after insert on effect for each row execute function note_intent();

-- Policies that are added later see what happened before.
select classify_calls(release) from release;
insert into history_step (run, seq, class, agent, requester, subject, at)
select run.id, step.seq,
  coalesce(call.class, class_of(run.team, step.kind, step.name, array[step.kind, step.kind || '/' || step.name])),
  run.agent, run.requested_by, run.subject_key, effect.intended_at
from effect
join run on run.id = effect.run
join step on step.run = effect.run and step.seq = effect.seq
left join release_call call on call.release = run.release and call.kind = step.kind and call.name = step.name;

do $$
declare name text;
begin
  foreach name in array array['call_class', 'release_call', 'history_step'] loop
    execute format('create trigger append_only before update or delete on %I for each row execute function refuse_change()', name);
    execute format('create trigger append_only_truncate before truncate on %I for each statement execute function refuse_change()', name);
  end loop;
end $$;
