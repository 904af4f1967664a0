import { readFile } from "node:fs/promises";

import { expect, test } from "vitest";

import { replayRun, verifyRun } from "../../src/audit/index.ts";
import { listRequests, requestById } from "../../src/approvals/index.ts";
import { approvalDecidedSignal } from "../../src/core/contract.ts";
import type { ApprovalId, RunId } from "../../src/core/ids.ts";
import type { RunRecord } from "../../src/core/run-record.ts";
import { noteDue } from "../../src/server/keep-time.ts";
import { decisionsOf } from "../../src/store/index.ts";
import { queryRunState } from "../../src/temporal/index.ts";
import { attack } from "../support/attack.ts";
import { caller, serve } from "../support/served.ts";
import { createWorld, until } from "../support/world.ts";
import type { World } from "../support/world.ts";

const pay = (amount_cents: number, to = "ada") => ({ tool: "pay", arguments: { to, amount_cents } });
const everything = '@id("all") permit(principal, action, resource);';

async function effects(world: World): Promise<readonly string[]> {
  const text = await readFile(world.effects, "utf8").catch(() => "");
  return text.split("\n").filter((line) => /^(pay|shout) /.test(line));
}

async function codes(world: World, run: RunId): Promise<readonly string[]> {
  return (await decisionsOf(world.pool, run)).map(({ seq, outcome, code }) => `${seq} ${outcome} ${code ?? ""}`.trim());
}

test("signals, updates and queries that are made up or too many do nothing to a run that waits", async () => {
  const world = await createWorld({ turns: [{ calls: [pay(6_000)] }, { text: "done" }] });
  await world.work();
  const run = await world.start();
  const request = await world.request(run);
  const handle = world.client.workflow.getHandle(run);
  const unknown = "apr_01ARZ3NDEKTSV4RRFFQ69G5FAV";
  const forged: readonly unknown[][] = [
    [request.id],
    [request.id, { approved: true, reviewer: "grace" }],
    [unknown],
    [null],
    [],
    [{ id: request.id, state: "approved" }],
    ["x".repeat(10_000)],
  ];
  for (const args of forged) await handle.signal(approvalDecidedSignal, ...args);
  for (const name of ["approved", "grant", "approvalGranted"]) await handle.signal(name, request.id);
  await expect(handle.executeUpdate("approve", { args: [request.id] })).rejects.toThrow("Workflow Update failed");
  await until(async () => {
    const state = await queryRunState(world.client, run);
    return state.phase === "waiting" && state.waitingFor[0] === request.id ? true : undefined;
  });
  expect(await codes(world, run)).toEqual(["0 allow", "1 require_approval"]);
  expect(await effects(world)).toEqual([]);
  // And the true decision still counts after all that.
  await (await world.reviewer("grace")).decide(request, "approve");
  await world.wake(run, request);
  expect((await world.closed(run)).status).toBe("completed");
  expect(await effects(world)).toHaveLength(1);
});

