/** Of a signature by a passkey: what it answered, base64url of the exact bytes, and what it was enrolled for. */
export type PasskeyRecord = {
  readonly credentialId: string;
  readonly rpId: string;
  readonly origin: string;
  readonly authenticatorData: string;
  readonly clientDataJSON: string;
  readonly userHandle?: string | undefined;
};

/** The delegation by which somebody decided for somebody else, in its terms of then. */
export type DelegationRecord = {
  readonly id: string;
  readonly delegator: string;
  /** The person behind the delegator. */
  readonly person: string;
  readonly team: string | null;
  readonly tool: string | null;
  readonly maxAmount: number | null;
  readonly from: string;
  readonly until: string;
};
