import { CodedError } from "../core/errors.ts";

export class ApprovalError extends CodedError<
  | "request_missing"
  | "request_not_pending"
  | "request_expired"
  | "statement_malformed"
  | "statement_mismatch"
  | "signature_invalid"
  | "key_unknown"
  | "key_revoked"
  | "key_malformed"
  | "key_taken"
  | "not_in_group"
  | "self_approval"
  | "decided_before"
  | "nothing_changed"
  | "nothing_asked"
  | "too_many_messages"
> {}
