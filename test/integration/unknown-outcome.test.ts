import { expect, test } from "vitest";
import { listRequests, revokeReviewerKey } from "../../src/approvals/index.ts";
import { replayRun, verifyRun } from "../../src/audit/index.ts";
import type { RunId } from "../../src/core/ids.ts";
import type { LedgerEntry } from "../../src/core/ledger-event.ts";
import type { RunRecord } from "../../src/core/run-record.ts";
import { wakeRun } from "../../src/temporal/index.ts";
import { getPayload, stepsOf } from "../../src/store/index.ts";
import type { PayloadKeys } from "../../src/store/index.ts";
import { caller, serve } from "../support/served.ts";
import { createWorld, until } from "../support/world.ts";
import type { World } from "../support/world.ts";

const shout = { tool: "shout", arguments: { text: "hey", break: true } };
const turns = [{ calls: [shout] }, { text: "done" }];

async function told(world: World, run: RunId): Promise<unknown> {
  const step = (await stepsOf(world.pool, run)).find(({ name }) => name === "shout");
  return step?.result === null || step === undefined
    ? undefined
    : getPayload(world.pool, world.keys as PayloadKeys, step.result);
}

const effectOf = async (world: World, run: RunId) =>
  (await world.pool.query<{ state: string }>("select state from effect where run = $1 and seq = 1", [run])).rows[0]
    ?.state;

/** What its record and the ledger say, and what audits find of them. */
async function audited(world: World, run: RunId, { http, verifierKey }: Awaited<ReturnType<typeof serve>>) {
  const auditor = await caller(world, http, `auditor-${run.slice(-6).toLowerCase()}`, ["treasury"]);
  const record = (await auditor.send("GET", `/v1/runs/${run}/record`)) as RunRecord;
  const { code } = (await auditor.send("GET", `/v1/bundles/${record.run.workflowBundle ?? ""}`)) as { code: string };
  const faultsOf = async (of: RunRecord): Promise<readonly string[]> => {
    const checks = [...(await replayRun(of, code)).checks, ...verifyRun(of, verifierKey).checks];
    return checks.flatMap(({ name, problems }) => (name === "seals" ? [] : problems));
  };
  const entries = record.ledger.entries.map(({ leaf }) => JSON.parse(leaf) as LedgerEntry);
  return { record, entries, faultsOf };
}

test("a run waits for somebody to look, and goes on with what they say", async () => {
  const world = await createWorld({ turns });
  await world.work();
  const rita = await world.reviewer("rita");
  for (const [said, state, status] of [
    ["happened", "done", "ok"],
    ["did_not_happen", "failed", "error"],
  ] as const) {
    const run = await world.start();
    const outcome = await world.unknown(run);
    // Woken without a word from anybody, it waits on: a signal carries no authority.
    await wakeRun(world.client, run, outcome.id);
    expect(await rita.resolve(outcome, said, "I looked at the wall")).toMatchObject({ state: "resolved" });
    await wakeRun(world.client, run, outcome.id);
    expect(await world.closed(run)).toMatchObject({ status: "completed" });
    expect(await world.states(run)).toContain(`shout:${state}`);
    expect(await told(world, run)).toMatchObject({ status });
    expect(JSON.stringify(await told(world, run))).toContain("I looked at the wall");
    expect(await effectOf(world, run)).toBe("reconciled");
    expect(await world.unknown(run)).toMatchObject({ state: "reconciled" });
    await expect(rita.resolve(await world.unknown(run), said, "again")).rejects.toMatchObject({
      code: "request_not_pending",
    });
  }
}, 60_000);

test("what is said while the gate looks is taken over by it, whichever comes first", async () => {
  const world = await createWorld({ turns });
  await world.work();
  const rita = await world.reviewer("rita");
  const run = await world.start();
  const outcome = await world.unknown(run);
  const waiters = async (count: number) =>
    until(async () => {
      const { rows } = await world.pool.query(
        "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
      );
      return rows.length === count ? true : undefined;
    });
  const blocker = await world.pool.connect();
  try {
    // Rita's transaction has the outcome's row, and waits for her key's; the gate's, with what it saw before, waits for hers.
    await blocker.query("begin");
    await blocker.query("select from reviewer_key where key_id = $1 for update", [rita.keyId]);
    const said = rita.resolve(outcome, "happened", "heard it");
    await waiters(1);
    await wakeRun(world.client, run, outcome.id);
    await waiters(2);
    await blocker.query("commit");
    expect(await said).toMatchObject({ state: "resolved" });
  } finally {
    blocker.release();
  }
  expect(await world.closed(run)).toMatchObject({ status: "completed" });
  expect(await world.unknown(run)).toMatchObject({ state: "reconciled", resolution: { reviewer: "rita" } });
}, 60_000);

