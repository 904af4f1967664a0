import { CodedError } from "../../core/errors.ts";

/** `bundle_unreadable`, `trust_unreadable`, `pin_unreadable`: nothing can be said of the bundle. `bundle_exists`, `bundle_unwritable`: of an export. */
export class EvidenceError extends CodedError<
  | "bundle_unreadable"
  | "trust_unreadable"
  | "pin_unreadable"
  | "bundle_exists"
  | "bundle_unwritable"
  | "case_unreadable"
> {}
