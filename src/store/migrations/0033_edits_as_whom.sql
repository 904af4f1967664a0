-- As whom somebody changed a call: the person behind the account, the groups that were asked, and for which person by which delegation.
-- Null in older rows.
alter table approval_edit
  add column person text,
  add column groups text[],
  add column delegation text references approval_delegation,
  add column for_person text,
  add constraint for_somebody check ((delegation is null) = (for_person is null));

create or replace function refuse_edit_change() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE'
     and (new.request, new.reviewer, new.editors, new.persons, new.arguments, new.action, new.statement, new.key_id, new.signature, new.at)
       = (old.request, old.reviewer, old.editors, old.persons, old.arguments, old.action, old.statement, old.key_id, old.signature, old.at)
     and (new.person, new.groups, new.delegation, new.for_person) is not distinct from (old.person, old.groups, old.delegation, old.for_person)
     and (old.successor is null or new.successor = old.successor)
     and (old.signalled_at is null or new.signalled_at = old.signalled_at) then
    return new;
  end if;
  raise exception 'the edit of % cannot change so', old.request using errcode = 'restrict_violation';
end $$;
