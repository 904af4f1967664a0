import type pg from "pg";
import { z } from "zod";

import { ToolError } from "countersign";
import { inTransaction, shopPool } from "./database.ts";

const orderRow = z.object({
  order_id: z.string(),
  status: z.string(),
  placed_on: z.string(),
  paid_cents: z.int(),
  refunded_cents: z.int(),
  tracking: z.string().nullable(),
  customer: z.object({ name: z.string(), email: z.string() }),
  items: z.array(z.object({ description: z.string(), quantity: z.int(), unit_cents: z.int() })),
});

/** An order with its items; only that customer's. Throws ToolError where there is none. */
export async function readOrder(customerId: string, orderId: string) {
  const { rows } = await shopPool().query(
    `select o.id as order_id, o.status, o.placed_on::text, o.paid_cents, o.tracking,
            (select coalesce(sum(r.amount_cents), 0)::int from shop.refunds r where r.order_id = o.id) as refunded_cents,
            json_build_object('name', c.name, 'email', c.email) as customer,
            (select coalesce(json_agg(json_build_object('description', i.description, 'quantity', i.quantity, 'unit_cents', i.unit_cents)
                                      order by i.position), '[]')
               from shop.order_items i where i.order_id = o.id) as items
       from shop.orders o join shop.customers c on c.id = o.customer_id
      where o.id = $1 and o.customer_id = $2`,
    [orderId, customerId],
  );
  if (rows.length === 0) throw noSuchOrder();
  const order = orderRow.parse(rows[0]);
  return { ...order, refundable_cents: order.paid_cents - order.refunded_cents };
}

/** One message for an order that does not exist and for another customer's: numbers must not be a way to find out. */
function noSuchOrder(): ToolError {
  return new ToolError("this customer has no such order");
}

export type RefundRequest = {
  readonly customerId: string;
  readonly orderId: string;
  readonly amountCents: number;
  readonly reason: string;
  readonly idempotencyKey: string;
};

const refundRow = z.object({ refund_id: z.coerce.string(), order_id: z.string(), amount_cents: z.int() });

/**
 * Pays back part of an order, once per key: the same key again gives the first result. Throws ToolError, with nothing done, where
 * the order is not the customer's, or the amount is more than is left of what was paid.
 */
export async function refundOrder(request: RefundRequest) {
  return inTransaction(shopPool(), async (client) => {
    // The lock makes refunds of one order wait for each other: two at once could both see enough left.
    const orders = await client.query(
      "select paid_cents from shop.orders where id = $1 and customer_id = $2 for update",
      [request.orderId, request.customerId],
    );
    if (orders.rows.length === 0) throw noSuchOrder();
    const { paid_cents: paid } = z.object({ paid_cents: z.int() }).parse(orders.rows[0]);

    const earlier = await refundOfKey(client, request.idempotencyKey);
    if (earlier !== undefined) return sameRefund(request, earlier);

    const sums = await client.query(
      "select coalesce(sum(amount_cents), 0)::int as refunded from shop.refunds where order_id = $1",
      [request.orderId],
    );
    const { refunded } = z.object({ refunded: z.int() }).parse(sums.rows[0]);
    if (request.amountCents > paid - refunded) {
      throw new ToolError(`the amount is more than is left of what was paid: ${paid - refunded} cents can be refunded`);
    }
    const inserted = await client.query(
      `insert into shop.refunds (order_id, amount_cents, reason, idempotency_key) values ($1, $2, $3, $4)
       on conflict (idempotency_key) do nothing
       returning id as refund_id, order_id, amount_cents`,
      [request.orderId, request.amountCents, request.reason, request.idempotencyKey],
    );
    if (inserted.rows.length > 0) return refundRow.parse(inserted.rows[0]);
    // The lock is the order's. The key has just been used for another order, in a transaction that the insert waited for.
    const other = await refundOfKey(client, request.idempotencyKey);
    if (other === undefined) throw new Error("the refund with this key is gone");
    return sameRefund(request, other);
  });
}

async function refundOfKey(client: pg.PoolClient, key: string): Promise<z.infer<typeof refundRow> | undefined> {
  const { rows } = await client.query(
    "select id as refund_id, order_id, amount_cents from shop.refunds where idempotency_key = $1",
    [key],
  );
  return rows.length === 0 ? undefined : refundRow.parse(rows[0]);
}

function sameRefund(request: RefundRequest, earlier: z.infer<typeof refundRow>) {
  if (earlier.order_id === request.orderId && earlier.amount_cents === request.amountCents) return earlier;
  throw new ToolError("this idempotency key belongs to another refund");
}
