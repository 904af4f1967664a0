import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { openShop, setUpShop, shopPool, shopUrlVariable } from "../../examples/support/database.ts";
import { lookupOrder, refund, searchPolicies, sendEmail } from "../../examples/support/tools.ts";
import type { RunId } from "../../src/core/ids.ts";
import { fits, ToolError } from "../../src/tools/index.ts";
import type { ToolContext } from "../../src/tools/index.ts";
import { freshDatabase } from "../support/database.ts";
import type { TestDatabase } from "../support/database.ts";

let database: TestDatabase;

beforeAll(async () => {
  database = await freshDatabase();
  process.env[shopUrlVariable] = database.url;
  const shop = openShop(database.url);
  try {
    // At once, as two workers would begin.
    await Promise.all([setUpShop(shop), setUpShop(shop)]);
    await setUpShop(shop);
  } finally {
    await shop.end();
  }
});
afterAll(async () => {
  await shopPool().end();
  await database.close();
});

function by(customer: string | undefined, idempotencyKey = randomUUID() as string): ToolContext {
  return {
    run: "run_1" as RunId,
    subject: customer === undefined ? undefined : { id: customer },
    tags: {},
    idempotencyKey,
    signal: new AbortController().signal,
  };
}

async function refundsOf(order: string): Promise<readonly number[]> {
  const { rows } = await database.pool.query<{ amount_cents: number }>(
    "select amount_cents from shop.refunds where order_id = $1 order by id",
    [order],
  );
  return rows.map((row) => row.amount_cents);
}

const pay = (order: string, cents: number, context: ToolContext) =>
  refund.execute({ order_id: order, amount_cents: cents, reason: "broken" }, context);

describe("a refund", () => {
  test("happens once for a key, however many attempts come at once, and all get the first result", async () => {
    // All that was paid: an attempt that did not know the key would find nothing left.
    const context = by("cus_ada");
    const results = await Promise.all(Array.from({ length: 12 }, () => pay("A-1001", 4_200, context)));
    expect(new Set(results.map((result) => JSON.stringify(result))).size).toBe(1);
    expect(results[0]).toMatchObject({ order_id: "A-1001", amount_cents: 4_200 });
    expect(await refundsOf("A-1001")).toEqual([4_200]);
  });

  test("is never more than was paid, however many come at once", async () => {
    // A-1005 was 3600 cents: one of them fits.
    const results = await Promise.allSettled(Array.from({ length: 10 }, () => pay("A-1005", 2_000, by("cus_ben"))));
    const refused = results.filter((result) => result.status === "rejected").map((result) => result.reason as unknown);
    expect(refused).toHaveLength(9);
    expect(
      refused.every((reason) => reason instanceof ToolError && /: 1600 cents can be refunded/.test(reason.message)),
    ).toBe(true);
    expect(await refundsOf("A-1005")).toEqual([2_000]);
    await expect(lookupOrder.execute({ order_id: "A-1005" }, by("cus_ben"))).resolves.toMatchObject({
      refunded_cents: 2_000,
      refundable_cents: 1_600,
    });
  });

  test("of two orders under one key is one refund: the other is refused, one after the other or at once", async () => {
    const key = randomUUID() as string;
    await pay("A-1009", 100, by("cus_deniz", key));
    await expect(pay("A-1009", 200, by("cus_deniz", key))).rejects.toBeInstanceOf(ToolError);
    // Several times: whether both are past the look for the key is chance.
    for (let round = 1; round <= 15; round += 1) {
      const context = by("cus_ada");
      const results = await Promise.allSettled([pay("A-1002", round, context), pay("A-1003", round, context)]);
      const refused = results
        .filter((result) => result.status === "rejected")
        .map((result) => result.reason as unknown);
      expect(refused).toEqual([
        expect.objectContaining({ code: "tool_failed", message: expect.stringContaining("another refund") as string }),
      ]);
    }
    expect((await refundsOf("A-1002")).length + (await refundsOf("A-1003")).length).toBe(15);
  });

  test.each([
    ["another customer's order", "A-1006", by("cus_ada")],
    ["an order that does not exist", "A-9999", by("cus_ada")],
  ])("of %s is refused, in the same words", async (_, order, context) => {
    const refused = expect.objectContaining({
      code: "tool_failed",
      message: "this customer has no such order",
    }) as Error;
    await expect(pay(order, 1, context)).rejects.toEqual(refused);
    await expect(lookupOrder.execute({ order_id: order }, context)).rejects.toEqual(refused);
    expect(await refundsOf(order)).toEqual([]);
  });

  test("for nobody, of nothing, or of a text that is no order's number is refused", async () => {
    await expect(pay("A-1010", 1, by(undefined))).rejects.toThrow(/not on behalf of a customer/);
    for (const [order, cents] of [
      ["A-1010", 0],
      ["A-1010", -5],
      ["A-1010", 1.5],
      ["A-1010' or true", 1],
    ] as const) {
      await expect(pay(order, cents, by("cus_emi"))).rejects.toBeInstanceOf(ToolError);
      expect(fits({ order_id: order, amount_cents: cents, reason: "x" }, refund.definition.parameters).ok).toBe(false);
    }
    expect(await refundsOf("A-1010")).toEqual([]);
  });
});

describe("an e-mail", () => {
  const mail = { to: "ada@example.com", subject: "Your refund", body: "It is on its way." };

  test("is sent once for a key, however many attempts come at once", async () => {
    const context = by("cus_ada");
    const results = await Promise.all(Array.from({ length: 8 }, () => sendEmail.execute(mail, context)));
    expect(new Set(results.map((result) => JSON.stringify(result))).size).toBe(1);
    const { rows } = await database.pool.query(
      "select recipient, subject, body from shop.mailbox where idempotency_key = $1",
      [context.idempotencyKey],
    );
    expect(rows).toEqual([{ recipient: mail.to, subject: mail.subject, body: mail.body }]);
  });

  test.each([
    "ada",
    "ada@example.com, eve@evil.example",
    "ada@example.com\nbcc: eve@evil.example",
    "Ada <ada@example.com>",
    "",
  ])("to %j is refused: it goes to one address", async (to) => {
    const context = by("cus_ada");
    await expect(sendEmail.execute({ ...mail, to }, context)).rejects.toBeInstanceOf(ToolError);
    expect(fits({ ...mail, to }, sendEmail.definition.parameters).ok).toBe(false);
    const { rows } = await database.pool.query("select 1 from shop.mailbox where idempotency_key = $1", [
      context.idempotencyKey,
    ]);
    expect(rows).toEqual([]);
  });
});

test("an order is told with its items, and the best policy first", async () => {
  await expect(lookupOrder.execute({ order_id: "A-1009" }, by("cus_deniz"))).resolves.toMatchObject({
    status: "shipped",
    paid_cents: 15_750,
    customer: { name: "Deniz Aydin", email: "deniz@example.com" },
    items: [
      { description: "scale with timer", quantity: 1, unit_cents: 8_750 },
      { description: "glass server", quantity: 2, unit_cents: 3_500 },
    ],
  });
  const found = (await searchPolicies.execute({ query: "returns" }, by(undefined))) as { policies: { id: string }[] };
  expect(found.policies.map(({ id }) => id)).toEqual(["returns", "cancellation"]);
});
