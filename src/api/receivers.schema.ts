import { z } from "zod";

import { noticeEvents, noticeLevels, noticeStates, receiverIdPattern, receiverKinds } from "../core/notice.ts";
import { name, pageSize, principalId, teamName, time } from "./common.schema.ts";

const group = z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/, "expected lower-case letters, digits, `_` and `-`");
const receiverId = z.string().regex(receiverIdPattern, "expected a receiver's id: `rcv_` and 26 characters");
const url = z.url({ protocol: /^https?$/ }).max(2_000);

/** Where a receiver is. Its secrets are never given out again. */
const address = z.union([
  z.strictObject({ kind: z.literal("webhook"), url }),
  z.strictObject({ kind: z.literal("email"), to: z.email().max(254) }),
  z.strictObject({ kind: z.literal("slack"), url: url.describe("an incoming webhook") }),
  z.strictObject({
    kind: z.literal("slack"),
    token: z
      .string()
      .regex(/^xox[a-z]-[A-Za-z0-9-]{10,200}$/, "expected a bot token: `xoxb-…`")
      .describe("a bot's, with the scope chat:write"),
    conversation: z.string().regex(/^[A-Z0-9]{3,30}$/, "expected a conversation's id, such as C0123456789"),
  }),
]);

const events = z
  .array(z.enum(noticeEvents))
  .min(1)
  .nullable()
  .describe("null: all of them, those that come to be later too");

export const addReceiverBody = z
  .strictObject({
    team: teamName,
    groups: z.array(group).max(50).default([]).describe("only requests that ask one of these; empty: all of the team"),
    requester: principalId.optional().describe("only what is about runs that they asked for; absent: whoever asked"),
    events: events.default(null),
    level: z.enum(noticeLevels).default("summary").describe("`full` sends arguments too"),
    address,
  })
  .meta({ id: "NewReceiver" });

export const receiverView = z
  .object({
    id: receiverId,
    team: name,
    groups: z.array(z.string()),
    requester: principalId.nullable(),
    kind: z.enum(receiverKinds),
    events: z.array(z.enum(noticeEvents)).nullable().describe("null: all, those that come to be later too"),
    level: z.enum(noticeLevels),
    shown: z.string().describe("the address without what may be secret in it"),
    at: time,
    by: principalId,
    disabled: z.object({ at: time, reason: z.string() }).nullable(),
  })
  .meta({ id: "Receiver" });

export const addedReceiver = z.object({
  receiver: receiverView,
  secret: z.string().nullable().describe("what a webhook's receiver verifies signatures with; shown this once"),
});

const receiverStanding = receiverView.extend({
  queued: z.int(),
  delivered: z.int(),
  failed: z.int().describe("of its latest hundred notices"),
  reason: z.string().nullable().describe("why the latest that is not delivered is not"),
});

export const receiversQuery = z.strictObject({
  team: name.optional(),
  cursor: receiverId.optional().describe("`next` of the page before"),
  limit: pageSize,
});
export const receiverPage = z.object({ receivers: z.array(receiverStanding), next: z.string().nullable() });

export const receiverParams = z.object({ receiver: receiverId });
export const testedReceiver = z.object({
  delivered: z.boolean(),
  reason: z.string().nullable(),
});
/** What is absent stays as it is. */
export const changeReceiverBody = z
  .strictObject({
    events: events.optional(),
    groups: z.array(group).max(50).optional(),
    level: z.enum(noticeLevels).optional(),
  })
  .refine((body) => Object.values(body).some((one) => one !== undefined), "say what changes: events, groups or level")
  .meta({ id: "ChangeReceiver" });
export const changedReceiver = z.object({
  receiver: receiverView,
  changed: z.boolean().describe("false: it was so already"),
});
export const removedReceiver = z.object({ changed: z.boolean().describe("false: it was removed already") });

/** How one event of a request was told to one receiver. */
export const noticeView = z.object({
  id: z.string(),
  receiver: receiverId,
  kind: z.enum(receiverKinds),
  shown: z.string(),
  event: z.enum(noticeEvents),
  state: z.enum(noticeStates),
  attempts: z.int(),
  reason: z.string().nullable(),
  at: time,
  due: time.nullable().describe("when it is tried next"),
});
