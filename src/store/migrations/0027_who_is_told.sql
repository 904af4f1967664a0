-- Also told: that nobody knows whether a call happened, that a reviewer asked something, that it was answered.
alter table notice_receiver
  drop constraint notice_receiver_events_check,
  add constraint notice_receiver_events_check check (cardinality(events) > 0 and events <@ array[
    'opened', 'reminded', 'escalated', 'asked', 'answered', 'decided', 'expired', 'cancelled', 'outcome_unknown']),
  -- Only what is about runs that this principal asked for. Null: whoever asked.
  add column requester text references principal;

create or replace function refuse_receiver_change() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE'
     and (new.id, new.team, new.groups, new.kind, new.events, new.level, new.shown, new.settings, new.at, new.by_principal)
       = (old.id, old.team, old.groups, old.kind, old.events, old.level, old.shown, old.settings, old.at, old.by_principal)
     and new.requester is not distinct from old.requester
     and (old.disabled_at is null or (new.disabled_at, new.disabled_reason) = (old.disabled_at, old.disabled_reason))
     and (old.removed_at is null or (new.removed_at, new.removed_by) = (old.removed_at, old.removed_by)) then
    return new;
  end if;
  raise exception 'receiver % is never changed or deleted, only disabled and removed', old.id using errcode = 'restrict_violation';
end $$;

alter table notice
  drop constraint notice_event_check,
  add constraint notice_event_check check (event in (
    'opened', 'reminded', 'escalated', 'asked', 'answered', 'decided', 'expired', 'cancelled', 'outcome_unknown', 'test')),
  -- The call of which nobody knows whether it happened. Null: it is about a request.
  add column outcome text references unknown_outcome,
  -- Somebody has taken it to send it: until `due_at`, when they are taken to have died.
  add column under_way boolean not null default false,
  drop constraint test,
  add constraint about_one check (
    num_nonnulls(request, outcome) = case when event = 'test' then 0 else 1 end and (outcome is not null) = (event = 'outcome_unknown'));
create unique index notice_of_outcome_once on notice (receiver, outcome, event, key) where outcome is not null;
create index notice_under_way on notice (receiver) where state = 'queued' and under_way;

create or replace function refuse_notice_change() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE' and old.state = 'queued'
     and (new.seq, new.id, new.receiver, new.event, new.key, new.groups, new.at)
       = (old.seq, old.id, old.receiver, old.event, old.key, old.groups, old.at)
     and (new.request, new.outcome, new.request_state) is not distinct from (old.request, old.outcome, old.request_state) then
    return new;
  end if;
  raise exception 'notice % cannot change so', old.id using errcode = 'restrict_violation';
end $$;

-- Queues an event of a request for every receiver that it concerns: those of the groups that are asked, and of those that it was escalated to.
create or replace function queue_notices(of approval_request, of_event text, of_key text, of_groups text[], of_state text, of_at timestamptz)
returns void language sql as $$
  with asked as (
    select case when $4 <> '{}' then $4 else array(
      select one ->> 'group' from jsonb_array_elements($1.requirements) one
      union
      select also from jsonb_array_elements($1.requirements) one
      cross join jsonb_array_elements_text(coalesce(one -> 'orGroups', '[]')) also
      union
      select late from approval_event event cross join jsonb_array_elements_text(event.facts -> 'to') late
      where event.request = $1.id and event.kind = 'escalated') end as groups)
  insert into notice (receiver, request, event, key, groups, request_state, at, due_at)
  select receiver.id, $1.id, $2, $3, $4, $5, $6, $6
  from notice_receiver receiver cross join asked join run on run.id = $1.run
  where receiver.team = $1.team and receiver.removed_at is null and receiver.disabled_at is null and $2 = any(receiver.events)
    and (receiver.groups = '{}' or receiver.groups && asked.groups)
    and (receiver.requester is null or receiver.requester = run.requested_by)
  order by receiver.id
  on conflict do nothing
$$;

create or replace function note_for_receivers() returns trigger language plpgsql as $$
declare
  told record;
  request approval_request;
begin
  for told in
    select added.request as id, added.kind, added.at, min(added.key) as key,
      case added.kind when 'approved' then 'decided' when 'denied' then 'decided' else added.kind end as event,
      coalesce(array_agg(distinct concerned.name order by concerned.name) filter (where concerned.name is not null), '{}') as groups
    from added
    -- Those whom it is escalated to, or whose turn it is: all whose members may decide by then. Events of before name one group.
    left join lateral (
      select name from jsonb_array_elements_text(
        case when jsonb_typeof(added.facts -> 'groups') = 'array' then added.facts -> 'groups'
          when jsonb_typeof(added.facts -> 'to') = 'array' then added.facts -> 'to'
          when added.facts ? 'group' then jsonb_build_array(added.facts -> 'group') else '[]' end) name) concerned on true
    -- Decisions of a quorum one by one, and the use of a grant, are not told.
    where added.kind in ('approved', 'denied', 'opened', 'reminded', 'escalated', 'expired', 'cancelled')
    group by added.request, added.kind, added.at
    order by min(added.id)
  loop
    select * into strict request from approval_request where id = told.id;
    perform queue_notices(request, told.event, told.key, told.groups,
      case when told.event in ('opened', 'reminded', 'escalated') then 'pending' else told.kind end, told.at);
  end loop;
  return null;
end $$;

create function note_message_for_receivers() returns trigger language plpgsql as $$
declare
  asked approval_request;
begin
  select * into strict asked from approval_request where id = new.request;
  perform queue_notices(asked, case new.kind when 'question' then 'asked' else 'answered' end, new.n::text, '{}', 'pending', new.at);
  return null;
end $$;
create trigger note_for_receivers after insert on approval_message for each row execute function note_message_for_receivers();

-- What became of a call is asked of those whose approval it had, else of everybody; again where what was said of it does not hold.
create function note_outcome_for_receivers() returns trigger language plpgsql as $$
begin
  insert into notice (receiver, outcome, event, key, groups, request_state, at, due_at)
  select receiver.id, new.id, 'outcome_unknown', case tg_op when 'UPDATE' then old.resolved_at::text else '' end, new.groups, new.state,
    asked.at, asked.at
  from notice_receiver receiver join run on run.id = new.run
  cross join (select case tg_op when 'UPDATE' then now() else new.opened_at end as at) asked
  where receiver.team = new.team and receiver.removed_at is null and receiver.disabled_at is null
    and 'outcome_unknown' = any(receiver.events)
    and (receiver.groups = '{}' or new.groups = '{}' or receiver.groups && new.groups)
    and (receiver.requester is null or receiver.requester = run.requested_by)
  order by receiver.id
  on conflict do nothing;
  return null;
end $$;
create trigger note_for_receivers after insert on unknown_outcome for each row execute function note_outcome_for_receivers();
create trigger note_again_for_receivers after update on unknown_outcome for each row
  when (old.state = 'resolved' and new.state = 'open') execute function note_outcome_for_receivers();

-- When a reviewer was first shown a request that waited: what the time to decide is counted from.
create table approval_viewing (
  request text not null references approval_request,
  reviewer text not null references principal,
  at timestamptz not null,
  primary key (request, reviewer)
);
create trigger append_only before update or delete on approval_viewing for each row execute function refuse_change();
create trigger append_only_truncate before truncate on approval_viewing for each statement execute function refuse_change();
