import { CodedError } from "../../core/errors.ts";

/** What verification found, or could not read. Every code but `invalid_argument` means: do not trust the evidence. */
export class ProofError extends CodedError<
  | "invalid_argument"
  | "proof_malformed"
  | "root_mismatch"
  | "note_malformed"
  | "key_malformed"
  | "signature_missing"
  | "signature_invalid"
  | "checkpoint_malformed"
  | "entry_malformed"
> {}
