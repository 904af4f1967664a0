-- Public keys that reviewers sign with. A key is never changed, only revoked, once.
create table reviewer_key (
  key_id text primary key check (key_id ~ '^[0-9a-f]{64}$'),
  principal text not null references principal,
  -- SPKI of an Ed25519 key, base64.
  public_key text not null,
  added_at timestamptz not null,
  added_by text not null,
  revoked_at timestamptz
);

create table approval_request (
  id text primary key check (id ~ '^apr_[0-9A-HJKMNP-TV-Z]{26}$'),
  team text not null,
  run text not null references run,
  seq integer not null check (seq >= 0),
  -- The digest of the action that is asked about: nothing else is ever approved by it.
  action text not null check (action ~ '^[0-9a-f]{64}$'),
  name text not null,
  -- What the reviewer sees, in the payload store.
  rendered text not null references payload,
  requirements jsonb not null check (jsonb_array_length(requirements) > 0),
  policy_set text not null references policy_set,
  state text not null default 'pending'
    check (state in ('pending', 'approved', 'denied', 'expired', 'cancelled', 'consumed')),
  opened_at timestamptz not null,
  expires_at timestamptz not null check (expires_at > opened_at),
  decided_at timestamptz,
  consumed_at timestamptz,
  -- The run was told that it may look again.
  signalled_at timestamptz,
  constraint decided check (decided_at is not null or state in ('pending', 'expired', 'cancelled')),
  constraint consumed check ((consumed_at is not null) = (state = 'consumed'))
);
create unique index approval_request_live on approval_request (run, seq) where state in ('pending', 'approved');
create index approval_request_inbox on approval_request (team, state, id desc);
create index approval_request_unsignalled on approval_request (decided_at)
  where signalled_at is null and state in ('approved', 'denied');
create index approval_request_due on approval_request (expires_at) where state in ('pending', 'approved');

-- What was asked never changes; how it ended changes along the table of src/approvals/state.ts, and what is set stays.
create function refuse_request_change() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE'
     and (new.id, new.team, new.run, new.seq, new.action, new.name, new.rendered, new.requirements, new.policy_set, new.opened_at, new.expires_at)
       = (old.id, old.team, old.run, old.seq, old.action, old.name, old.rendered, old.requirements, old.policy_set, old.opened_at, old.expires_at)
     and (new.state = old.state
       or (old.state = 'pending' and new.state in ('approved', 'denied', 'expired', 'cancelled'))
       or (old.state = 'approved' and new.state in ('consumed', 'expired', 'cancelled')))
     and (old.decided_at is null or new.decided_at = old.decided_at)
     and (old.consumed_at is null or new.consumed_at = old.consumed_at)
     and (old.signalled_at is null or new.signalled_at = old.signalled_at) then
    return new;
  end if;
  raise exception 'approval request % cannot change so', old.id using errcode = 'restrict_violation';
end $$;
create trigger ends_once before update or delete on approval_request for each row execute function refuse_request_change();
create trigger append_only_truncate before truncate on approval_request for each statement execute function refuse_change();

-- What each reviewer signed: the exact bytes, so that they can be verified years later. Append-only.
create table approval_decision (
  id bigint generated always as identity primary key,
  request text not null references approval_request,
  reviewer text not null references principal,
  decision text not null check (decision in ('approve', 'deny')),
  statement text not null,
  key_id text not null references reviewer_key,
  signature text not null,
  at timestamptz not null,
  unique (request, reviewer)
);
create trigger append_only before update or delete on approval_decision for each row execute function refuse_change();
create trigger append_only_truncate before truncate on approval_decision for each statement execute function refuse_change();

create function refuse_key_change() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE' and old.revoked_at is null and new.revoked_at is not null
     and (new.key_id, new.principal, new.public_key, new.added_at, new.added_by)
       = (old.key_id, old.principal, old.public_key, old.added_at, old.added_by) then
    return new;
  end if;
  raise exception 'a reviewer key is never changed or deleted, only revoked once' using errcode = 'restrict_violation';
end $$;
create trigger revoked_once before update or delete on reviewer_key for each row execute function refuse_key_change();
create trigger append_only_truncate before truncate on reviewer_key for each statement execute function refuse_change();
