-- What witnesses said of checkpoints: signature lines of C2SP tlog-cosignature, as they came, verified.
create table ledger_cosignature (
  log text not null,
  size bigint not null,
  -- The witness's verifier key.
  witness text not null,
  line text not null check (octet_length(line) <= 1024),
  at timestamptz not null,
  primary key (log, size, witness)
);
create index ledger_cosignature_of_witness on ledger_cosignature (log, witness, size desc);

-- The keys that a log was signed with, each since the size of its first checkpoint.
create table ledger_key (
  log text not null,
  verifier_key text not null,
  since_size bigint not null check (since_size > 0),
  at timestamptz not null,
  primary key (log, verifier_key)
);

do $$
declare name text;
begin
  foreach name in array array['ledger_cosignature', 'ledger_key'] loop
    execute format('create trigger append_only before update or delete on %I for each row execute function refuse_change()', name);
    execute format('create trigger append_only_truncate before truncate on %I for each statement execute function refuse_change()', name);
  end loop;
end $$;
