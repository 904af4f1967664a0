-- A receiver gets every event, those that come to be later too, unless it names some (null: it names none). And what it gets may change.
alter table notice_receiver alter column events drop not null;

create or replace function refuse_receiver_change() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE'
     and (new.id, new.team, new.kind, new.shown, new.settings, new.at, new.by_principal)
       = (old.id, old.team, old.kind, old.shown, old.settings, old.at, old.by_principal)
     and new.requester is not distinct from old.requester
     -- What it gets changes only while it gets any.
     and ((new.groups, new.level) = (old.groups, old.level) and new.events is not distinct from old.events
       or old.disabled_at is null and old.removed_at is null)
     and (old.disabled_at is null or (new.disabled_at, new.disabled_reason) = (old.disabled_at, old.disabled_reason))
     and (old.removed_at is null or (new.removed_at, new.removed_by) = (old.removed_at, old.removed_by)) then
    return new;
  end if;
  raise exception 'receiver % is never deleted, and its address never changed', old.id using errcode = 'restrict_violation';
end $$;

-- Whoever named no events was given all that there were then, in their order.
update notice_receiver set events = null where disabled_at is null and removed_at is null and events in (
  array['opened', 'reminded', 'escalated', 'decided', 'expired', 'cancelled'],
  array['opened', 'reminded', 'escalated', 'asked', 'answered', 'decided', 'expired', 'cancelled', 'outcome_unknown']);

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
  where receiver.team = $1.team and receiver.removed_at is null and receiver.disabled_at is null and (receiver.events is null or $2 = any(receiver.events))
    and (receiver.groups = '{}' or receiver.groups && asked.groups)
    and (receiver.requester is null or receiver.requester = run.requested_by)
  order by receiver.id
  on conflict do nothing
$$;

create or replace function note_outcome_for_receivers() returns trigger language plpgsql as $$
begin
  insert into notice (receiver, outcome, event, key, groups, request_state, at, due_at)
  select receiver.id, new.id, 'outcome_unknown', case tg_op when 'UPDATE' then old.resolved_at::text else '' end, new.groups, new.state,
    asked.at, asked.at
  from notice_receiver receiver join run on run.id = new.run
  cross join (select case tg_op when 'UPDATE' then now() else new.opened_at end as at) asked
  where receiver.team = new.team and receiver.removed_at is null and receiver.disabled_at is null
    and (receiver.events is null or 'outcome_unknown' = any(receiver.events))
    and (receiver.groups = '{}' or new.groups = '{}' or receiver.groups && new.groups)
    and (receiver.requester is null or receiver.requester = run.requested_by)
  order by receiver.id
  on conflict do nothing;
  return null;
end $$;
