-- Whom a team's approval requests are told to: its receivers. Where one is, and with what it is signed for, is in the payload store, encrypted.
create table notice_receiver (
  id text primary key check (id ~ '^rcv_[0-9A-HJKMNP-TV-Z]{26}$'),
  team text not null,
  -- Only requests that ask one of these groups; empty: every request of the team.
  groups text[] not null,
  kind text not null check (kind in ('webhook', 'email', 'slack')),
  events text[] not null check (events <@ array['opened', 'reminded', 'escalated', 'decided', 'expired', 'cancelled'] and cardinality(events) > 0),
  -- How much of a request it is told.
  level text not null check (level in ('link', 'summary', 'full')),
  -- What people are shown of the address: no secret.
  shown text not null,
  -- Digest of its settings in the payload store. They are deleted when the receiver is removed.
  settings text not null check (settings ~ '^[0-9a-f]{64}$'),
  at timestamptz not null,
  by_principal text not null,
  -- It said that it wants no more.
  disabled_at timestamptz,
  disabled_reason text,
  removed_at timestamptz,
  removed_by text,
  constraint disabled check ((disabled_at is null) = (disabled_reason is null)),
  constraint removed check ((removed_at is null) = (removed_by is null))
);
create index notice_receiver_of_team on notice_receiver (team, id desc);

create function refuse_receiver_change() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE'
     and (new.id, new.team, new.groups, new.kind, new.events, new.level, new.shown, new.settings, new.at, new.by_principal)
       = (old.id, old.team, old.groups, old.kind, old.events, old.level, old.shown, old.settings, old.at, old.by_principal)
     and (old.disabled_at is null or (new.disabled_at, new.disabled_reason) = (old.disabled_at, old.disabled_reason))
     and (old.removed_at is null or (new.removed_at, new.removed_by) = (old.removed_at, old.removed_by)) then
    return new;
  end if;
  raise exception 'receiver % is never changed or deleted, only disabled and removed', old.id using errcode = 'restrict_violation';
end $$;
create trigger ends_once before update or delete on notice_receiver for each row execute function refuse_receiver_change();
create trigger append_only_truncate before truncate on notice_receiver for each statement execute function refuse_change();

-- What is to be told to one receiver: written in the transaction of what it tells of, and sent by any server afterwards.
create table notice (
  seq bigint generated always as identity primary key,
  -- What the receiver knows it by: the same in every attempt.
  id text not null unique default 'ntc_' || replace(gen_random_uuid()::text, '-', ''),
  receiver text not null references notice_receiver,
  -- Null: a test.
  request text references approval_request,
  event text not null check (event in ('opened', 'reminded', 'escalated', 'decided', 'expired', 'cancelled', 'test')),
  -- What tells events of one kind of a request apart: which reminder it is, say.
  key text not null default '',
  -- The groups that the event is about; empty: all that the request asks.
  groups text[] not null default '{}',
  -- What the request was after it.
  request_state text,
  at timestamptz not null,
  state text not null default 'queued' check (state in ('queued', 'delivered', 'failed', 'withdrawn')),
  attempts integer not null default 0 check (attempts >= 0),
  -- When it is to be tried next. While it is being tried: when it is taken to have been lost with its server.
  due_at timestamptz not null,
  -- Why the latest attempt failed, or why it was given up.
  reason text,
  ended_at timestamptz,
  constraint test check ((request is null) = (event = 'test')),
  constraint ended check ((ended_at is not null) = (state <> 'queued'))
);
create unique index notice_once on notice (receiver, request, event, key) where request is not null;
create index notice_due on notice (receiver, due_at) where state = 'queued';
create index notice_of_request on notice (request, seq);
create index notice_of_receiver on notice (receiver, seq desc);

-- A notice is what was told; only how the telling goes changes, and an end stands.
create function refuse_notice_change() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE' and old.state = 'queued'
     and (new.seq, new.id, new.receiver, new.event, new.key, new.groups, new.at)
       = (old.seq, old.id, old.receiver, old.event, old.key, old.groups, old.at)
     and (new.request, new.request_state) is not distinct from (old.request, old.request_state) then
    return new;
  end if;
  raise exception 'notice % cannot change so', old.id using errcode = 'restrict_violation';
end $$;
create trigger ends_once before update or delete on notice for each row execute function refuse_notice_change();
create trigger append_only_truncate before truncate on notice for each statement execute function refuse_change();

-- Queues an event of a request for every receiver that it concerns. The same event given twice is told once.
create function queue_notices(of approval_request, of_event text, of_key text, of_groups text[], of_state text, of_at timestamptz)
returns void language sql as $$
  with asked as (
    select case when $4 <> '{}' then $4 else array(
      select one ->> 'group' from jsonb_array_elements($1.requirements) one
      union
      select also from jsonb_array_elements($1.requirements) one
      cross join jsonb_array_elements_text(coalesce(one -> 'orGroups', '[]')) also) end as groups)
  insert into notice (receiver, request, event, key, groups, request_state, at, due_at)
  select receiver.id, $1.id, $2, $3, $4, $5, $6, $6
  from notice_receiver receiver cross join asked
  where receiver.team = $1.team and receiver.removed_at is null and receiver.disabled_at is null and $2 = any(receiver.events)
    and (receiver.groups = '{}' or receiver.groups && asked.groups)
  order by receiver.id
  on conflict do nothing
$$;

-- What of a request's events people are told, and as what. Decisions of a quorum one by one, and the use of a grant, are not told.
create function note_for_receivers() returns trigger language plpgsql as $$
declare
  request approval_request;
  event text := case new.kind
    when 'approved' then 'decided' when 'denied' then 'decided'
    when 'opened' then 'opened' when 'reminded' then 'reminded' when 'escalated' then 'escalated'
    when 'expired' then 'expired' when 'cancelled' then 'cancelled' end;
  -- Those whom it is escalated to, or whose turn it is.
  groups text[] := case
    when jsonb_typeof(new.facts -> 'to') = 'array' then array(select jsonb_array_elements_text(new.facts -> 'to'))
    when new.facts ? 'group' then array[new.facts ->> 'group'] else '{}' end;
begin
  if event is null then
    return null;
  end if;
  select * into strict request from approval_request where id = new.request;
  perform queue_notices(request, event, new.key, groups, case when event in ('opened', 'reminded', 'escalated') then 'pending' else new.kind end, new.at);
  return null;
end $$;

create trigger note_for_receivers after insert on approval_event for each row execute function note_for_receivers();

-- For what is reported of a team's requests since some time, and of its reviewers' decisions.
create index approval_request_by_opening on approval_request (team, opened_at);
create index approval_decision_of_request on approval_decision (request, reviewer, at);
