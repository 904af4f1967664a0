-- People may have more than one account: separation of duties and quorums go by the person. Null: the account is a person of its own.
alter table principal add column person text check (person ~ '^[a-z0-9][a-z0-9._@-]{0,99}$');
create index principal_by_person on principal (coalesce(person, id));

alter table approval_request
  -- Who may not decide, and why: [{"person", "because"}], as it was when the request was opened.
  add column barred jsonb not null default '[]',
  -- The largest of the amounts that the requirements name: what a delegation's limit is held against. Null: none is known.
  add column amount bigint,
  -- When somebody is to be reminded, or others may decide too: the earliest that was not noted yet. It gives nobody a right.
  add column next_due_at timestamptz;
create index approval_request_next_due on approval_request (next_due_at) where state = 'pending' and next_due_at is not null;

create function refuse_routing_change() returns trigger language plpgsql as $$
begin
  if (new.barred, new.amount) is distinct from (old.barred, old.amount) then
    raise exception 'approval request % cannot change so', old.id using errcode = 'restrict_violation';
  end if;
  return new;
end $$;
create trigger routed_once before update on approval_request for each row execute function refuse_routing_change();

-- For a time, `delegate` may decide where `delegator` might, under an identity of their own. Never changed, only revoked once.
create table approval_delegation (
  id text primary key check (id ~ '^dlg_[0-9A-HJKMNP-TV-Z]{26}$'),
  delegator text not null references principal,
  delegate text not null references principal,
  -- Null: any.
  team text,
  tool text,
  -- Requests whose amount is greater, or unknown, are not covered. Null: no limit.
  max_amount bigint check (max_amount >= 0),
  reason text not null,
  from_at timestamptz not null,
  until_at timestamptz not null,
  at timestamptz not null,
  by_principal text not null references principal,
  revoked_at timestamptz,
  revoked_by text references principal,
  constraint two_people check (delegator <> delegate),
  constraint some_time check (until_at > from_at),
  constraint revoked check ((revoked_at is null) = (revoked_by is null))
);
create index approval_delegation_to on approval_delegation (delegate, until_at);
create index approval_delegation_from on approval_delegation (delegator, until_at);

create function refuse_delegation_change() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE' and old.revoked_at is null and new.revoked_at is not null
     and (new.id, new.delegator, new.delegate, new.team, new.tool, new.max_amount, new.reason, new.from_at, new.until_at, new.at, new.by_principal)
       is not distinct from
       (old.id, old.delegator, old.delegate, old.team, old.tool, old.max_amount, old.reason, old.from_at, old.until_at, old.at, old.by_principal)
  then
    return new;
  end if;
  raise exception 'a delegation is never changed or deleted, only revoked once' using errcode = 'restrict_violation';
end $$;
create trigger revoked_once before update or delete on approval_delegation for each row execute function refuse_delegation_change();
create trigger append_only_truncate before truncate on approval_delegation for each statement execute function refuse_change();

-- Who decided, as what: the person behind the account, the groups that they decided for, and for which person by which delegation. Null
-- in older rows.
alter table approval_decision
  add column person text,
  add column groups text[],
  add column delegation text references approval_delegation,
  add column for_person text,
  add constraint for_somebody check ((delegation is null) = (for_person is null));

-- What happened to requests, for whoever tells people: written by triggers with what it tells of, so that no path forgets it.
create table approval_event (
  id bigint generated always as identity primary key,
  -- Rows become visible in another order than their ids: a reader takes what no open transaction can come before.
  xid xid8 not null default pg_current_xact_id(),
  request text not null references approval_request,
  team text not null,
  run text not null,
  -- opened, reminded, escalated, decided, and the states that requests come to: approved, denied, expired, cancelled, consumed, …
  kind text not null,
  -- What makes it one event of its kind: the reviewer, or the requirement and the reminder's number.
  key text not null default '',
  facts jsonb not null default '{}',
  at timestamptz not null,
  unique (request, kind, key)
);
create index approval_event_in_order on approval_event (xid, id);
create trigger append_only before update or delete on approval_event for each row execute function refuse_change();
create trigger append_only_truncate before truncate on approval_event for each statement execute function refuse_change();

create function note_request() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    insert into approval_event (request, team, run, kind, at) values (new.id, new.team, new.run, 'opened', new.opened_at);
  elsif new.state <> old.state then
    insert into approval_event (request, team, run, kind, at)
    values (new.id, new.team, new.run, new.state,
      case new.state when 'approved' then new.decided_at when 'denied' then new.decided_at when 'consumed' then new.consumed_at else now() end)
    on conflict do nothing;
  end if;
  return null;
end $$;
create trigger note after insert or update on approval_request for each row execute function note_request();

create function note_decision() returns trigger language plpgsql as $$
begin
  insert into approval_event (request, team, run, kind, key, facts, at)
  select id, team, run, 'decided', new.reviewer, jsonb_build_object('reviewer', new.reviewer, 'decision', new.decision), new.at
  from approval_request where id = new.request
  on conflict do nothing;
  return null;
end $$;
create trigger note after insert on approval_decision for each row execute function note_decision();
