import { readFile } from "node:fs/promises";
import { expect, onTestFinished, test } from "vitest";
import {
  alwaysApproved,
  approvedCalls,
  delegate,
  requestById,
  revokeReviewerKey,
  whoMayDecide,
} from "../../src/approvals/index.ts";
import type { ApprovalRequest } from "../../src/approvals/index.ts";
import type { RunId } from "../../src/core/ids.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { detectorOptionsOf } from "../../src/policy/index.ts";
import { getPayload, inTransaction, stepsOf } from "../../src/store/index.ts";
import { startPresidio } from "../support/presidio.ts";
import { createWorld, openPolicy } from "../support/world.ts";
import type { World } from "../support/world.ts";

const args = (to: string, cents: number): JsonObject => ({ to, amount_cents: cents });
const turns = [{ calls: [{ tool: "pay", arguments: { to: "ada", amount_cents: 6_000 } }] }, { text: "done" }];

async function paid(world: World): Promise<readonly string[]> {
  const text = await readFile(world.effects, "utf8").catch(() => "");
  return text.split("\n").filter((line) => line.startsWith("pay "));
}

async function told(world: World, run: RunId): Promise<unknown> {
  const step = (await stepsOf(world.pool, run)).find(({ seq }) => seq === 1);
  return step?.result === null || step === undefined ? undefined : getPayload(world.pool, world.keys, step.result);
}

const asked = async (world: World) => {
  const run = await world.start();
  const request = await world.request(run);
  return { run, request, action: world.actionOf(request, args("ada", 6_000)) };
};

test("what runs is what was edited, decided on anew: allowed at once where the policy asks nobody about it", async () => {
  const world = await createWorld({ turns });
  await world.work();
  const { run, request, action } = await asked(world);
  const rita = await world.reviewer("rita");
  await rita.edit(request, action, args("ada", 4_000), "half of it");
  await expect(rita.decide(request, "approve")).rejects.toMatchObject({ code: "request_not_pending" });
  await world.wake(run, request);
  expect(await world.closed(run)).toMatchObject({ status: "completed" });
  expect(await paid(world)).toEqual([`pay ada 4000 ${run}.1`]);
  expect(await told(world, run)).toEqual({
    status: "ok",
    value: { paid: 4_000 },
    changed: { arguments: { to: "ada", amount_cents: 4_000 }, reason: "half of it" },
  });
});

test("another detector is asked about what edits have made of a call", async () => {
  const presidio = await startPresidio([{ text: "Ada Lovelace", entity: "PERSON" }]);
  onTestFinished(() => presidio.close());
  const names = `@id("names") @reason("it names a person") forbid(principal, action == Action::"tool/pay", resource)
    when { context.content.dataClasses.contains("person") };`;
  const world = await createWorld({ turns, policy: openPolicy + names });
  await world.work({ detector: detectorOptionsOf({ COUNTERSIGN_PRESIDIO_URL: presidio.url }) });
  const { run, request, action } = await asked(world);
  await (await world.reviewer("rita")).edit(request, action, args("bob", 5_500));
  await world.wake(run, request);
  const second = await world.request(run);
  const changed = { ...action, arguments: args("bob", 5_500) };
  await (await world.reviewer("rick")).edit(second, changed, args("Ada Lovelace", 40));
  await world.wake(run, second);
  expect(await world.closed(run)).toMatchObject({ status: "completed" });
  expect(await told(world, run)).toMatchObject({ status: "denied", code: "forbidden" });
  expect(JSON.stringify(await told(world, run))).toContain("it names a person");
  expect(await paid(world)).toEqual([]);
});

test("an edit to what the policy denies is denied, and the agent is told what was tried", async () => {
  const world = await createWorld({ turns });
  await world.work();
  const { run, request, action } = await asked(world);
  await (await world.reviewer("rita")).edit(request, action, args("ada", 60_000));
  await world.wake(run, request);
  expect(await world.closed(run)).toMatchObject({ status: "completed" });
  expect(await paid(world)).toEqual([]);
  expect(await told(world, run)).toMatchObject({ status: "denied", code: "forbidden" });
  expect(JSON.stringify(await told(world, run))).toContain("60000");
});

