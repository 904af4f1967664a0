-- A grant that was used, of a call of which nobody knows whether it happened, is `outcome_unknown` until somebody has said so: then it is
-- `consumed` again.
alter table approval_request
  drop constraint approval_request_state_check,
  drop constraint consumed,
  add constraint approval_request_state_check
    check (state in ('pending', 'approved', 'denied', 'expired', 'cancelled', 'consumed', 'outcome_unknown')),
  add constraint consumed check ((consumed_at is not null) = (state in ('consumed', 'outcome_unknown')));

create or replace function refuse_request_change() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE'
     and (new.id, new.team, new.run, new.seq, new.action, new.name, new.rendered, new.requirements, new.policy_set, new.opened_at, new.expires_at)
       = (old.id, old.team, old.run, old.seq, old.action, old.name, old.rendered, old.requirements, old.policy_set, old.opened_at, old.expires_at)
     and (new.state = old.state
       or (old.state = 'pending' and new.state in ('approved', 'denied', 'expired', 'cancelled'))
       or (old.state = 'approved' and new.state in ('consumed', 'expired', 'cancelled'))
       or (old.state = 'consumed' and new.state = 'outcome_unknown')
       or (old.state = 'outcome_unknown' and new.state = 'consumed'))
     and (old.decided_at is null or new.decided_at = old.decided_at)
     and (old.consumed_at is null or new.consumed_at = old.consumed_at)
     and (old.signalled_at is null or new.signalled_at = old.signalled_at) then
    return new;
  end if;
  raise exception 'approval request % cannot change so', old.id using errcode = 'restrict_violation';
end $$;

update approval_request request set state = 'outcome_unknown' from step
where request.state = 'consumed' and step.run = request.run and step.seq = request.seq and step.state = 'unknown';
