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
  -- The persons behind them, and behind those for whom they changed it, at that time.
  persons text[] not null,
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
     and (new.request, new.reviewer, new.editors, new.persons, new.arguments, new.action, new.statement, new.key_id, new.signature, new.at)
       = (old.request, old.reviewer, old.editors, old.persons, old.arguments, old.action, old.statement, old.key_id, old.signature, old.at)
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