test("who changed a call approves it by no way, through others' edits too; others can, and what they sign is the new action", async () => {
  const world = await createWorld({ turns });
  await world.work();
  const [rita, rick, rosa] = [await world.reviewer("rita"), await world.reviewer("rick"), await world.reviewer("rosa")];
  const { run, request, action } = await asked(world);
  await rita.edit(request, action, args("rita", 5_500));
  await world.wake(run, request);
  const second = await world.request(run);
  expect(second.action).not.toBe(request.action);
  expect(second.editors).toEqual(["rita"]);
  // Whoever cannot decide is not told of as one who may.
  const may = async (of: ApprovalRequest) =>
    (await whoMayDecide(world.pool, of, new Date())).people.map(({ id }) => id);
  expect(await may(request)).toEqual(["rick", "rita", "rosa"]);
  expect(await may(second)).toEqual(["rick", "rosa"]);
  expect(await getPayload(world.pool, world.keys, second.rendered)).toContain('changed by "rita"');
  await expect(rita.decide(second, "approve")).rejects.toMatchObject({ code: "self_approval" });
  // Past the code that refuses it: the gate does not count it either.
  await insertApproval(world, rita, second);
  await rick.edit(second, { ...action, arguments: args("rita", 5_500) }, args("rita", 5_400));
  await world.wake(run, second);
  const third = await world.request(run);
  expect(third.editors).toEqual(["rita", "rick"]);
  for (const editor of [rita, rick])
    await expect(editor.decide(third, "approve")).rejects.toMatchObject({ code: "self_approval" });
  await insertApproval(world, rita, third);
  await world.pool.query("update approval_request set state = 'approved', decided_at = now() where id = $1", [
    third.id,
  ]);
  await world.wake(run, third);
  expect(await world.closed(run)).toMatchObject({ status: "completed" });
  expect(await told(world, run)).toMatchObject({ status: "denied", code: "invalid_grant" });
  expect(await paid(world)).toEqual([]);

  const again = await asked(world);
  await rita.edit(again.request, again.action, args("bob", 5_500));
  await world.wake(again.run, again.request);
  const next = await world.request(again.run);
  await rosa.decide(next, "approve");
  await world.wake(again.run, next);
  expect(await world.closed(again.run)).toMatchObject({ status: "completed" });
  expect(await paid(world)).toEqual([`pay bob 5500 ${again.run}.1`]);
  expect(await requestById(world.pool, next.id)).toMatchObject({ state: "consumed" });
  // What was changed was never approved as it was asked: nobody is told so, and no policy is narrowed by it.
  expect(await requestById(world.pool, again.request.id)).toMatchObject({ state: "cancelled", decidedAt: null });
  const scope = { team: "testers", since: new Date(0), now: new Date() };
  expect(await alwaysApproved(world.pool, scope, 1, 10)).toEqual([]);
  const of = { policy: "pay-needs-a-person", tool: "pay" };
  expect(await approvedCalls(world.pool, scope, of, 10)).toEqual([]);
  const plain = await asked(world);
  await rosa.decide(plain.request, "approve");
  expect(await approvedCalls(world.pool, scope, of, 10)).toMatchObject([{ run: plain.run }]);
}, 60_000);

/** As somebody with the database would. */
async function insertApproval(
  world: World,
  reviewer: Awaited<ReturnType<World["reviewer"]>>,
  request: Awaited<ReturnType<World["request"]>>,
): Promise<void> {
  const { signStatement, statementText } = await import("../../src/approvals/index.ts");
  const statement = statementText(reviewer.statementFor(request, "approve"));
  await world.pool.query(
    "insert into approval_decision (request, reviewer, decision, statement, key_id, signature, at) values ($1, $2, 'approve', $3, $4, $5, now())",
    [request.id, reviewer.id, statement, reviewer.keyId, signStatement(statement, reviewer.privateKey)],
  );
}

test("a policy may let whoever changed a call be one of its approvers", async () => {
  const policy = openPolicy.replace('@quorum("1")', '@quorum("1") @editor("counts")');
  const world = await createWorld({ turns, policy });
  await world.work();
  const { run, request, action } = await asked(world);
  const rita = await world.reviewer("rita");
  await rita.edit(request, action, args("bob", 5_500));
  await world.wake(run, request);
  const second = await world.request(run);
  expect((await whoMayDecide(world.pool, second, new Date())).people.map(({ id }) => id)).toEqual(["rita"]);
  await rita.decide(second, "approve");
  await world.wake(run, second);
  expect(await world.closed(run)).toMatchObject({ status: "completed" });
  expect(await paid(world)).toHaveLength(1);
});

test("an edit that does not hold when the run goes on makes nothing happen", async () => {
  const world = await createWorld({ turns });
  await world.work();
  const [operator, outsider, rita] = [
    await world.reviewer("operator"),
    await world.reviewer("outsider", ["others"]),
    await world.reviewer("rita"),
  ];
  const { run, request, action } = await asked(world);
  const small = args("ada", 100);
  await expect(operator.edit(request, action, small)).rejects.toMatchObject({ code: "self_approval" });
  await expect(outsider.edit(request, action, small)).rejects.toMatchObject({ code: "not_in_group" });
  await expect(rita.edit(request, action, action.arguments as JsonObject)).rejects.toMatchObject({
    code: "nothing_changed",
  });
  await rita.edit(request, action, small);
  await revokeReviewerKey(world.pool, rita.keyId, new Date());
  await world.wake(run, request);
  expect(await world.closed(run)).toMatchObject({ status: "completed" });
  expect(await told(world, run)).toMatchObject({
    status: "denied",
    code: "invalid_grant",
    message: expect.stringContaining("it is taken back, and nothing was done"),
  });

  // An action that the signed arguments do not make, and arguments that do not fit the tool.
  const rick = await world.reviewer("rick");
  for (const [changed, wrong] of [
    [small, { ...action, seq: 0 }],
    [{ to: 7, amount_cents: "all" }, undefined],
  ] as const) {
    const other = await asked(world);
    await rick.edit(other.request, wrong ?? other.action, changed as JsonObject);
    await world.wake(other.run, other.request);
    expect(await world.closed(other.run)).toMatchObject({ status: "completed" });
    expect(await told(world, other.run)).toMatchObject({
      status: "denied",
      code: wrong === undefined ? "invalid_arguments" : "invalid_grant",
    });
  }
  expect(await paid(world)).toEqual([]);
}, 60_000);