test("a changed call that was interrupted, and whose change fell meanwhile, is not begun again; the agent is told of the change with what was said of it", async () => {
  const asks = { to: "wobbly ada", amount_cents: 6_000 };
  const world = await createWorld({ turns: [{ calls: [{ tool: "pay", arguments: asks }] }, { text: "done" }] });
  await world.work();
  const server = await serve(world);
  const rita = await world.reviewer("rita");
  const run = await world.start();
  const request = await world.request(run);
  const made = { to: "wobbly ada", amount_cents: 4_000 };
  await rita.edit(request, world.actionOf(request, asks), made, "two thirds");
  // Her key is revoked at the moment at which the call is begun: the first attempt breaks, and the next one finds no change that holds.
  await world.pool.query(`create function gone() returns trigger language plpgsql as $$
    begin update reviewer_key set revoked_at = now() where principal = 'rita'; return null; end $$`);
  await world.pool.query(
    "create trigger gone after insert on effect for each row when (new.seq = 1) execute function gone()",
  );
  await world.wake(run, request);
  const outcome = await world.unknown(run, 60_000);
  await (await world.reviewer("rick")).resolve(outcome, "did_not_happen", "the bank has no such payment");
  await wakeRun(world.client, run, outcome.id);
  expect(await world.closed(run)).toMatchObject({ status: "completed" });
  const step = (await stepsOf(world.pool, run)).find(({ name }) => name === "pay");
  expect(await getPayload(world.pool, world.keys as PayloadKeys, step?.result ?? ("" as never))).toEqual({
    status: "error",
    message: expect.stringContaining("the bank has no such payment"),
    changed: { arguments: made, reason: "two thirds" },
  });
  const { record, entries, faultsOf } = await audited(world, run, server);
  expect(entries.find(({ kind }) => kind === "step.reconciled")?.facts).toMatchObject({ edit: request.id });
  expect(await faultsOf(record)).toEqual([]);
  const untold = {
    ...record,
    edits: record.edits?.map((edit) => ({ ...edit, statement: edit.statement.replace("two", "all") })),
  };
  expect((await faultsOf(untold as RunRecord)).join()).toMatch(/told something else/);
}, 180_000);

