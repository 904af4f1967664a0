import { z } from "zod";

import { defineTool, ToolError } from "countersign";
import type { ToolContext } from "countersign";
import { shopPool } from "./database.ts";
import { readOrder, refundOrder } from "./orders.ts";

/** Whose orders the agent may touch comes from the run, never from the model. */
function customerOf(context: ToolContext): string {
  if (context.subject === undefined) throw new ToolError("this run is not on behalf of a customer");
  return context.subject.id;
}

const orderId = z
  .string()
  .regex(/^A-\d{4,8}$/)
  .describe("The order's number, such as A-1001");

export const lookupOrder = defineTool({
  name: "lookup_order",
  description:
    "Looks up one of the customer's orders: status, items, what was paid and what was refunded. Amounts are in cents.",
  input: z.strictObject({ order_id: orderId }),
  effect: "read",
  groups: ["customer_data"],
  short: true,
  // Nothing in an order is written by anybody but the shop.
  results: { origin: "trusted", confidentiality: "confidential" },
  execute: (args, context) => readOrder(customerOf(context), args.order_id),
});

const policyRow = z.object({ id: z.string(), title: z.string(), text: z.string() });

export const searchPolicies = defineTool({
  name: "search_policies",
  description: "Finds the shop's policies on a subject, the best match first.",
  input: z.strictObject({ query: z.string().min(1).max(200).describe("A few words, such as: returns") }),
  effect: "read",
  short: true,
  results: { origin: "trusted", confidentiality: "public" },
  async execute(args) {
    const { rows } = await shopPool().query(
      `select p.id, p.title, p.body as text
         from shop.policies p, to_tsvector('english', p.title || ' ' || p.title || ' ' || p.body) document, plainto_tsquery('english', $1) query
        where document @@ query order by ts_rank(document, query) desc, p.id limit 3`,
      [args.query],
    );
    return { policies: rows.map((row) => policyRow.parse(row)) };
  },
});

export const sendEmail = defineTool({
  name: "send_email",
  description: "Sends an e-mail from the shop.",
  input: z.strictObject({
    to: z.email().describe("One address"),
    subject: z.string().min(1).max(200),
    body: z.string().min(1).max(10_000),
  }),
  effect: "egress",
  groups: ["communication"],
  destinations: ["to"],
  results: { origin: "trusted" },
  idempotency: "key",
  async execute(args, context) {
    // The conflicting row is read in the same statement only by touching it: `do nothing` would return no row.
    const { rows } = await shopPool().query(
      `insert into shop.mailbox (recipient, subject, body, idempotency_key) values ($1, $2, $3, $4)
       on conflict (idempotency_key) do update set idempotency_key = excluded.idempotency_key
       returning id as email_id, recipient as to, subject`,
      [args.to, args.subject, args.body, context.idempotencyKey],
    );
    return z.object({ email_id: z.coerce.string(), to: z.string(), subject: z.string() }).parse(rows[0]);
  },
});

export const refund = defineTool({
  name: "refund",
  description: "Pays back part or all of what the customer paid for an order, to the original means of payment.",
  input: z.strictObject({
    order_id: orderId,
    amount_cents: z.int().min(1).max(100_000_000).describe("Amount in cents"),
    reason: z.string().min(1).max(500),
  }),
  effect: "write",
  groups: ["money"],
  destinations: ["order_id"],
  results: { origin: "trusted", confidentiality: "confidential" },
  idempotency: "key",
  execute: (args, context) =>
    refundOrder({
      customerId: customerOf(context),
      orderId: args.order_id,
      amountCents: args.amount_cents,
      reason: args.reason,
      idempotencyKey: context.idempotencyKey,
    }),
});
