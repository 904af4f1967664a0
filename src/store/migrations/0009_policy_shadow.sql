-- Which candidate policy set decides beside a team's own. The latest counts; null is none.
create table policy_shadow (
  id bigint generated always as identity primary key,
  team text not null,
  policy_set text references policy_set,
  at timestamptz not null,
  by_principal text not null
);
create index policy_shadow_latest on policy_shadow (team, id desc);

-- What a candidate would have done otherwise, counted since it was set. `error`: it could not be asked; `skipped`: too many were waiting.
create table policy_shadow_count (
  shadow bigint not null references policy_shadow,
  kind text not null
    check (kind in ('newly_denied', 'newly_gated', 'newly_allowed', 'altered', 'unchanged', 'error', 'skipped')),
  -- The policy that the difference is put down to, or the denial's code; '' for none.
  policy text not null,
  -- The tool's or model's name.
  name text not null,
  count bigint not null check (count > 0),
  first_at timestamptz not null,
  last_at timestamptz not null,
  primary key (shadow, kind, policy, name)
)
with (fillfactor = 50);

-- Whose approval an activation of a team's policies needs. The latest counts; null is nobody's.
create table policy_guard (
  id bigint generated always as identity primary key,
  team text not null,
  approvers text,
  quorum integer check (quorum between 1 and 100),
  at timestamptz not null,
  by_principal text not null,
  constraint whole check ((approvers is null) = (quorum is null))
);
create index policy_guard_latest on policy_guard (team, id desc);

-- An activation that waits. It is void once anything else was put in force after `base`, the activation that it was proposed on.
create table policy_proposal (
  id bigint generated always as identity primary key,
  team text not null,
  policy_set text not null references policy_set,
  base bigint references policy_activation,
  approvers text not null,
  quorum integer not null check (quorum between 1 and 100),
  at timestamptz not null,
  by_principal text not null
);
create index policy_proposal_latest on policy_proposal (team, id desc);

create table policy_proposal_approval (
  proposal bigint not null references policy_proposal,
  principal text not null references principal,
  at timestamptz not null,
  primary key (proposal, principal)
);

alter table policy_activation add column proposal bigint unique references policy_proposal;

do $$
declare name text;
begin
  foreach name in array array['policy_shadow', 'policy_guard', 'policy_proposal', 'policy_proposal_approval'] loop
    execute format('create trigger append_only before update or delete on %I for each row execute function refuse_change()', name);
    execute format('create trigger append_only_truncate before truncate on %I for each statement execute function refuse_change()', name);
  end loop;
end $$;