test("an approval of another run, step or tool is none, however truly it was given", async () => {
  const policy = `${everything}
    @id("ask") @decision("require_approval") @group("treasury") @reason("ask") forbid(principal, action in Action::"tool", resource);`;
  const world = await createWorld({
    policy,
    turns: [{ calls: [pay(100), pay(100, "eve"), { tool: "shout", arguments: { text: "hi" } }] }, { text: "done" }],
  });
  await world.work();
  const grace = await world.reviewer("grace");
  const [victim, other] = [await world.register(), await world.register()];
  const begin = (run: RunId) => [
    { activity: "openRun", input: { run } },
    { activity: "model", input: { run, seq: 0 } },
    ...[0, 1, 2].map((call) => ({ activity: "tool", input: { run, seq: call + 1, model: 0, call } })),
  ];
  await attack(world, other, begin(other));
  await attack(world, victim, begin(victim));
  const approved = async (run: RunId, seq: number): Promise<ApprovalId> => {
    const requests = await listRequests(world.pool, { run, limit: 10 });
    const request = requests.find((one) => one.seq === seq);
    if (request === undefined) throw new Error(`step ${seq} asks for nothing`);
    await grace.decide(request, "approve");
    return request.id;
  };
  const [elsewhere, first] = [await approved(other, 1), await approved(victim, 1)];
  const ends = (await attack(world, victim, [
    // The other run's approval of the very same call.
    { activity: "tool", input: { run: victim, seq: 2, model: 0, call: 1, grant: elsewhere } },
    // This run's own approval, of another call and of another tool.
    { activity: "tool", input: { run: victim, seq: 3, model: 0, call: 2, grant: first } },
    // Its own step, with what belongs to it, twice.
    { activity: "tool", input: { run: victim, seq: 1, model: 0, call: 0, grant: first } },
    { activity: "tool", input: { run: victim, seq: 1, model: 0, call: 0, grant: first } },
    // The same call again, as a new step.
    { activity: "tool", input: { run: victim, seq: 4, model: 0, call: 0, grant: first } },
  ])) as readonly unknown[];
  expect(ends).toEqual(ends.map(() => ({ status: "done" })));
  expect((await codes(world, victim)).filter((one) => !one.startsWith("0 ") && !one.includes("require"))).toEqual([
    "1 allow",
    "2 deny invalid_grant",
    "3 deny invalid_grant",
    "4 deny invalid_grant",
  ]);
  expect(await effects(world)).toEqual([expect.stringContaining("pay")]);
  // What was given elsewhere is still there, for what it was given for.
  expect(await requestById(world.pool, elsewhere)).toMatchObject({ state: "approved", run: other });
});

test("an approval whose giver may not give it any more, or never might, stops the call at the last moment", async () => {
  const world = await createWorld({ turns: [{ calls: [pay(6_000)] }, { text: "done" }] });
  await world.work();
  const changes: Readonly<Record<string, string>> = {
    leaves: "update principal set groups = '{}' where id = 'leaves'",
    demoted: "update principal set roles = '{auditor}' where id = 'demoted'",
    asked: "update principal set person = 'operator' where id = 'asked'",
    subject: "update principal set person = 'ada@example.com' where id = 'subject'",
    revoked: "update reviewer_key set revoked_at = now() where principal = 'revoked'",
    stays: "select 1",
  };
  const ends = Object.entries(changes).map(async ([id, change]) => {
    const reviewer = await world.reviewer(id);
    const run = await world.start({ subject: { id: "cus_ada", email: "Ada@Example.com" } });
    const request = await world.request(run);
    await reviewer.decide(request, "approve");
    await world.pool.query(change);
    await world.wake(run, request);
    expect((await world.closed(run)).status).toBe("completed");
    return `${id}: ${(await codes(world, run)).filter((one) => one.startsWith("1 ")).at(-1) ?? ""}`;
  });
  expect(await Promise.all(ends)).toEqual([
    "leaves: 1 deny invalid_grant",
    "demoted: 1 deny invalid_grant",
    "asked: 1 deny invalid_grant",
    "subject: 1 deny invalid_grant",
    "revoked: 1 deny invalid_grant",
    "stays: 1 allow",
  ]);
  expect(await effects(world)).toHaveLength(1);
});

