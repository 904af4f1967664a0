-- An approval whose key was revoked counts no more, and whoever gave it may decide anew, with another key. Else nobody decides twice.
alter table approval_decision drop constraint approval_decision_request_reviewer_key;
alter table approval_decision add unique (request, reviewer, key_id);

create function refuse_second_decision() returns trigger language plpgsql as $$
begin
  -- Two at once by one reviewer would each not see the other.
  perform from approval_request where id = new.request for update;
  if exists (
    select from approval_decision earlier join reviewer_key key on key.key_id = earlier.key_id
    where earlier.request = new.request and earlier.reviewer = new.reviewer
      and (earlier.decision = 'deny' or key.revoked_at is null))
  then
    raise unique_violation using message = 'a reviewer decides once, or again where the key of an approval was revoked';
  end if;
  return new;
end $$;
create trigger once before insert on approval_decision for each row execute function refuse_second_decision();

-- Both are told.
create or replace function note_decision() returns trigger language plpgsql as $$
begin
  insert into approval_event (request, team, run, kind, key, facts, at)
  select id, team, run, 'decided',
    case when exists (select from approval_decision earlier
        where earlier.request = new.request and earlier.reviewer = new.reviewer and earlier.id < new.id)
      then new.reviewer || ' ' || new.key_id else new.reviewer end,
    jsonb_build_object('reviewer', new.reviewer, 'decision', new.decision), new.at
  from approval_request where id = new.request
  on conflict do nothing;
  return null;
end $$;
