import { ulid } from "ulid";

import { ApiError } from "../../api/index.ts";
import type { RequestOf } from "../../api/index.ts";
import { appendToOutbox } from "../../ledger/index.ts";
import {
  addReceiver,
  changeReceiver,
  listReceivers,
  newWebhookSecret,
  receiverById,
  removeReceiver,
  takeTest,
} from "../../notify/index.ts";
import type { ReceiverSettings } from "../../notify/index.ts";
import { principalExists } from "../../registry/index.ts";
import { inTransaction } from "../../store/index.ts";
import { deliver } from "../deliver-notices.ts";
import type { Services } from "../dependencies.ts";
import type { Handlers } from "../handler.ts";
import { assertTeam } from "../known-team.ts";
import { receiverAdded, receiverChanged, receiverRemoved, viewOfReceiver } from "../receiver-views.ts";

export const receiverHandlers: Handlers<
  "addReceiver" | "listReceivers" | "testReceiver" | "changeReceiver" | "removeReceiver"
> = {
  async addReceiver({ body }, { services, caller }) {
    const { id: by } = caller();
    const { team, groups, requester, events, level, address } = body;
    const settings = settingsFor(services, address);
    const now = services.now();
    return inTransaction(services.pool, async (tx) => {
      await assertTeam(tx, team);
      if (requester !== undefined && !(await principalExists(tx, requester)))
        throw new ApiError("invalid_request", `body \`requester\`: there is no \`${requester}\``);
      const receiver = await addReceiver(tx, services.keys, {
        team,
        groups,
        requester: requester ?? null,
        events,
        level,
        by,
        settings,
        now,
      });
      await appendToOutbox(tx, [receiverAdded(receiver, now)]);
      return { receiver: viewOfReceiver(receiver), secret: settings.kind === "webhook" ? settings.secret : null };
    });
  },

  async listReceivers({ query: { team, cursor, limit } }, { services, caller }) {
    const rows = await listReceivers(services.pool, { team: team ?? caller().teams, before: cursor, limit: limit + 1 });
    const page = rows.slice(0, limit);
    const receivers = page.map((row) => {
      const { queued, delivered, failed, reason } = row;
      return { ...viewOfReceiver(row), queued, delivered, failed, reason };
    });
    return { receivers, next: rows.length > limit ? (page.at(-1)?.id ?? null) : null };
  },

  async testReceiver({ params: { receiver: id } }, { services }) {
    const test = await inTransaction(services.pool, async (tx) => {
      const receiver = await receiverById(tx, id);
      if (receiver.removedAt !== null || receiver.disabledAt !== null) {
        const what = receiver.removedAt === null ? "disabled" : "removed";
        throw new ApiError("receiver_closed", `the receiver is ${what}`, {
          hint: "add it again: countersign notify add",
        });
      }
      return takeTest(tx, id, services.now(), services.notify.leaseMs);
    });
    const outcome = await deliver(services, test);
    return outcome.status === "delivered"
      ? { delivered: true, reason: null }
      : { delivered: false, reason: outcome.reason };
  },

  async changeReceiver({ params: { receiver: id }, body }, { services, caller }) {
    const { id: by } = caller();
    const now = services.now();
    return inTransaction(services.pool, async (tx) => {
      const { receiver, changed } = await changeReceiver(tx, id, body);
      if (changed) await appendToOutbox(tx, [receiverChanged(receiver, by, now, ulid(now.getTime()))]);
      return { receiver: viewOfReceiver(receiver), changed };
    });
  },

  async removeReceiver({ params: { receiver: id } }, { services, caller }) {
    const { id: by } = caller();
    const now = services.now();
    return inTransaction(services.pool, async (tx) => {
      const receiver = await receiverById(tx, id);
      const changed = await removeReceiver(tx, id, by, now);
      if (changed) await appendToOutbox(tx, [receiverRemoved(receiver, by, now)]);
      return { changed };
    });
  },
};

/** What is refused for good is said at once; what a name resolves to is checked at every attempt. */
function settingsFor({ notify }: Services, address: RequestOf<"addReceiver">["body"]["address"]): ReceiverSettings {
  if ("url" in address) notify.guard.assertUrl(new URL(address.url));
  if (address.kind === "email" && notify.mail === undefined) {
    throw new ApiError("mail_not_set_up", "this server sends no mail", {
      hint: "its operator sets COUNTERSIGN_SMTP_URL and COUNTERSIGN_SMTP_FROM",
    });
  }
  return address.kind === "webhook" ? { ...address, secret: newWebhookSecret() } : address;
}