test("only a reviewer whose approval the call could have had says it, and never who asked for the run", async () => {
  const world = await createWorld({
    turns,
    policy: `@id("all") permit(principal, action, resource);
@id("loud") @decision("require_approval") @group("neighbours") @expires("1h") forbid(principal, action == Action::"tool/shout", resource);`,
  });
  await world.work();
  const nora = await world.reviewer("nora", ["neighbours"]);
  const run = await world.start();
  const request = await world.request(run);
  const server = await serve(world);
  await (await caller(world, server.http, "nina", ["neighbours"])).decide(request.id);
  const outcome = await world.unknown(run);
  expect(outcome.groups).toEqual(["neighbours"]);
  const used = { run, limit: 1 };
  expect(await listRequests(world.pool, { ...used, state: "outcome_unknown" })).toMatchObject([{ id: request.id }]);
  const rita = await world.reviewer("rita");
  await expect(rita.resolve(outcome, "happened", "x")).rejects.toMatchObject({ code: "not_in_group" });
  const operator = await world.reviewer("operator", ["neighbours"]);
  await expect(operator.resolve(outcome, "happened", "x")).rejects.toMatchObject({ code: "self_approval" });
  await expect(nora.resolve({ ...outcome, seq: 9 }, "happened", "x")).rejects.toMatchObject({
    code: "request_missing",
  });
  await expect(nora.resolve({ ...outcome, action: "f".repeat(64) as never }, "happened", "x")).rejects.toMatchObject({
    code: "statement_mismatch",
  });
  await expect(nora.resolve(outcome, "happened", "  ")).rejects.toMatchObject({ code: "statement_malformed" });
  // What was said by a key that was revoked since does not count: it is asked again, and the run waits on.
  await nora.resolve(outcome, "happened", "heard it");
  await revokeReviewerKey(world.pool, nora.keyId, new Date());
  await wakeRun(world.client, run, outcome.id);
  await until(async () => ((await world.unknown(run)).state === "open" ? true : undefined));
  expect(await effectOf(world, run)).toBe("unknown");
  // Nor by somebody who is found to be who asked for the run, by another account.
  const olga = await world.reviewer("olga", ["neighbours"], "operator");
  await expect(olga.resolve(outcome, "happened", "x")).rejects.toMatchObject({ code: "self_approval" });
  const nadia = await world.reviewer("nadia", ["neighbours"]);
  await nadia.resolve(outcome, "happened", "heard it");
  await world.pool.query("update principal set person = 'operator' where id = 'nadia'");
  await wakeRun(world.client, run, outcome.id);
  await until(async () => ((await world.unknown(run)).state === "open" ? true : undefined));
  expect(await effectOf(world, run)).toBe("unknown");
  // Nor by somebody who is not one of those any more.
  const neil = await world.reviewer("neil", ["neighbours"]);
  await neil.resolve(outcome, "happened", "heard it");
  await world.pool.query("update principal set groups = '{}' where id = 'neil'");
  await wakeRun(world.client, run, outcome.id);
  await until(async () => ((await world.unknown(run)).state === "open" ? true : undefined));
  expect(await effectOf(world, run)).toBe("unknown");
  const ned = await world.reviewer("ned", ["neighbours"]);
  await world.pool.query("alter table reviewer_key disable trigger user");
  await world.pool.query("update reviewer_key set confirmed_at = null, confirmed_by = null where principal = 'ned'");
  await expect(ned.resolve(outcome, "happened", "x")).rejects.toMatchObject({ code: "key_unconfirmed" });
  await world.pool.query(
    "update reviewer_key set confirmed_at = added_at, confirmed_by = added_by where principal = 'ned'",
  );
  await ned.resolve(outcome, "did_not_happen", "heard nothing");
  await wakeRun(world.client, run, outcome.id);
  expect(await world.closed(run)).toMatchObject({ status: "completed" });
  expect(await effectOf(world, run)).toBe("reconciled");
  expect(await listRequests(world.pool, { ...used, state: "consumed" })).toMatchObject([{ id: request.id }]);
  // What did not hold is gone from the table, and not from the ledger.
  const { record, faultsOf, entries } = await audited(world, run, server);
  expect(await faultsOf(record)).toEqual([]);
  expect(entries.filter(({ kind }) => kind === "step.resolution_refused").map(({ facts }) => facts)).toMatchObject([
    { reviewer: "nora", why: "the signature is not theirs by a key that counts", keyId: nora.keyId },
    { reviewer: "nadia", why: "they are the author" },
    { reviewer: "neil", why: "they are none of those who may say it" },
  ]);
}, 60_000);

test("a grant whose call ended with its run is left as one of which nobody knows what came, and is audited so", async () => {
  const world = await createWorld({
    turns,
    policy: `@id("all") permit(principal, action, resource);
@id("loud") @decision("require_approval") @group("treasury") forbid(principal, action == Action::"tool/shout", resource);`,
  });
  await world.work();
  const server = await serve(world);
  const rita = await caller(world, server.http, "rita", ["treasury"]);
  const run = await world.start();
  const request = await world.request(run);
  await rita.decide(request.id);
  const outcome = await world.unknown(run);
  await world.client.workflow.getHandle(run).cancel();
  expect(await world.closed(run)).toMatchObject({ status: "cancelled" });
  expect(await world.unknown(run)).toMatchObject({ id: outcome.id, state: "cancelled" });
  const { faultsOf, record } = await audited(world, run, server);
  expect(record.approvals).toMatchObject([{ id: request.id, state: "outcome_unknown" }]);
  expect(await faultsOf(record)).toEqual([]);
  const lying = { ...record, approvals: record.approvals.map((one) => ({ ...one, state: "approved" })) };
  expect((await faultsOf(lying as RunRecord)).join("\n")).toMatch(/`consumed` in the ledger, `approved` in the record/);
});

