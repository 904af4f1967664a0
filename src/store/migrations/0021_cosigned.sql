-- What a decision wants of witnesses before its call is made: how many have to have cosigned its intent, and until when.
alter table decision
  add column witnesses smallint check (witnesses between 1 and 20),
  add column cosign_by timestamptz,
  add constraint cosigned check ((witnesses is null) = (cosign_by is null));

-- Null: nothing is waited for. An effect that waits, or was too late, was never begun; `covered_size` is the checkpoint that it was begun on.
alter table effect
  add column cosigning text check (cosigning in ('waiting', 'covered', 'late')),
  add column covered_size bigint check (covered_size > 0),
  add constraint covered check ((covered_size is not null) = (cosigning is not distinct from 'covered'));
