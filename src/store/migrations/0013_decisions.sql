-- A call that may or may not have happened: a person who looked says which. What is asked never changes; how it ended is set once.
create table unknown_outcome (
  id text primary key check (id ~ '^apr_[0-9A-HJKMNP-TV-Z]{26}$'),
  team text not null,
  run text not null,
  seq integer not null,
  action text not null check (action ~ '^[0-9a-f]{64}$'),
  name text not null,
  -- Whose members may say it: those who were asked to approve the call. Empty: any reviewer.
  groups text[] not null,
  opened_at timestamptz not null,
  expires_at timestamptz not null check (expires_at > opened_at),
  -- `resolved`: somebody said it; `reconciled`: the gate has taken it over into the step.
  state text not null default 'open' check (state in ('open', 'resolved', 'reconciled', 'expired', 'cancelled')),
  reviewer text references principal,
  -- The exact text that was signed.
  statement text,
  key_id text references reviewer_key,
  signature text,
  resolved_at timestamptz,
  signalled_at timestamptz,
  unique (run, seq),
  foreign key (run, seq) references step,
  constraint signed check (
    num_nonnulls(reviewer, statement, key_id, signature, resolved_at) = case when state in ('resolved', 'reconciled') then 5 else 0 end)
);
create index unknown_outcome_inbox on unknown_outcome (team, state, id desc);
create index unknown_outcome_unsignalled on unknown_outcome (resolved_at) where signalled_at is null and state = 'resolved';

create function refuse_outcome_change() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE'
     and (new.id, new.team, new.run, new.seq, new.action, new.name, new.groups, new.opened_at, new.expires_at)
       = (old.id, old.team, old.run, old.seq, old.action, old.name, old.groups, old.opened_at, old.expires_at)
     and (new.state = old.state or (old.state = 'open' and new.state in ('resolved', 'expired', 'cancelled'))
       -- What was said and does not hold counts as not said.
       or (old.state = 'resolved' and new.state in ('reconciled', 'open')))
     and (old.state = 'open' or new.state = 'open'
       or (new.reviewer, new.statement, new.key_id, new.signature, new.resolved_at)
         is not distinct from (old.reviewer, old.statement, old.key_id, old.signature, old.resolved_at)) then
    return new;
  end if;
  raise exception 'unknown outcome % cannot change so', old.id using errcode = 'restrict_violation';
end $$;
create trigger ends_once before update or delete on unknown_outcome for each row execute function refuse_outcome_change();
create trigger append_only_truncate before truncate on unknown_outcome for each statement execute function refuse_change();

-- A reviewer changed the arguments of a call: the request ends, and the new action is decided on anew. Never changed, but for the request
-- that the new action needed in turn, which is set once.
create table approval_edit (
  request text primary key references approval_request,
  reviewer text not null references principal,
  -- Everybody whose change is in the new action, by way of earlier edits too: none of them may approve it unless its policy says so.
  editors text[] not null,
  -- The digest of the new arguments, in the payload store, and of the new action.
  arguments text not null references payload,
  action text not null check (action ~ '^[0-9a-f]{64}$'),
  statement text not null,
  key_id text not null references reviewer_key,
  signature text not null,
  at timestamptz not null,
  successor text unique references approval_request,
  signalled_at timestamptz
);
create index approval_edit_unsignalled on approval_edit (at) where signalled_at is null;

create function refuse_edit_change() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE'
     and (new.request, new.reviewer, new.editors, new.arguments, new.action, new.statement, new.key_id, new.signature, new.at)
       = (old.request, old.reviewer, old.editors, old.arguments, old.action, old.statement, old.key_id, old.signature, old.at)
     and (old.successor is null or new.successor = old.successor)
     and (old.signalled_at is null or new.signalled_at = old.signalled_at) then
    return new;
  end if;
  raise exception 'the edit of % cannot change so', old.request using errcode = 'restrict_violation';
end $$;
create trigger set_once before update or delete on approval_edit for each row execute function refuse_edit_change();
create trigger append_only_truncate before truncate on approval_edit for each statement execute function refuse_change();