test("for whom the run acts says nothing of its calls by any account; who did is recorded, and audited as who they were then", async () => {
  const world = await createWorld({ turns });
  await world.work();
  const { http, verifierKey } = await serve(world);
  const subject = { id: "cus_sue", email: "Sue@Example.com" };
  const run = await world.start({ subject });
  const outcome = await world.unknown(run);
  const sue = await caller(world, http, "sue", ["treasury"]);
  await world.pool.query("update principal set person = 'sue@example.com' where id = 'sue'");
  expect(await sue.resolve(outcome, "happened", "x")).toMatchObject({ code: "not_eligible" });
  // Past the server, which reads for whom the run acts: the gate looks again.
  const other = await world.reviewer("sue2", ["treasury"], "sue@example.com");
  await other.resolve(outcome, "happened", "x");
  await wakeRun(world.client, run, outcome.id);
  await until(async () => ((await world.unknown(run)).state === "open" ? true : undefined));
  expect((await world.unknown(run)).resolution).toBeNull();
  const rita = await caller(world, http, "rita", ["treasury"]);
  await world.pool.query("update principal set person = 'rita.person' where id = 'rita'");
  expect(await rita.resolve(outcome, "did_not_happen", "nothing on the wall")).toMatchObject({
    outcome: { resolvedBy: "rita" },
  });
  await expect(
    world.pool.query("update unknown_outcome set person = 'somebody' where id = $1", [outcome.id]),
  ).rejects.toMatchObject({ code: "23001" });
  expect(await world.closed(run)).toMatchObject({ status: "completed" });

  const record = (await rita.send("GET", `/v1/runs/${run}/record`)) as RunRecord;
  const { code } = (await rita.send("GET", `/v1/bundles/${record.run.workflowBundle ?? ""}`)) as { code: string };
  const [said] = record.resolutions ?? [];
  expect(said).toMatchObject({ reviewer: "rita", person: "rita.person" });
  expect(said?.barred).toContainEqual({ person: "sue@example.com", because: "subject" });
  const reconciled = record.ledger.entries
    .map(({ leaf }) => JSON.parse(leaf) as LedgerEntry)
    .find(({ kind }) => kind === "step.reconciled");
  expect(reconciled?.facts).toMatchObject({ person: "rita.person", saidAt: said?.at, keysSize: expect.any(Number) });
  const faults = async (of: RunRecord): Promise<readonly string[]> => {
    const checks = [...(await replayRun(of, code)).checks, ...verifyRun(of, verifierKey).checks];
    return checks.flatMap(({ name, problems }) => (name === "seals" ? [] : problems));
  };
  expect(await faults(record)).toEqual([]);
  const with_ = (change: Partial<NonNullable<typeof said>>): RunRecord => ({
    ...record,
    resolutions: [{ ...(said as NonNullable<typeof said>), ...change }],
  });
  const { person: _person, barred: _barred, at: _at, ...older } = said as NonNullable<typeof said>;
  const tampered: readonly (readonly [RunRecord, RegExp])[] = [
    [with_({ person: "somebody" }), /`person` is `rita.person` in the ledger/],
    [with_({ person: "sue@example.com" }), /it is by whom the run acts for/],
    [with_({ person: "operator" }), /it is by who asked for the run/],
    [with_({ barred: [] }), /`barred`/],
    [with_({ barred: [{ person: "rita.person", because: "author" }] }), /`rita.person` is the author/],
    [with_({ at: "2026-01-01T00:00:00.000Z" }), /`saidAt`/],
    [{ ...record, resolutions: [older] }, /`person` is `rita.person` in the ledger, `null` in the record/],
  ];
  for (const [of, problem] of tampered) expect((await faults(of)).join("\n")).toMatch(problem);
}, 60_000);

test("nobody looked in time: the run fails, and says so", async () => {
  const world = await createWorld({ turns });
  let ahead = 0;
  await world.work({ now: () => new Date(Date.now() + ahead) });
  const run = await world.start();
  const outcome = await world.unknown(run);
  ahead = 31 * 86_400_000;
  await wakeRun(world.client, run, outcome.id);
  expect(await world.closed(run)).toMatchObject({ status: "failed", failure: { code: "outcome_unknown" } });
  expect(await world.unknown(run)).toMatchObject({ state: "expired" });
});
