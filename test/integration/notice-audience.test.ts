import { expect, onTestFinished, test } from "vitest";
import type { TestContext } from "vitest";

import { createClient } from "../../src/api/index.ts";
import { askAgain, askForOutcome } from "../../src/approvals/index.ts";
import type { ApprovalRequirement } from "../../src/core/decision.ts";
import type { ApprovalId, RunId } from "../../src/core/ids.ts";
import { addReceiver, recordOutcome, takeDue } from "../../src/notify/index.ts";
import { hashToken, newToken, putPrincipal } from "../../src/registry/index.ts";
import { inTransaction } from "../../src/store/index.ts";
import { httpReceiver, noticeWorld } from "../support/notice-world.ts";
import { testKeys } from "../support/test-server.ts";
import type { Received } from "../support/notice-world.ts";
import { until } from "../support/world.ts";

type Finished = TestContext["onTestFinished"];
type World = Awaited<ReturnType<typeof noticeWorld>>;
type Told = { readonly type: string; readonly data: Record<string, unknown> };

const ok = (response: { end(text: string): void }) => response.end("ok");

/** A webhook's receiver, and what it was told. */
async function listen(world: World, finished: Finished, rest: object = {}) {
  const server = await httpReceiver(ok, finished);
  await world.client.addReceiver({ body: { team: "shop", address: { kind: "webhook", url: server.url }, ...rest } });
  const told = (): readonly Told[] => server.received.map(({ body }: Received) => JSON.parse(body) as Told);
  return { told, types: () => told().map(({ type }) => type.replace("approval.", "")) };
}

/** Every notice has been delivered. */
const allTold = (world: World, count: number) =>
  until(async () => {
    const { rows } = await world.pool.query<{ state: string }>("select state from notice");
    return rows.length === count && rows.every(({ state }) => state === "delivered") ? true : undefined;
  });

const hour = 3_600_000;

test("one that hangs has four attempts under way and no more, and everybody else is told", async () => {
  const world = await noticeWorld();
  const hanging = await httpReceiver(() => undefined);
  await world.client.addReceiver({ body: { team: "shop", address: { kind: "webhook", url: hanging.url } } });
  for (let n = 0; n < 40; n += 1) await world.ask();
  await until(async () => (hanging.received.length === 4 ? true : undefined));
  const good = await listen(world, onTestFinished);
  for (let n = 0; n < 12; n += 1) await world.ask();
  await until(async () => (good.told().length === 12 ? true : undefined));
  expect(hanging.received).toHaveLength(4);
});

test.concurrent("two servers that take at once take together what one receiver may have; whose server died is taken again", async ({
  onTestFinished,
}) => {
  const world = await noticeWorld({ onTestFinished, serve: false });
  const settings = { kind: "email", to: "a@example.com" } as const;
  const receiver = { team: "shop", groups: [], events: ["opened"], level: "link", by: "operator", settings } as const;
  await addReceiver(world.pool, testKeys, { ...receiver, now: world.now() });
  for (let n = 0; n < 9; n += 1) await world.ask();
  const now = world.now();
  const take = (at: Date) =>
    inTransaction(world.pool, (tx) => takeDue(tx, { now: at, leaseMs: 60_000, limit: 30, perReceiver: 4 }));
  const taken = (await Promise.all([take(now), take(now), take(now)])).flat();
  expect(new Set(taken.map(({ id }) => id)).size).toBe(4);
  expect(await take(now)).toEqual([]);
  const [failed, done] = taken;
  await recordOutcome(world.pool, failed!, { status: "retry", reason: "no" }, now, 0);
  await recordOutcome(world.pool, done!, { status: "delivered" }, now, 0);
  expect(await take(now)).toHaveLength(2);
  // Those that wait to be tried again are under way nowhere; nor are those whose lease has run out.
  expect(await take(new Date(now.getTime() + 60_001))).toHaveLength(4);
});

test.concurrent("everybody who may decide is reminded, whom it was escalated to as well, and they hear how it ended", async ({
  onTestFinished,
}) => {
  const world = await noticeWorld({ onTestFinished });
  const [legal, compliance, managers, sales] = [
    await listen(world, onTestFinished, { groups: ["legal"] }),
    await listen(world, onTestFinished, { groups: ["compliance"] }),
    await listen(world, onTestFinished, { groups: ["managers"] }),
    await listen(world, onTestFinished, { groups: ["sales"] }),
  ];
  const either: ApprovalRequirement = {
    policy: "contract/either",
    group: "legal",
    orGroups: ["compliance"],
    quorum: 1,
    signed: "passkey",
    expiresMs: 9 * hour,
    remindMs: hour,
    escalate: { afterMs: 2 * hour + 1, to: ["managers"] },
  };
  const approval = await world.ask({ requirements: [either], expiresAt: new Date(world.now().getTime() + 9 * hour) });
  await allTold(world, 2);
  world.forward(hour);
  await allTold(world, 4);
  expect(compliance.types()).toEqual(["opened", "reminded"]);
  expect(compliance.told()[1]?.data).toMatchObject({
    concerns: ["compliance", "legal"],
    needs: [{ group: "legal", orGroups: ["compliance"], signed: "passkey", quorum: 1 }],
  });
  world.forward(2 * hour);
  await until(async () => (managers.types().length === 2 ? true : undefined));
  expect(managers.types().toSorted()).toEqual(["escalated", "reminded"]);
  await world.end(approval, "approved");
  await until(async () => (managers.types().includes("decided") ? true : undefined));
  await allTold(world, 11);
  expect(legal.types()).toEqual(["opened", "reminded", "reminded", "decided"]);
  expect(sales.told()).toEqual([]);
});