test("escalated, delegated and approved by two: over the API, by the clock, into the ledger, and audited offline", async () => {
  const policy = `${everything}
    @id("held") @decision("require_approval") @approvers("1 of treasury and 1 of legal") @distinct("true") @expires("2h")
    @escalate_after("1h") @escalate_to("managers") @remind_after("30m") @amount("amount_cents") @reason("ask two")
    forbid(principal, action == Action::"tool/pay", resource);`;
  const world = await createWorld({ policy, turns: [{ calls: [pay(6_000)] }, { text: "done" }] });
  let ahead = 0;
  const now = () => new Date(Date.now() + ahead);
  await world.work({ now });
  const { http, verifierKey } = await serve(world, now);
  const tessa = await caller(world, http, "tessa", ["treasury"]);
  const dora = await caller(world, http, "dora", []);
  const mia = await caller(world, http, "mia", ["managers"]);
  const auditor = await caller(world, http, "audra", []);
  const run = await world.start();
  const request = await world.request(run);

  expect(await dora.decide(request.id)).toMatchObject({ code: "not_eligible" });
  expect(
    await tessa.send("POST", "/v1/delegations", {
      delegate: "dora",
      until: new Date(Date.now() + 86_400_000).toISOString(),
      tool: "pay",
      maxAmount: 6_000,
      reason: "out of office",
    }),
  ).toMatchObject({ changed: true, delegation: { delegator: "tessa", delegate: "dora", state: "open" } });
  expect(
    await tessa.send("POST", "/v1/delegations", { delegate: "tessa", until: "2099-01-01T00:00:00Z", reason: "x" }),
  ).toMatchObject({
    code: "delegation_invalid",
  });
  // She may change a call in tessa's place too, and so tessa does not approve it; but she may say no.
  const changed = await world.start();
  const before = await world.request(changed);
  await dora.edit(before, world.actionOf(before, pay(6_000).arguments), pay(4_000).arguments);
  await world.wake(changed, before);
  const after = await world.request(changed);
  expect(await tessa.decide(after.id)).toMatchObject({ code: "not_eligible" });
  expect(await tessa.decide(after.id, "deny")).toMatchObject({ approval: { state: "denied" } });
  await world.closed(changed);
  expect(await mia.decide(request.id)).toMatchObject({ code: "not_eligible" });
  expect(await tessa.send("GET", `/v1/approvals/${request.id}`)).toMatchObject({
    routing: {
      requirements: [
        { groups: ["treasury"], later: { groups: ["managers"] } },
        { groups: ["legal"], later: { groups: ["managers"] } },
      ],
      people: [
        { id: "tessa", insteadOf: null },
        { id: "dora", insteadOf: "tessa" },
      ],
      barred: [
        { person: "operator", because: "author" },
        { person: "operator", because: "requester" },
      ],
    },
  });
  expect(await dora.decide(request.id)).toMatchObject({ recorded: true, approval: { state: "pending" } });
  // Her key is revoked, and she says it anew with another.
  expect(await dora.send("POST", `/v1/keys/${dora.keyId}/revoke`)).toMatchObject({ revoked: true });
  expect(await dora.decide(request.id)).toMatchObject({ code: "key_unknown" });
  const again = await caller(world, http, "dora", []);
  expect(await again.decide(request.id)).toMatchObject({
    recorded: true,
    approval: { state: "pending", decidedBy: [{ reviewer: "dora", fallen: true }, { reviewer: "dora" }] },
  });

  ahead = 3_600_000;
  expect(await noteDue({ pool: world.pool, now })).toBe(1);
  expect(await noteDue({ pool: world.pool, now })).toBe(0);
  expect(await mia.decide(request.id)).toMatchObject({ approval: { state: "approved" } });
  expect((await world.closed(run)).status).toBe("completed");
  expect(await effects(world)).toHaveLength(1);

  const recordOf = async (of: RunId) => (await auditor.send("GET", `/v1/runs/${of}/record`)) as RunRecord;
  const record = await recordOf(run);
  const { code } = (await auditor.send("GET", `/v1/bundles/${record.run.workflowBundle ?? ""}`)) as { code: string };
  const faults = async (of: RunRecord) => [
    ...failed(await replayRun(of, code)).map((name) => `replay ${name}`),
    ...failed(verifyRun(of, verifierKey)).map((name) => `verify ${name}`),
  ];
  expect(await faults(record)).toEqual([]);
  const edited = await recordOf(changed);
  expect(await faults(edited)).toEqual([]);
  const [own] = edited.edits ?? [];
  const delegation = own?.capacity?.delegation;
  if (own === undefined || delegation === undefined) throw new Error("the change was made for nobody");
  const capacityOfEdit = (change: object) => ({ edits: [{ ...own, capacity: { ...own.capacity, ...change } }] });
  const tamperedEdits: Readonly<Record<string, object>> = {
    "for whom left out": { edits: [{ ...own, capacity: undefined }] },
    "in her own name": capacityOfEdit({ delegation: undefined }),
    "another person": capacityOfEdit({ person: "mia" }),
    "another delegation": capacityOfEdit({ delegation: { ...delegation, id: "dlg_01ARZ3NDEKTSV4RRFFQ69G5FAV" } }),
    "a longer delegation": capacityOfEdit({ delegation: { ...delegation, until: "2099-01-01T00:00:00.000Z" } }),
    "a group that nobody asked": capacityOfEdit({ groups: ["others"] }),
  };
  for (const [name, change] of Object.entries(tamperedEdits))
    expect((await faults({ ...edited, ...change } as RunRecord)).length, name).toBeGreaterThan(0);
  // Replay joins the log of people too, for decisions and changes.
  for (const of of [record, edited])
    expect((await replayRun(withoutEntry(of, "delegation.granted"), code)).checks).toContainEqual(
      expect.objectContaining({ name: "delegations", status: "failed" }),
    );

  type Approval = RunRecord["approvals"][number];
  type Signed = Approval["decisions"][number];
  const altered = (change: (one: Approval) => Partial<Approval>): RunRecord => ({
    ...record,
    approvals: record.approvals.map((one) => ({ ...one, ...change(one) })),
  });
  const signed = (change: (one: Signed) => Partial<Signed>): RunRecord =>
    altered(({ decisions }) => ({ decisions: decisions.map((one) => ({ ...one, ...change(one) })) }));
  const capacity = (change: Partial<NonNullable<Signed["capacity"]>>): RunRecord =>
    signed((one) => ({ capacity: { ...(one.capacity as NonNullable<Signed["capacity"]>), ...change } }));
  const tampered: Readonly<Record<string, RunRecord>> = {
    "what fell left out": altered(({ decisions }) => ({ decisions: decisions.slice(1) })),
    "what fell said to be the last": altered(({ decisions: [first, second, ...rest] }) => ({
      decisions: [second as Signed, first as Signed, ...rest],
    })),
    "the end of the key left out": withoutEntry(record, "approver.key.revoked"),
    "a person changed": capacity({ person: "somebody" }),
    "two who are one": capacity({ person: "tessa" }),
    "a group changed": capacity({ groups: ["legal", "treasury"] }),
    "a time changed": capacity({ at: new Date(Date.now() - 1).toISOString() }),
    "as whom they decided left out": altered(({ decisions }) => ({
      barred: [],
      decisions: decisions.map(({ capacity: _capacity, ...one }) => one),
    })),
    "who is barred left out": altered(() => ({ barred: [] })),
    "an escalation made up": altered(({ requirements }) => ({
      requirements: requirements.map((one) => ({ ...one, escalate: { afterMs: 1, to: ["others"] } })),
    })),
    "people counted twice": altered(({ requirements }) => ({
      requirements: requirements.map(({ distinct: _distinct, ...one }) => one),
    })),
    "the delegation's end changed": signed(({ capacity: own }) =>
      own?.delegation === undefined
        ? {}
        : { capacity: { ...own, delegation: { ...own.delegation, until: "2099-01-01T00:00:00.000Z" } } },
    ),
    "the delegation too small": altered(() => ({ amount: 6_001 })),
    "another delegation": signed(({ capacity: own }) =>
      own?.delegation === undefined
        ? {}
        : { capacity: { ...own, delegation: { ...own.delegation, id: "dlg_01ARZ3NDEKTSV4RRFFQ69G5FAV" } } },
    ),
    "the delegation's grant left out": withoutEntry(record, "delegation.granted"),
  };
  for (const [name, of] of Object.entries(tampered)) expect((await faults(of)).length, name).toBeGreaterThan(0);
}, 240_000);

function withoutEntry(record: RunRecord, kind: string): RunRecord {
  const keys = record.keys as NonNullable<RunRecord["keys"]>;
  const entries = keys.entries.filter(({ leaf }) => !leaf.includes(kind));
  expect(entries).toHaveLength(keys.entries.length - 1);
  return { ...record, keys: { ...keys, entries } };
}

function failed({ checks }: { readonly checks: readonly { readonly name: string; readonly status: string }[] }) {
  // Histories are sealed by a server that listens, a while after their end.
  return checks.filter(({ name, status }) => status !== "passed" && name !== "seals").map((one) => JSON.stringify(one));
}
