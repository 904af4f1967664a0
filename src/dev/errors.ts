import { CodedError } from "../core/errors.ts";

export type DevErrorCode =
  | "port_taken"
  | "home_locked"
  | "home_unusable"
  | "postgres_unreachable"
  | "postgres_too_old"
  | "postgres_failed"
  | "temporal_missing"
  | "temporal_unreachable"
  | "temporal_failed"
  | "aborted";

/** What the machine lacks or refuses. Always the environment's fault, so a command that meets one exits with 2. */
export class DevError extends CodedError<DevErrorCode> {
  readonly exitCode = 2;
}
