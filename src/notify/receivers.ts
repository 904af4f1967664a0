import { randomBytes } from "node:crypto";

import { ulid } from "ulid";

import type { Digest } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import type { NoticeEvent, NoticeLevel, ReceiverKind } from "../core/notice.ts";
import { getPayload, putPayloads, teamList } from "../store/index.ts";
import type { PayloadKeys, TeamFilter, Tx } from "../store/index.ts";
import { NotifyError } from "./errors.ts";
import { receiverSettings } from "./receiver.schema.ts";
import type { ReceiverSettings } from "./receiver.schema.ts";

/** Whom a team's requests are told to. Without its settings: those are read by who sends. */
export type Receiver = {
  readonly id: string;
  readonly team: string;
  /** Only requests that ask one of these; empty: all of the team. */
  readonly groups: readonly string[];
  /** Only what is about runs that this principal asked for; null: whoever asked. */
  readonly requester: string | null;
  readonly kind: ReceiverKind;
  /** Null: every event, those that come to be later too. */
  readonly events: readonly NoticeEvent[] | null;
  readonly level: NoticeLevel;
  readonly shown: string;
  readonly settings: Digest;
  readonly at: Date;
  readonly by: string;
  readonly disabledAt: Date | null;
  readonly disabledReason: string | null;
  readonly removedAt: Date | null;
};

export type NewReceiver = Pick<Receiver, "team" | "groups" | "events" | "level" | "by"> & {
  readonly requester?: string | null;
  readonly settings: ReceiverSettings;
  readonly now: Date;
};

const columns = `id, team, groups, requester, kind, events, level, shown, settings, at, by_principal as by, disabled_at as "disabledAt",
  disabled_reason as "disabledReason", removed_at as "removedAt"`;

/** Adds a receiver: it is told of what happens from now on. The caller has checked that its address may be reached. */
export async function addReceiver(tx: Tx, keys: PayloadKeys, receiver: NewReceiver): Promise<Receiver> {
  const { team, groups, requester = null, events, level, by, settings, now } = receiver;
  // The salt keeps the digest from telling a guess of a short address from another.
  const sealed = { salt: randomBytes(16).toString("base64url"), settings };
  const [digest] = await putPayloads(tx, keys, [sealed as unknown as Json]);
  const { rows } = await tx.query<Receiver>(
    `insert into notice_receiver (id, team, groups, kind, events, level, shown, settings, at, by_principal, requester)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) returning ${columns}`,
    [
      `rcv_${ulid(now.getTime())}`,
      team,
      groups,
      settings.kind,
      events,
      level,
      shownOf(settings),
      digest,
      now,
      by,
      requester,
    ],
  );
  const [added] = rows;
  if (added === undefined) throw new NotifyError("receiver_missing", "the receiver was not written");
  return added;
}

/** A secret that a webhook's receiver verifies signatures with: 256 random bits, as Standard Webhooks writes them. */
export function newWebhookSecret(): string {
  return `whsec_${randomBytes(32).toString("base64")}`;
}

/** What may be shown of an address: of URLs the host only, since a path or a query often holds a secret. */
function shownOf(settings: ReceiverSettings): string {
  switch (settings.kind) {
    case "webhook":
      return `${new URL(settings.url).origin}/…`;
    case "email":
      return settings.to;
    case "slack":
      return "url" in settings ? `${new URL(settings.url).origin}/…` : settings.conversation;
  }
}

export async function receiverById(tx: Tx, id: string): Promise<Receiver> {
  const { rows } = await tx.query<Receiver>(`select ${columns} from notice_receiver where id = $1`, [id]);
  if (rows[0] === undefined) {
    throw new NotifyError("receiver_missing", `no receiver \`${id}\``, { hint: "see `countersign notify list`" });
  }
  return rows[0];
}

/** Throws `payload_missing` for one that was removed, and StoreErrors of the payload store. */
export async function settingsOf(tx: Tx, keys: PayloadKeys, receiver: Receiver): Promise<ReceiverSettings> {
  const sealed = (await getPayload(tx, keys, receiver.settings)) as { readonly settings?: Json };
  return receiverSettings.parse(sealed.settings);
}

