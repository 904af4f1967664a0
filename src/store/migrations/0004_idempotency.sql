-- A caller's own name for a request that starts a run: the same request twice starts one.
create table idempotency_key (
  principal text not null,
  key text not null check (length(key) between 1 and 200),
  -- SHA-256 over the request's RFC 8785 bytes: the key is good for this very request only.
  request text not null check (request ~ '^[0-9a-f]{64}$'),
  run text not null references run,
  at timestamptz not null,
  primary key (principal, key)
);
