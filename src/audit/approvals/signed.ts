import { assertionOf } from "../../approvals/offline.ts";
import type { SignedStatement, SigningKey } from "../../approvals/offline.ts";
import type { CapacityRecord } from "../../core/run-record.ts";
import type { PasskeyRecord } from "../../core/signed-record.ts";
import { digestOf, sha256 } from "../../store/canonical.ts";
import type { ExpectedFacts } from "../differences.ts";

/** A signature in a record. */
type Recorded = {
  readonly statement: string;
  readonly keyId: string;
  readonly signature: string;
  readonly publicKey: string;
  readonly passkey?: PasskeyRecord;
};

/** What was signed, as it is verified. */
export function signedOf({ statement, keyId, signature, passkey }: Recorded): SignedStatement {
  if (passkey === undefined) return { statement, keyId, signature };
  const { credentialId, authenticatorData, clientDataJSON, userHandle } = passkey;
  const kind = "webauthn";
  return { kind, statement, keyId, signature, credentialId, authenticatorData, clientDataJSON, userHandle };
}

/** The key as the record has it. That it was enrolled so is what the ledger says: see `checkKeys`. */
export function keyOf({ keyId, publicKey, passkey }: Recorded): SigningKey {
  return { keyId, publicKey, kind: passkey === undefined ? "ed25519" : "webauthn", passkey: passkey ?? null };
}

/** What the entry of a signature has of it, and of as whom it was made. */
export function signedFacts(recorded: Recorded, capacity: Partial<Omit<CapacityRecord, "at">>): ExpectedFacts {
  const { keyId, signature, statement } = recorded;
  const { person = null, groups = null, delegation } = capacity;
  const assertion = assertionOf(signedOf(recorded));
  return {
    keyId,
    signature,
    statement: sha256(statement),
    kind: assertion === null ? null : "webauthn",
    assertion: assertion === null ? null : digestOf(assertion),
    person,
    groups,
    delegation: delegation?.id ?? null,
    delegator: delegation?.delegator ?? null,
    delegatorPerson: delegation?.person ?? null,
    delegatedFrom: delegation?.from ?? null,
    delegatedUntil: delegation?.until ?? null,
  };
}
