-- Who said what became of a call: the person behind the account, who could not have said it, and how long the log of people was then. Rows of
-- before have none of it.
alter table unknown_outcome
  add column person text,
  add column barred jsonb,
  add column keys_size bigint check (keys_size >= 0),
  add constraint said_by_somebody check (state in ('resolved', 'reconciled') or num_nonnulls(person, barred, keys_size) = 0);

create or replace function refuse_outcome_change() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE'
     and (new.id, new.team, new.run, new.seq, new.action, new.name, new.groups, new.opened_at, new.expires_at)
       = (old.id, old.team, old.run, old.seq, old.action, old.name, old.groups, old.opened_at, old.expires_at)
     and (new.state = old.state or (old.state = 'open' and new.state in ('resolved', 'expired', 'cancelled'))
       -- What was said and does not hold counts as not said.
       or (old.state = 'resolved' and new.state in ('reconciled', 'open')))
     and (old.state = 'open' or new.state = 'open'
       or (new.reviewer, new.statement, new.key_id, new.signature, new.resolved_at, new.person, new.barred, new.keys_size)
         is not distinct from
         (old.reviewer, old.statement, old.key_id, old.signature, old.resolved_at, old.person, old.barred, old.keys_size)) then
    return new;
  end if;
  raise exception 'unknown outcome % cannot change so', old.id using errcode = 'restrict_violation';
end $$;

-- `people` is the ledger's log of keys and delegations: a team of that name would write into it. What is there already stays readable.
alter table release add constraint team_is_not_the_log_of_people check (team <> 'people') not valid;
alter table policy_activation add constraint team_is_not_the_log_of_people check (team <> 'people') not valid;
alter table policy_guard add constraint team_is_not_the_log_of_people check (team <> 'people') not valid;
