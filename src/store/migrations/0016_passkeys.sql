-- A key is proposed by one person and confirmed by another; only then does what it signs count.
alter table reviewer_key
  add column kind text not null default 'ed25519' check (kind in ('ed25519', 'webauthn')),
  -- Null while the key is proposed.
  add column confirmed_at timestamptz,
  add column confirmed_by text,
  -- Enrolled without a second person: the first key of an empty database, or one from before a second person was asked for.
  add column bootstrap boolean not null default false,
  add column revoked_by text,
  -- Of a passkey: its credential and how it was enrolled, as src/approvals/keys.ts has it.
  add column passkey jsonb;

alter table reviewer_key disable trigger revoked_once;
update reviewer_key set confirmed_at = added_at, confirmed_by = added_by, bootstrap = true;
alter table reviewer_key enable trigger revoked_once;

alter table reviewer_key
  add constraint confirmed check ((confirmed_at is null) = (confirmed_by is null)),
  add constraint two_people check (confirmed_by is null or bootstrap or (confirmed_by <> principal and confirmed_by <> added_by)),
  add constraint passkey_kept check ((passkey is not null) = (kind = 'webauthn'));
create unique index reviewer_key_credential on reviewer_key ((passkey ->> 'credentialId')) where passkey is not null;
create index reviewer_key_newest on reviewer_key (added_at desc, key_id desc);

-- What was enrolled never changes: a key is confirmed once, and revoked once.
create or replace function refuse_key_change() returns trigger language plpgsql as $$
begin
  if tg_op = 'UPDATE'
     and (new.key_id, new.principal, new.public_key, new.added_at, new.added_by, new.kind, new.bootstrap)
       = (old.key_id, old.principal, old.public_key, old.added_at, old.added_by, old.kind, old.bootstrap)
     and new.passkey is not distinct from old.passkey
     and (new.confirmed_at is not distinct from old.confirmed_at and new.confirmed_by is not distinct from old.confirmed_by
       or old.confirmed_at is null and old.revoked_at is null)
     and (new.revoked_at is not distinct from old.revoked_at and new.revoked_by is not distinct from old.revoked_by
       or old.revoked_at is null) then
    return new;
  end if;
  raise exception 'a reviewer key is never changed or deleted, only confirmed once and revoked once' using errcode = 'restrict_violation';
end $$;

-- How often a passkey has signed, as it says itself. Looked at when a decision is taken, and never again: synced passkeys always say 0.
create table passkey_counter (
  key_id text primary key references reviewer_key,
  counter bigint not null check (counter >= 0)
);

-- Challenges of enrolments under way, each good for one.
create table enrolment_challenge (
  challenge text primary key,
  principal text not null references principal,
  expires_at timestamptz not null
);
create index enrolment_challenge_due on enrolment_challenge (expires_at);

-- Of a signature by a passkey: what the authenticator signed, as base64url of its exact bytes. Null: Ed25519 over the statement itself.
alter table approval_decision add column assertion jsonb;

-- Accounts of one person have the same `person`; null is a person of its own.
alter table principal add column if not exists person text;
