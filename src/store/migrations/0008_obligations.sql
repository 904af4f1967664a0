-- What a decision made of the call: the arguments it may happen with where a policy changed them, and whether it is recorded only.
alter table decision add column effective text, add column shadow boolean not null default false;