test("who changed a call does not approve it by a second account, by a delegate, or for somebody else", async () => {
  const world = await createWorld({ turns });
  await world.work();
  const rita = await world.reviewer("rita");
  const [rita2, dora, rosa] = [
    await world.reviewer("rita2", ["treasury"], "rita"),
    await world.reviewer("dora", []),
    await world.reviewer("rosa"),
  ];
  const stands = async (delegator: string, to: string): Promise<unknown> => {
    const now = new Date();
    const until = new Date(now.getTime() + 3_600_000);
    return inTransaction(world.pool, (tx) =>
      delegate(
        tx,
        { delegator, delegate: to, team: null, tool: null, maxAmount: null, reason: "", from: now, until },
        delegator,
        now,
      ),
    );
  };
  await stands("rita", "dora");
  const { run, request, action } = await asked(world);
  await rita.edit(request, action, args("rita", 5_500));
  await world.wake(run, request);
  const second = await world.request(run);
  const may = await whoMayDecide(world.pool, second, new Date());
  expect(may.people.map(({ id }) => id)).toEqual(["rosa"]);
  for (const other of [rita2, dora])
    await expect(other.decide(second, "approve")).rejects.toMatchObject({ code: "self_approval" });
  // Past the code that refuses it: the gate does not count it either.
  await insertApproval(world, rita2, second);
  await world.pool.query("update approval_request set state = 'approved', decided_at = now() where id = $1", [
    second.id,
  ]);
  await world.wake(run, second);
  expect(await world.closed(run)).toMatchObject({ status: "completed" });
  expect(await told(world, run)).toMatchObject({ status: "denied", code: "invalid_grant" });

  // Who changed it for somebody else: neither of them.
  await stands("rosa", "dora");
  await world.pool.query("update principal set groups = '{}' where id = 'rita'");
  const next = await asked(world);
  await dora.edit(next.request, next.action, args("dora", 5_500));
  await world.wake(next.run, next.request);
  const third = await world.request(next.run);
  for (const other of [dora, rosa])
    await expect(other.decide(third, "approve")).rejects.toMatchObject({ code: "self_approval" });
  expect(await paid(world)).toEqual([]);
}, 60_000);

test("where a passkey is asked for, a change with a key file is refused, and so is one with a key that nobody confirmed", async () => {
  const policy = openPolicy.replace('@quorum("1")', '@quorum("1") @signed("passkey")');
  const world = await createWorld({ turns, policy });
  await world.work();
  const rita = await world.reviewer("rita");
  const strict = await asked(world);
  await expect(rita.edit(strict.request, strict.action, args("ada", 100))).rejects.toMatchObject({
    code: "passkey_needed",
  });
  await world.activate(openPolicy);
  const { request, action } = await asked(world);
  await world.pool.query("alter table reviewer_key disable trigger user");
  await world.pool.query("update reviewer_key set confirmed_at = null, confirmed_by = null");
  await expect(rita.edit(request, action, args("ada", 100))).rejects.toMatchObject({ code: "key_unconfirmed" });
}, 60_000);

test.each([
  ["its key was never confirmed", "reviewer_key", "confirmed_at = null, confirmed_by = null"],
  ["its key was confirmed after it", "reviewer_key", "confirmed_at = now() + interval '1 hour'"],
  [
    "its request asks for a passkey",
    "approval_request",
    `requirements = jsonb_set(requirements, '{0,signed}', '"passkey"')`,
  ],
  ["whoever made it is who asked for the run", "principal", "person = 'operator'"],
])("a change of a call does not hold when %s", async (_, table, change) => {
  const world = await createWorld({ turns });
  await world.work();
  const { run, request, action } = await asked(world);
  await (await world.reviewer("rita")).edit(request, action, args("ada", 100));
  await world.pool.query(`alter table ${table} disable trigger user`);
  await world.pool.query(`update ${table} set ${change}${table === "principal" ? " where id = 'rita'" : ""}`);
  await world.wake(run, request);
  expect(await world.closed(run)).toMatchObject({ status: "completed" });
  expect(await told(world, run)).toMatchObject({ status: "denied", code: "invalid_grant" });
  expect(await paid(world)).toEqual([]);
});
