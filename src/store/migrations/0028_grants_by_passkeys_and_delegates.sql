-- A standing grant is approved with passkeys too, and for somebody else: as decisions on requests are.
alter table standing_approval
  -- Of a signature by a passkey, what its authenticator answered beside it.
  add column assertion jsonb,
  add column delegation text references approval_delegation,
  -- The person behind the delegator, then.
  add column for_person text,
  add constraint for_somebody check ((delegation is null) = (for_person is null));
