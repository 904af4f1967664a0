import { Webhook } from "standardwebhooks";
import { expect, onTestFinished, test } from "vitest";

import { addReceiver, newWebhookSecret } from "../../src/notify/index.ts";
import { spawnNoticeServer } from "../support/notice-server-process.ts";
import { httpReceiver, noticeWorld } from "../support/notice-world.ts";
import { testKeys } from "../support/test-server.ts";
import { until } from "../support/world.ts";

test("a server killed after its receiver was told and before that was written: told again, under the same id", async () => {
  const world = await noticeWorld({ serve: false });
  const start = () => {
    const server = spawnNoticeServer({ databaseUrl: world.databaseUrl, leaseMs: 2_000 });
    onTestFinished(async () => {
      server.kill("SIGKILL");
      await server.ended;
    });
    return server;
  };
  const first = start();
  // The first answer never comes: the server dies while it waits for it.
  const receiver = await httpReceiver((response, _got, n) => (n === 1 ? first.kill("SIGKILL") : response.end()));
  const secret = newWebhookSecret();
  await addReceiver(world.pool, testKeys, {
    team: "shop",
    groups: [],
    events: ["opened"],
    level: "summary",
    by: "operator",
    settings: { kind: "webhook", url: receiver.url, secret },
    now: world.now(),
  });
  const approval = await world.ask();
  await first.ended;
  const { rows: lost } = await world.pool.query("select state, attempts, reason from notice");
  expect(lost).toEqual([{ state: "queued", attempts: 1, reason: null }]);
  start();
  await until(async () => {
    const { rowCount } = await world.pool.query("select from notice where state = 'delivered' and attempts = 2");
    return rowCount === 1 ? true : undefined;
  }, 40_000);
  expect(receiver.received).toHaveLength(2);
  const ids = new Set(receiver.received.map(({ headers }) => headers["webhook-id"]));
  expect(ids.size).toBe(1);
  for (const { body, headers } of receiver.received) {
    expect(new Webhook(secret).verify(body, headers)).toMatchObject({ data: { approval } });
  }
});
