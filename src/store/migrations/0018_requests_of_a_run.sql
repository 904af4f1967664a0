-- Every decision counts what was approved of its run; an index of the team's inbox would make that grow with the team.
create index approval_request_of_run on approval_request (run, seq);