-- The request whose edit the decision was made on.
alter table decision add column edit text;

-- What was asked about a request and answered, in order. Append-only; the texts are in the payload store.
create table approval_message (
  request text not null references approval_request,
  n integer not null check (n between 0 and 99),
  kind text not null check (kind in ('question', 'answer')),
  author text not null references principal,
  content text not null references payload,
  at timestamptz not null,
  primary key (request, n)
);
create trigger append_only before update or delete on approval_message for each row execute function refuse_change();
create trigger append_only_truncate before truncate on approval_message for each statement execute function refuse_change();

-- An approval given in advance: for this exact tool and target, within bounds. What it says never changes; each use is counted under its lock.
create table standing_grant (
  id text primary key check (id ~ '^sgr_[0-9A-HJKMNP-TV-Z]{26}$'),
  team text not null,
  agent text not null,
  tool text not null,
  document jsonb not null,
  digest text not null check (digest ~ '^[0-9a-f]{64}$'),
  proposed_by text not null references principal,
  proposed_at timestamptz not null,
  expires_at timestamptz not null check (expires_at > proposed_at),
  max_uses integer not null check (max_uses > 0),
  max_sum bigint check (max_sum >= 0),
  state text not null default 'proposed' check (state in ('proposed', 'active', 'denied', 'revoked')),
  uses integer not null default 0,
  sum bigint not null default 0,
  revoked_by text,
  revoked_at timestamptz,
  reason text,
  -- Whatever the code that counts: never past the bounds.
  constraint bounds check (uses between 0 and max_uses and sum >= 0 and (max_sum is null or sum <= max_sum)),
  constraint revocation check (num_nonnulls(revoked_by, revoked_at, reason) = case when state = 'revoked' then 3 else 0 end)
);
create index standing_grant_for on standing_grant (team, agent, tool) where state = 'active';
create index standing_grant_list on standing_grant (team, id desc);

create function refuse_grant_change() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE'
     and (new.id, new.team, new.agent, new.tool, new.document, new.digest, new.proposed_by, new.proposed_at, new.expires_at, new.max_uses)
       = (old.id, old.team, old.agent, old.tool, old.document, old.digest, old.proposed_by, old.proposed_at, old.expires_at, old.max_uses)
     and new.max_sum is not distinct from old.max_sum
     and (new.state = old.state or (old.state = 'proposed' and new.state in ('active', 'denied', 'revoked'))
       or (old.state = 'active' and new.state = 'revoked'))
     and new.uses >= old.uses and new.sum >= old.sum then
    return new;
  end if;
  raise exception 'standing grant % cannot change so', old.id using errcode = 'restrict_violation';
end $$;
create trigger bounded before update or delete on standing_grant for each row execute function refuse_grant_change();
create trigger append_only_truncate before truncate on standing_grant for each statement execute function refuse_change();

create table standing_grant_decision (
  id bigint generated always as identity primary key,
  standing_grant text not null references standing_grant,
  reviewer text not null references principal,
  decision text not null check (decision in ('approve', 'deny')),
  statement text not null,
  key_id text not null references reviewer_key,
  signature text not null,
  at timestamptz not null,
  unique (standing_grant, reviewer)
);
create trigger append_only before update or delete on standing_grant_decision for each row execute function refuse_change();
create trigger append_only_truncate before truncate on standing_grant_decision for each statement execute function refuse_change();

create table standing_grant_use (
  standing_grant text not null references standing_grant,
  n integer not null check (n >= 0),
  run text not null,
  seq integer not null,
  amount bigint not null check (amount >= 0),
  at timestamptz not null,
  primary key (standing_grant, n),
  unique (run, seq)
);
create trigger append_only before update or delete on standing_grant_use for each row execute function refuse_change();
create trigger append_only_truncate before truncate on standing_grant_use for each statement execute function refuse_change();

-- The standing grant that the decision was made by.
alter table decision add column standing_grant text;
