-- Approvals that are given ahead: for one tool of one agent, to targets, so often, up to a sum, for a time. The terms never change.
create table standing_grant (
  id text primary key check (id ~ '^sgr_[0-9A-HJKMNP-TV-Z]{26}$'),
  team text not null,
  agent text not null,
  tool text not null,
  -- What its approvers sign the digest of: src/core/standing-grant.ts.
  terms jsonb not null,
  terms_digest text not null check (terms_digest ~ '^[0-9a-f]{64}$'),
  proposed_by text not null references principal,
  proposed_at timestamptz not null,
  -- Until when it can be approved.
  expires_at timestamptz not null check (expires_at > proposed_at),
  -- As the terms have it: for looking up.
  from_at timestamptz not null,
  until_at timestamptz not null check (until_at > from_at),
  state text not null default 'proposed' check (state in ('proposed', 'active', 'revoked')),
  active_at timestamptz,
  revoked_at timestamptz,
  revoked_by text references principal,
  constraint active check (state <> 'active' or active_at is not null),
  constraint revoked check ((state = 'revoked') = (revoked_at is not null) and (revoked_at is null) = (revoked_by is null))
);
create index standing_grant_in_force on standing_grant (team, agent, tool, until_at) where state = 'active';
create index standing_grant_open on standing_grant (team, agent, tool) where state <> 'revoked';

create function refuse_standing_change() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE'
     and (new.id, new.team, new.agent, new.tool, new.terms, new.terms_digest, new.proposed_by, new.proposed_at, new.expires_at, new.from_at, new.until_at)
       = (old.id, old.team, old.agent, old.tool, old.terms, old.terms_digest, old.proposed_by, old.proposed_at, old.expires_at, old.from_at, old.until_at)
     and (old.state = 'proposed' and new.state in ('active', 'revoked')
       or old.state = 'active' and new.state = 'revoked' and new.active_at = old.active_at) then
    return new;
  end if;
  raise exception 'a standing grant is never changed or deleted, only approved once and revoked once' using errcode = 'restrict_violation';
end $$;
create trigger ends_once before update or delete on standing_grant for each row execute function refuse_standing_change();
create trigger append_only_truncate before truncate on standing_grant for each statement execute function refuse_change();

create table standing_approval (
  grant_id text not null references standing_grant,
  reviewer text not null references principal,
  -- The person behind the account, and the groups that it counts for, then.
  person text not null,
  groups text[] not null,
  statement text not null,
  key_id text not null references reviewer_key,
  signature text not null,
  at timestamptz not null,
  primary key (grant_id, reviewer)
);
create trigger append_only before update or delete on standing_approval for each row execute function refuse_change();
create trigger append_only_truncate before truncate on standing_approval for each statement execute function refuse_change();

-- Each use, with what they come to with it. Written under the grant's lock; that a number is given once holds in any case.
create table standing_use (
  grant_id text not null references standing_grant,
  n integer not null check (n >= 1),
  run text not null,
  seq integer not null,
  amount bigint not null check (amount >= 0),
  total bigint not null check (total >= amount),
  -- Who could not have approved the call: [{"person", "because"}].
  barred jsonb not null,
  at timestamptz not null,
  primary key (grant_id, n),
  unique (run, seq),
  foreign key (run, seq) references step
);
create trigger append_only before update or delete on standing_use for each row execute function refuse_change();
create trigger append_only_truncate before truncate on standing_use for each statement execute function refuse_change();

-- The standing grant that took the place of an approval.
alter table decision add column standing_grant text references standing_grant;
