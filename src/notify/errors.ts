import { CodedError } from "../core/errors.ts";

export class NotifyError extends CodedError<
  "receiver_missing" | "receiver_closed" | "address_refused" | "setting_invalid"
> {}
