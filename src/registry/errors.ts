import { CodedError } from "../core/errors.ts";

export class RegistryError extends CodedError<
  | "manifest_invalid"
  | "release_invalid"
  | "release_missing"
  | "release_corrupt"
  | "agent_missing"
  | "policy_set_missing"
  | "policy_set_corrupt"
  | "principal_invalid"
> {}