/** A receiver with how its latest notices fared. */
export type ReceiverStanding = Receiver & {
  /** Of its latest hundred notices. */
  readonly queued: number;
  readonly delivered: number;
  readonly failed: number;
  /** Why the latest notice that is not delivered is not. */
  readonly reason: string | null;
};

export type ReceiverFilter = {
  readonly team?: TeamFilter;
  readonly before?: string | undefined;
  readonly limit: number;
};

/** Receivers that were not removed, newest first. */
export async function listReceivers(tx: Tx, filter: ReceiverFilter): Promise<readonly ReceiverStanding[]> {
  const { rows } = await tx.query<ReceiverStanding>(
    `select ${columns}, latest.queued, latest.delivered, latest.failed, latest.reason
     from notice_receiver receiver
     cross join lateral (
       select count(*) filter (where state = 'queued') as queued, count(*) filter (where state = 'delivered') as delivered,
         count(*) filter (where state = 'failed') as failed,
         (array_agg(reason order by seq desc) filter (where state in ('queued', 'failed') and reason is not null))[1] as reason
       from (select notice.* from notice where notice.receiver = receiver.id order by notice.seq desc limit 100) told) latest
     where removed_at is null and ($1::text[] is null or team = any($1)) and ($2::text is null or id < $2)
     order by id desc limit $3`,
    [teamList(filter.team), filter.before ?? null, filter.limit],
  );
  return rows;
}

/** What a receiver gets. What is absent stays as it is. */
export type ReceiverChange = {
  readonly events?: readonly NoticeEvent[] | null | undefined;
  readonly groups?: readonly string[] | undefined;
  readonly level?: NoticeLevel | undefined;
};

/** Changes what a receiver gets from now on: what is queued for it stays. Throws `receiver_missing`, and `receiver_closed` where it gets nothing any more. */
export async function changeReceiver(
  tx: Tx,
  id: string,
  { events, groups, level }: ReceiverChange,
): Promise<{ readonly receiver: Receiver; readonly changed: boolean }> {
  await tx.query("select from notice_receiver where id = $1 for update", [id]);
  const before = await receiverById(tx, id);
  if (before.removedAt !== null || before.disabledAt !== null) {
    const what = before.removedAt === null ? "disabled" : "removed";
    throw new NotifyError("receiver_closed", `the receiver is ${what}`, {
      hint: "add it again: countersign notify add",
    });
  }
  const { rows } = await tx.query<Receiver>(
    `update notice_receiver set events = $2, groups = $3, level = $4
     where id = $1 and (events is distinct from $2 or groups <> $3 or level <> $4) returning ${columns}`,
    [id, events === undefined ? before.events : events, groups ?? before.groups, level ?? before.level],
  );
  return { receiver: rows[0] ?? before, changed: rows.length === 1 };
}

/** Removes a receiver and what its settings were; what waited for it is withdrawn. False where it was removed already. */
export async function removeReceiver(tx: Tx, id: string, by: string, now: Date): Promise<boolean> {
  const receiver = await receiverById(tx, id);
  const { rowCount } = await tx.query(
    "update notice_receiver set removed_at = $2, removed_by = $3 where id = $1 and removed_at is null",
    [id, now, by],
  );
  if (rowCount !== 1) return false;
  await tx.query("delete from payload where digest = $1", [receiver.settings]);
  await endQueued(tx, id, "withdrawn", "the receiver was removed", now);
  return true;
}

/** Ends a receiver that wants no more; what waited for it has failed. */
export async function disableReceiver(tx: Tx, id: string, reason: string, now: Date): Promise<void> {
  await tx.query(
    "update notice_receiver set disabled_at = $2, disabled_reason = $3 where id = $1 and disabled_at is null",
    [id, now, reason],
  );
  await endQueued(tx, id, "failed", "the receiver is disabled", now);
}

async function endQueued(
  tx: Tx,
  receiver: string,
  state: "withdrawn" | "failed",
  reason: string,
  now: Date,
): Promise<void> {
  await tx.query("update notice set state = $2, reason = $3, ended_at = $4 where receiver = $1 and state = 'queued'", [
    receiver,
    state,
    reason,
    now,
  ]);
}
