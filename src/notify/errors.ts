import { CodedError } from "../core/errors.ts";

export class NotifyError extends CodedError<"receiver_missing" | "address_refused" | "setting_invalid"> {}