test.concurrent("what was approved and not used in time is not said to have been decided by nobody", async ({
  onTestFinished,
}) => {
  const world = await noticeWorld({ onTestFinished });
  const { told } = await listen(world, onTestFinished, { events: ["expired"] });
  const used = await world.ask();
  await world.end(used, "approved");
  await world.pool.query("update approval_request set state = 'expired' where id = $1", [used]);
  await world.end(await world.ask(), "expired");
  await allTold(world, 2);
  expect(told().map(({ data }) => [data["approval"] === used, data["decidedAt"] !== null])).toEqual(
    expect.arrayContaining([
      [true, true],
      [false, false],
    ]),
  );
});

test.concurrent("a question is told to who asked for the run, an answer to those who decide, each once", async ({
  onTestFinished,
}) => {
  const world = await noticeWorld({ onTestFinished });
  const token = newToken();
  await putPrincipal(
    world.pool,
    { id: "rita", displayName: "Rita", roles: ["reviewer"], groups: ["treasury"] },
    hashToken(token),
  );
  const rita = createClient({ baseUrl: world.url, token });
  const events = ["asked", "answered"];
  const requester = await listen(world, onTestFinished, { requester: "operator", events: ["asked"], level: "full" });
  const other = await listen(world, onTestFinished, { requester: "rita", events });
  const treasury = await listen(world, onTestFinished, { groups: ["treasury"], events });
  const legal = await listen(world, onTestFinished, { groups: ["legal"], events });
  const approval = await world.ask();
  await rita.askApproval({ params: { approval }, body: { text: "Whose order is it?" } });
  await allTold(world, 2);
  await world.client.answerApproval({ params: { approval }, body: { text: "Ann's." } });
  await allTold(world, 3);
  expect(requester.told()).toMatchObject([
    { type: "approval.asked", data: { approval, saidBy: "rita", said: "Whose order is it?", state: "pending" } },
  ]);
  expect(treasury.types()).toEqual(["asked", "answered"]);
  expect(JSON.stringify(treasury.told())).not.toContain("Whose order");
  expect([other.told(), legal.told()]).toEqual([[], []]);
  await expect(
    world.client.addReceiver({
      body: { team: "shop", requester: "nobody", address: { kind: "webhook", url: "http://127.0.0.1:1/" } },
    }),
  ).rejects.toMatchObject({ code: "invalid_request", message: expect.stringContaining("nobody") as string });
});

/** A call that may have happened, of a run that goes on. */
async function unknownCall(world: World, run: RunId): Promise<void> {
  await world.pool.query("update run set status = 'running', started_at = now() where id = $1", [run]);
  await world.pool.query(
    `insert into step (run, seq, kind, name, action, arguments, state, decided_at, finished_at)
     values ($1, 3, 'tool', 'refund', $2, 'x', 'unknown', now(), now())`,
    [run, "a".repeat(64)],
  );
}

test.concurrent("an unknown outcome is told, in the transaction that asks: to whose approval the call had, else to all", async ({
  onTestFinished,
}) => {
  const world = await noticeWorld({ onTestFinished });
  const compliance = await listen(world, onTestFinished, { groups: ["compliance"], level: "full" });
  const legal = await listen(world, onTestFinished, { groups: ["sales"] });
  const run = await world.run();
  const requirement = { policy: "p", group: "treasury", orGroups: ["compliance"], quorum: 1, expiresMs: hour };
  const approval = await world.ask({ run, requirements: [requirement], text: "refund of 189 dollars" });
  await world.end(approval, "approved");
  await world.pool.query("update approval_request set state = 'consumed', consumed_at = now() where id = $1", [
    approval,
  ]);
  await unknownCall(world, run);
  await inTransaction(world.pool, async (tx) => {
    await askForOutcome(tx, run, 3, world.now());
    throw new Error("rolled back");
  }).catch(() => undefined);
  expect((await world.pool.query("select from notice where event = 'outcome_unknown'")).rowCount).toBe(0);
  await askForOutcome(world.pool, run, 3, world.now());
  await askForOutcome(world.pool, run, 3, world.now());
  await until(async () => (compliance.types().includes("outcome_unknown") ? true : undefined));
  const { outcomes } = await world.client.listOutcomes({});
  expect(compliance.told().find(({ type }) => type === "approval.outcome_unknown")?.data).toMatchObject({
    approval: outcomes[0]?.id,
    state: "open",
    run,
    seq: 3,
    tool: "refund",
    concerns: ["compliance", "treasury"],
    rendered: "refund of 189 dollars",
    link: "https://ask.example.com/approve",
  });
  expect(legal.told()).toEqual([]);
  const unasked = await world.run();
  await unknownCall(world, unasked);
  await askForOutcome(world.pool, unasked, 3, world.now());
  await until(async () => (legal.types().length === 1 ? true : undefined));
  expect(legal.told()[0]?.data).toMatchObject({ run: unasked, concerns: [], needs: [] });
  // What was said and does not hold is asked again, and told again.
  await saidSomething(world, outcomes[0]?.id as ApprovalId);
  await askAgain(world.pool, outcomes[0]?.id as ApprovalId);
  await until(async () =>
    compliance.types().filter((type) => type === "outcome_unknown").length === 3 ? true : undefined,
  );
});

async function saidSomething(world: World, outcome: ApprovalId): Promise<void> {
  await world.pool.query(
    `insert into reviewer_key (key_id, principal, public_key, added_at, added_by) values ($1, 'operator', 'k', now(), 'operator')`,
    ["b".repeat(64)],
  );
  await world.pool.query(
    `update unknown_outcome set state = 'resolved', reviewer = 'operator', statement = '', key_id = $2, signature = '', resolved_at = now(),
       signalled_at = now() where id = $1`,
    [outcome, "b".repeat(64)],
  );
}
