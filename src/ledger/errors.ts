import { CodedError } from "../core/errors.ts";

/**
 * - `event_invalid`, `event_too_large`: thrown where the event is appended, so that no event ever blocks a log.
 * - `append_conflict`: another sequencer grew the log meanwhile; it is tried again.
 * - `chain_broken`: the tables do not fit each other, so somebody changed them: the log stands still until that is understood.
 * - `checkpoint_conflict`: signing would contradict what was signed before. Never tried around.
 * - `signed_notes_unusable`: what was signed before cannot be read or kept outside the database, so nothing is signed.
 * - `witness_contradicts`: a witness cosigned a larger tree than this database has, or one that this one did not grow out of.
 */
export class LedgerError extends CodedError<
  | "event_invalid"
  | "event_too_large"
  | "append_conflict"
  | "chain_broken"
  | "checkpoint_conflict"
  | "signer_mismatch"
  | "key_unusable"
  | "not_in_log"
  | "witness_state_unusable"
  | "witness_unusable"
  | "witness_contradicts"
  | "signed_notes_unusable"
> {}
