/** How a person or a service is told. */
export const receiverKinds = ["webhook", "email", "slack"] as const;
export type ReceiverKind = (typeof receiverKinds)[number];

/** What happens to an approval request that a receiver may be told of; `outcome_unknown`: nobody knows whether a call happened. */
export const noticeEvents = [
  "opened",
  "reminded",
  "escalated",
  "asked",
  "answered",
  "decided",
  "expired",
  "cancelled",
  "outcome_unknown",
] as const;
export type NoticeEvent = (typeof noticeEvents)[number];

/**
 * How much a receiver is told: `link` that there is something and where, `summary` also who would use which tool and who must agree,
 * `full` also the arguments, as a reviewer reads them.
 */
export const noticeLevels = ["link", "summary", "full"] as const;
export type NoticeLevel = (typeof noticeLevels)[number];

export const noticeStates = ["queued", "delivered", "failed", "withdrawn"] as const;
export type NoticeState = (typeof noticeStates)[number];

/** `rcv_` and a ULID. */
export const receiverIdPattern = /^rcv_[0-9A-HJKMNP-TV-Z]{26}$/;
