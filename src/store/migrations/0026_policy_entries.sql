-- What every run is judged against: found for each record that an auditor reads.
create index ledger_entry_policy on ledger_entry (log, idx) where run is null and dedup_key ~ '^policy/[0-9]+$';
