-- For which teams somebody holds a role: {"reviewer": ["shop"]}. A role that is not named here is held for all teams.
alter table principal add column role_teams jsonb not null default '{}' check (jsonb_typeof(role_teams) = 'object');

-- The roles that are held for a team; for none (null), those that are held for all. What is not a list of teams is for none.
create function roles_for(roles text[], role_teams jsonb, team text) returns text[] language sql immutable as $$
  select coalesce(array_agg(role), '{}') from unnest(roles) role
  where not role_teams ? role or (jsonb_typeof(role_teams -> role) = 'array' and role_teams -> role ? team)
$$;
