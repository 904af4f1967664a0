-- Retrievals are classified as tool calls are: history facts may count `retrieval`, `retrieval/NAME`, and the effects and groups of sources.
-- Releases with sources come after this, so none has to be classified again.
create or replace function classify_calls(of release) returns void language sql as $$
  insert into release_call (release, kind, name, class)
  select $1.digest, call.kind, call.name, class_of($1.team, call.kind, call.name, call.actions)
  from (
    select 'model' as kind, $1.document -> 'model' ->> 'name' as name, array['model'] as actions
    union all
    select listed.kind, listed.item ->> 'name', array(
      select distinct action collate "C" from (
        values (listed.kind), (listed.kind || '/' || (listed.item ->> 'name')), ('effect/' || (listed.item ->> 'effect'))
        union all select 'group/' || value from jsonb_array_elements_text(listed.item -> 'groups')) as all_of (action)
      order by 1)
    from (
      select 'tool' as kind, item from jsonb_array_elements($1.document -> 'tools') as item
      union all
      select 'retrieval', item from jsonb_array_elements(coalesce($1.document -> 'retrieval', '[]')) as item) as listed) as call
  where call.name is not null
  on conflict do nothing
$$;
