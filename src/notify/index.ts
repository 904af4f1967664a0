export { createAddressGuard } from "./addresses.ts";
export type { AddressGuard } from "./addresses.ts";
export { nextAttempt } from "./backoff.ts";
export { NotifyError } from "./errors.ts";
export { factsOf } from "./facts.ts";
export type { NoticeFacts } from "./facts.ts";
export { isQuestion } from "./texts.ts";
export { noticesOf, recordOutcome, takeDue, takeTest } from "./outbox.ts";
export type { NoticeOfRequest, TakenNotice } from "./outbox.ts";
export {
  addReceiver,
  changeReceiver,
  listReceivers,
  newWebhookSecret,
  receiverById,
  removeReceiver,
  settingsOf,
} from "./receivers.ts";
export type { NewReceiver, Receiver, ReceiverStanding } from "./receivers.ts";
export type { ReceiverSettings } from "./receiver.schema.ts";
export { send } from "./send.ts";
export type { Outcome } from "./send.ts";
export { notifyOptionsOf } from "./settings.ts";
export type { NotifyOptions } from "./settings.ts";
