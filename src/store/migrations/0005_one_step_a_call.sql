-- How many decisions were written for the run: what a decision goes by (steps, spend, earlier steps of a name) must not have changed
-- between its reading and its writing, or parallel steps would each not see the others.
alter table run add column decisions integer not null default 0;

-- A call that the model asked for once is made once, however many steps a workflow makes of it. One that was denied did nothing.
create unique index step_of_call on step (run, asked_by, call_index) where asked_by is not null and state <> 'denied';
