-- With which Idempotency-Key somebody submitted what by AuthZEN: the same key with another body is refused.
create table access_submission (
  principal text not null references principal,
  key text not null check (length(key) between 1 and 200),
  body text not null check (body ~ '^[0-9a-f]{64}$'),
  at timestamptz not null,
  primary key (principal, key)
);
create index access_submission_old on access_submission (at);
