-- Why a step failed, where its call is not to blame. `no_room`: what the attempts of a model call took leaves no room in a budget for another. It has
-- no answer, the model is asked anew in a step of its own, and the conversation goes on as if this one had not been.
alter table step
  add column code text check (code = 'no_room'),
  add constraint no_room check (code is null or (kind = 'model' and state = 'failed' and result is null));
