-- What falls due of a request at one moment, for several of its requirements, is told to a receiver once, with all the groups that it is about.
drop trigger note_for_receivers on approval_event;
drop function note_for_receivers();

create function note_for_receivers() returns trigger language plpgsql as $$
declare
  told record;
  request approval_request;
begin
  for told in
    select added.request as id, added.kind, added.at, min(added.key) as key,
      case added.kind when 'approved' then 'decided' when 'denied' then 'decided' else added.kind end as event,
      coalesce(array_agg(distinct concerned.name order by concerned.name) filter (where concerned.name is not null), '{}') as groups
    from added
    -- Those whom it is escalated to, or whose turn it is.
    left join lateral (
      select name from jsonb_array_elements_text(
        case when jsonb_typeof(added.facts -> 'to') = 'array' then added.facts -> 'to'
          when added.facts ? 'group' then jsonb_build_array(added.facts -> 'group') else '[]' end) name) concerned on true
    -- Decisions of a quorum one by one, and the use of a grant, are not told.
    where added.kind in ('approved', 'denied', 'opened', 'reminded', 'escalated', 'expired', 'cancelled')
    group by added.request, added.kind, added.at
    order by min(added.id)
  loop
    select * into strict request from approval_request where id = told.id;
    perform queue_notices(request, told.event, told.key, told.groups,
      case when told.event in ('opened', 'reminded', 'escalated') then 'pending' else told.kind end, told.at);
  end loop;
  return null;
end $$;

create trigger note_for_receivers after insert on approval_event referencing new table as added
  for each statement execute function note_for_receivers();
