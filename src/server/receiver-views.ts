import type { ResponseOf } from "../api/index.ts";
import type { LedgerEvent } from "../core/ledger-event.ts";
import type { NoticeOfRequest, Receiver } from "../notify/index.ts";

type ReceiverView = ResponseOf<"addReceiver">["receiver"];
type NoticeView = ResponseOf<"showApproval">["notices"][number];

export function viewOfReceiver(receiver: Receiver): ReceiverView {
  const { id, team, groups, requester, kind, events, level, shown, at, by, disabledAt, disabledReason } = receiver;
  return {
    id,
    team,
    groups: [...groups],
    requester,
    kind,
    events: events === null ? null : [...events],
    level,
    shown,
    at: at.toISOString(),
    by,
    disabled: disabledAt === null ? null : { at: disabledAt.toISOString(), reason: disabledReason ?? "" },
  };
}

export function viewOfNotice(notice: NoticeOfRequest): NoticeView {
  const { id, receiver, kind, shown, event, state, attempts, reason, at, dueAt } = notice;
  const due = state === "queued" ? dueAt.toISOString() : null;
  return { id, receiver, kind, shown, event, state, attempts, reason, at: at.toISOString(), due };
}

/** Who may be told what of a team's requests is for its ledger: not where they are. */
export function receiverAdded(receiver: Receiver, now: Date): LedgerEvent {
  const { id, team, requester, kind, by } = receiver;
  return {
    log: team,
    kind: "receiver.added",
    dedupKey: `receiver/${id}/added`,
    at: now.toISOString(),
    facts: { receiver: id, kind, ...getsOf(receiver), ...(requester === null ? {} : { requester }), by },
  };
}

/** What it gets; `*`: every event, those that come to be later too. */
function getsOf({ groups, events, level }: Receiver) {
  return { groups, events: events ?? ["*"], level };
}

/** `nonce`: what makes it one of several changes. */
export function receiverChanged(receiver: Receiver, by: string, now: Date, nonce: string): LedgerEvent {
  const { id, team } = receiver;
  return {
    log: team,
    kind: "receiver.changed",
    dedupKey: `receiver/${id}/changed/${nonce}`,
    at: now.toISOString(),
    facts: { receiver: id, ...getsOf(receiver), by },
  };
}

export function receiverRemoved({ id, team }: Receiver, by: string, now: Date): LedgerEvent {
  return {
    log: team,
    kind: "receiver.removed",
    dedupKey: `receiver/${id}/removed`,
    at: now.toISOString(),
    facts: { receiver: id, by },
  };
}
