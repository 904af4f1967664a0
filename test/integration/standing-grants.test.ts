import { readFile } from "node:fs/promises";

import * as fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";

import {
  addReviewerKey,
  delegate,
  listRequests,
  revokeReviewerKey,
  revokeStanding,
  standingById,
  standingKind,
  standingMatches,
  standingUsesOf,
  takeStanding,
  termsDigest,
  toolDigest,
  undelegate,
  writeStandingUse,
} from "../../src/approvals/index.ts";
import type { StandingClaim } from "../../src/approvals/index.ts";
import type { RunId } from "../../src/core/ids.ts";
import type { StandingTerms } from "../../src/core/standing-grant.ts";
import { freeze, putPrincipal } from "../../src/registry/index.ts";
import { decisionsOf, inTransaction, stepsOf } from "../../src/store/index.ts";
import type { Tx } from "../../src/store/index.ts";
import { softwarePasskey } from "../support/software-passkey.ts";
import { approve, dayMs, grantAhead, onePerson, payTerms, payTool, propose, signGrant } from "../support/standing.ts";
import { createWorld, openPolicy, until } from "../support/world.ts";
import type { World } from "../support/world.ts";

const pay = (to: unknown, amount_cents: number) => ({ tool: "pay", arguments: { to, amount_cents } as never });
const once = [{ calls: [pay("ada", 6_000)] }, { text: "done" }];
const admin = { id: "amir", roles: ["admin"] };

async function paid(world: World): Promise<number> {
  const text = await readFile(world.effects, "utf8").catch(() => "");
  return text.split("\n").filter((line) => line.startsWith("pay ")).length;
}

/** How the payments of a run stand once none of them is under way: done, waiting for people, or denied. */
async function settled(world: World, run: RunId, calls = 1): Promise<readonly string[]> {
  return until(async () => {
    const steps = (await stepsOf(world.pool, run)).filter(({ name }) => name === "pay");
    const over = steps.length === calls && steps.every(({ state }) => !["intended", "pending"].includes(state));
    return over ? steps.map(({ state }) => state) : undefined;
  });
}

const start = async (world: World, input = {}) => settled(world, await world.start(input));
const two = async (world: World) => [await world.reviewer("rita"), await world.reviewer("rick")] as const;

test("calls that were granted ahead are made without a request, so often, each counted; the next one is asked about", async () => {
  const world = await createWorld({ turns: once });
  await world.work();
  const grant = await grantAhead(world, { uses: 2 }, ...(await two(world)));
  expect(grant.state).toBe("active");
  const runs = [await world.start(), await world.start()] as const;
  for (const run of runs) expect(await world.closed(run)).toMatchObject({ status: "completed" });
  expect(await listRequests(world.pool, { limit: 10 })).toEqual([]);
  expect(await paid(world)).toBe(2);
  const uses = (await Promise.all(runs.map((run) => standingUsesOf(world.pool, run)))).flat();
  expect(new Set(uses.map(({ n, total }) => `${n}: ${total}`))).toEqual(new Set(["1: 6000", "2: 12000"]));
  const [, decided] = await decisionsOf(world.pool, runs[0]);
  expect(decided).toMatchObject({ outcome: "allow", approval: null, standingGrant: grant.id });
  const { rows } = await world.pool.query<{ kind: string; facts: object }>(
    "select event::json ->> 'kind' as kind, event::json -> 'facts' as facts from ledger_outbox where run = $1 order by id",
    [runs[0]],
  );
  const used = rows.findIndex(({ kind }) => kind === "standing.used");
  expect(rows[used]?.facts).toMatchObject({
    grant: grant.id,
    seq: 1,
    amount: 6_000,
    barred: ["author:operator", "requester:operator"],
  });
  expect(rows[used + 1]).toMatchObject({ kind: "step.decided", facts: { seq: 1, standingGrant: grant.id } });
  expect(await start(world)).toEqual(["waiting"]);
  expect(await standingById(world.pool, grant.id)).toMatchObject({ used: { n: 2, total: 12_000 } });
}, 60_000);

test("steps at once never exceed number or sum: of the last use, one; of a sum, what it has room for", async () => {
  const world = await createWorld({
    turns: [{ calls: Array.from({ length: 6 }, () => pay("ada", 6_000)) }, { text: "done" }],
  });
  await Promise.all([world.work(), world.work()]);
  const [rita, rick] = await two(world);
  const last = await grantAhead(world, { uses: 1 }, rita, rick);
  const many = await Promise.all([await world.start(), await world.start()].map((run) => settled(world, run, 6)));
  expect(many.flat().filter((state) => state === "done")).toHaveLength(1);
  expect(await standingById(world.pool, last.id)).toMatchObject({ used: { n: 1 } });
  // Room for three of 6,000, to the cent; and then one more grant beside it, with room for less than one.
  await grantAhead(world, { uses: 10, sum: { argument: "amount_cents", max: 18_000 } }, rita, rick);
  await grantAhead(world, { uses: 10, sum: { argument: "amount_cents", max: 5_999 } }, rita, rick);
  const states = await Promise.all([await world.start(), await world.start()].map((run) => settled(world, run, 6)));
  expect(states.flat().filter((state) => state === "done")).toHaveLength(3);
  expect(await paid(world)).toBe(4);
}, 60_000);

test("look-alikes, other domains, lists with one more, and other types are not the target", async () => {
  const world = await createWorld({
    turns: [
      {
        calls: [
          "ada@pay.example",
          "ada@pay.example.evil.com",
          "\u0430da@pay.example",
          "ada@PAY.example",
          "eve@evil.com,ada@pay.example",
          "ada@xpay.example",
          "ada/../eve@pay.example",
          "ada@pay.example ",
        ].map((to) => pay(to, 6_000)),
      },
      { text: "done" },
    ],
  });
  await world.work();
  await grantAhead(world, { uses: 20, targets: [{ argument: "to", like: "*@pay.example" }] }, ...(await two(world)));
  const states = await settled(world, await world.start(), 8);
  expect(states).toEqual(["done", ...Array.from({ length: 7 }, () => "waiting")]);
}, 60_000);

test("what an argument says that nobody spoke of is asked about", async () => {
  const world = await createWorld({
    turns: [{ calls: [{ tool: "pay", arguments: { to: "ada", amount_cents: 6_000, slow_ms: 1 } }] }, { text: "done" }],
  });
  await world.work();
  const [rita, rick] = await two(world);
  await expect(propose(world, payTerms(world, { unconstrained: [] }), rita)).rejects.toMatchObject({
    code: "standing_invalid",
  });
  // Said to be not given, it is not for calls that give it.
  const targets = [
    { argument: "slow_ms", absent: true },
    { argument: "to", is: "ada" },
  ] as const;
  await grantAhead(world, { targets, unconstrained: [] }, rita, rick);
  expect(await start(world)).toEqual(["waiting"]);
  await grantAhead(world, {}, rita, rick);
  expect(await start(world)).toEqual(["done"]);
}, 60_000);

test("a revocation is waited for: a step that comes while it is made does not use the grant", async () => {
  const world = await createWorld({ turns: once });
  await world.work();
  const grant = await grantAhead(world, {}, ...(await two(world)));
  expect(await start(world)).toEqual(["done"]);
  const client = await world.pool.connect();
  onTestFinished(() => client.release());
  await client.query("begin");
  await putPrincipal(world.pool, { id: "amir", displayName: "amir", roles: ["admin"], groups: [] });
  await revokeStanding(client as never, grant.id, admin, () => new Date());
  const run = await world.start();
  // The step has found the grant, and waits for its lock.
  await until(async () => {
    const { rows } = await world.pool.query(
      "select from pg_stat_activity where wait_event_type = 'Lock' and query like '%standing_grant%' and datname = current_database()",
    );
    return rows.length > 0 ? true : undefined;
  });
  await client.query("commit");
  expect(await settled(world, run)).toEqual(["waiting"]);
  expect(await paid(world)).toBe(1);
}, 60_000);

test("who may end it can, and nobody else", async () => {
  const world = await createWorld({ turns: once });
  const [rita, rick] = await two(world);
  const other = await world.reviewer("lea", ["legal"]);
  await world.reviewer("rosa");
  const grant = await grantAhead(world, {}, rita, rick);
  const end = (id: string, roles: readonly string[] = ["reviewer"]) =>
    inTransaction(world.pool, (tx) => revokeStanding(tx, grant.id, { id, roles }, () => new Date()));
  await expect(end(other.id)).rejects.toMatchObject({ code: "not_in_group" });
  await expect(end("rosa", ["operator"])).rejects.toMatchObject({ code: "not_in_group" });
  expect(await end("rosa")).toMatchObject({ changed: true, grant: { state: "revoked", revokedBy: "rosa" } });
  expect(await end("rita")).toMatchObject({ changed: false });
  await expect(approve(world, grant.id, await world.reviewer("ruth"))).rejects.toMatchObject({
    code: "standing_closed",
  });
  // What was ended is never in force again, whoever writes the row.
  await expect(
    world.pool.query("update standing_grant set state = 'active', revoked_at = null, revoked_by = null where id = $1", [
      grant.id,
    ]),
  ).rejects.toThrow("only approved once and revoked once");
}, 60_000);

test("one person is never enough, by whichever accounts; nor somebody outside the group, another's key, or a forged statement", async () => {
  const world = await createWorld({ turns: once });
  await world.work();
  const rita = await world.reviewer("rita", ["treasury"], "rita");
  const second = await world.reviewer("rita.2", ["treasury"], "rita");
  const lea = await world.reviewer("lea", ["legal"]);
  const rick = await world.reviewer("rick");
  await expect(propose(world, payTerms(world), lea)).rejects.toMatchObject({ code: "not_in_group" });
  const grant = await propose(world, payTerms(world), rita);
  expect(grant.state).toBe("proposed");
  for (const by of [rita, second])
    await expect(approve(world, grant.id, by)).rejects.toMatchObject({ code: "decided_before" });
  await expect(approve(world, grant.id, lea)).rejects.toMatchObject({ code: "not_in_group" });
  await expect(approve(world, grant.id, { ...rick, privateKey: lea.privateKey })).rejects.toMatchObject({
    code: "signature_invalid",
  });
  await expect(approve(world, grant.id, { ...rick, keyId: lea.keyId })).rejects.toMatchObject({ code: "key_unknown" });
  const { approveStanding } = await import("../../src/approvals/index.ts");
  for (const change of [
    { terms: "0".repeat(64) },
    { grant: "sgr_01ARZ3NDEKTSV4RRFFQ69G5FAV" },
    { agent: "other" },
    { reviewer: "lea" },
    { expiresAt: new Date(0).toISOString() },
  ])
    await expect(
      inTransaction(world.pool, (tx) =>
        approveStanding(tx, grant.id, signGrant(rick, grant, change), "rick", new Date()),
      ),
    ).rejects.toMatchObject({ code: "statement_mismatch" });
  expect(await start(world)).toEqual(["waiting"]);
  // Past the code that refuses it: the second account's approval, truly signed, and the state set.
  const { statement, keyId, signature } = signGrant(second, grant);
  await world.pool.query(
    `insert into standing_approval (grant_id, reviewer, person, groups, statement, key_id, signature, at)
     values ($1, 'rita.2', 'rita.2', '{treasury}', $2, $3, $4, now())`,
    [grant.id, statement, keyId, signature],
  );
  await world.pool.query("update standing_grant set state = 'active', active_at = now() where id = $1", [grant.id]);
  expect(await start(world)).toEqual(["waiting"]);
  expect(await paid(world)).toBe(0);
}, 60_000);

test("people are asked again once the policies ask for something else, or somebody who granted it does not stand for it any more", async () => {
  const world = await createWorld({ turns: once });
  await world.work();
  const [rita, rick] = await two(world);
  await grantAhead(world, { uses: 99 }, rita, rick);
  expect(await start(world)).toEqual(["done"]);
  const asking = '@quorum("1")';
  const more = `@id("more") @decision("require_approval") @group("treasury") ${asking} @reason("r") forbid(principal, action == Action::"tool/pay", resource);`;
  for (const policy of [
    openPolicy.replace(asking, '@quorum("2")'),
    openPolicy.replace('@group("treasury")', '@group("legal")'),
    openPolicy.replace(asking, `${asking} @signed("passkey")`),
    openPolicy.replace(asking, `${asking} @escalate_after("10m") @escalate_to("managers")`),
    `${openPolicy}\n${more}`,
  ]) {
    await world.activate(policy);
    expect([policy, await start(world)]).toEqual([policy, ["waiting"]]);
  }
  await world.activate(openPolicy);
  expect(await start(world)).toEqual(["done"]);
  expect(await start(world, { subject: { id: "Rick" } })).toEqual(["waiting"]);
  const person = { id: "rick", displayName: "rick", roles: ["reviewer"] as const };
  await putPrincipal(world.pool, { ...person, groups: ["legal"] });
  expect(await start(world)).toEqual(["waiting"]);
  await putPrincipal(world.pool, { ...person, groups: ["treasury"], roles: ["operator"] });
  expect(await start(world)).toEqual(["waiting"]);
  await putPrincipal(world.pool, { ...person, groups: ["treasury"] });
  expect(await start(world)).toEqual(["done"]);
  await revokeReviewerKey(world.pool, rick.keyId, new Date());
  expect(await start(world)).toEqual(["waiting"]);
  expect(await paid(world)).toBe(3);
}, 60_000);

/** Under the lock, whatever the look-up had found. */
const claimOf = (world: World, run: RunId, change: Partial<StandingClaim> = {}): StandingClaim => ({
  run: { id: run, team: "testers", agent: "tester" },
  tool: "pay",
  toolDigest: toolDigest(payTool(world)),
  args: { to: "ada", amount_cents: 6_000 },
  requirements: [onePerson],
  subject: [],
  now: new Date(),
  ...change,
});

test("what holds is looked at under the lock, from the database as it is then", async () => {
  const world = await createWorld({ turns: once });
  const [rita, rick] = await two(world);
  const rosa = await world.reviewer("rosa");
  const grant = await grantAhead(world, { uses: 99 }, rita, rick);
  const run = await world.register();
  const undone = new Error("undone");
  const holdsAfter = async (change: (tx: Tx) => Promise<unknown>, claim: Partial<StandingClaim> = {}) => {
    let taken: boolean | undefined;
    await inTransaction(world.pool, async (tx) => {
      await change(tx);
      taken = (await takeStanding(tx, [grant], claimOf(world, run, claim))) !== undefined;
      throw undone;
    }).catch((error: unknown) => {
      if (error !== undone) throw error;
    });
    return taken;
  };
  const regroup = (tx: Tx, id: string, groups: readonly string[], person?: string) =>
    putPrincipal(tx, { id, displayName: id, roles: ["reviewer"], groups, ...(person === undefined ? {} : { person }) });
  const rewrite = async (tx: Tx, change: Partial<StandingTerms>, digest: boolean) => {
    const terms = { ...grant.terms, ...change };
    await tx.query("alter table standing_grant disable trigger ends_once");
    await tx.query("update standing_grant set terms = $2, terms_digest = $3 where id = $1", [
      grant.id,
      terms,
      digest ? termsDigest(terms) : grant.termsDigest,
    ]);
  };
  const resign = async (tx: Tx, columns: string) => {
    await tx.query("alter table standing_approval disable trigger append_only");
    await tx.query(`update standing_approval set ${columns} where grant_id = $1 and reviewer = 'rick'`, [grant.id]);
  };
  expect(await holdsAfter(async () => undefined)).toBe(true);
  const changes: readonly (readonly [string, (tx: Tx) => Promise<unknown>, Partial<StandingClaim>?])[] = [
    ["an approver left the group", (tx) => regroup(tx, "rick", ["legal"])],
    ["two turn out to be one person", (tx) => regroup(tx, "rick", ["treasury"], "rita")],
    ["an approver is who asked for the run", (tx) => regroup(tx, "rick", ["treasury"], "operator")],
    ["an approver is for whom it acts", async () => undefined, { subject: ["rick"] }],
    [
      "the person behind an approver is for whom it acts",
      (tx) => regroup(tx, "rick", ["treasury"], "richard"),
      { subject: ["richard"] },
    ],
    ["a key was revoked", (tx) => revokeReviewerKey(tx, rick.keyId, new Date())],
    ["the proposer's key was revoked", (tx) => revokeReviewerKey(tx, rita.keyId, new Date())],
    ["it was revoked", (tx) => revokeStanding(tx, grant.id, { id: "rita", roles: ["reviewer"] }, () => new Date())],
    ["its terms were changed", (tx) => rewrite(tx, { uses: 100 }, false)],
    ["its terms and their digest were changed", (tx) => rewrite(tx, { uses: 100 }, true)],
    ["an approval is said to be another's", (tx) => resign(tx, "reviewer = 'rosa'")],
    ["an approval has another's key", (tx) => resign(tx, `key_id = '${rosa.keyId}'`)],
    ["an approval came too late", (tx) => resign(tx, "at = at + interval '2 days'")],
    ["an approval came before the proposal", (tx) => resign(tx, "at = at - interval '2 days'")],
    ["an approval counted for no group then", (tx) => resign(tx, "groups = '{legal}'")],
    ["another team", async () => undefined, { run: { id: run, team: "others", agent: "tester" } }],
    ["another agent", async () => undefined, { run: { id: run, team: "testers", agent: "other" } }],
    ["another tool", async () => undefined, { tool: "shout" }],
    [
      "a later version of the tool",
      async () => undefined,
      { toolDigest: toolDigest({ ...payTool(world), timeoutMs: 1 }) },
    ],
    ["another target", async () => undefined, { args: { to: "Ada", amount_cents: 1 } }],
    ["more than is left", async () => undefined, { args: { to: "ada", amount_cents: 100_001 } }],
    ["other requirements", async () => undefined, { requirements: [{ ...onePerson, quorum: 2 }] }],
  ];
  for (const [name, change, claim] of changes) expect([name, await holdsAfter(change, claim)]).toEqual([name, false]);
  expect(await holdsAfter(async () => undefined, { args: { to: "ada", amount_cents: 100_000 } })).toBe(true);
}, 60_000);

test("a denial and a freeze stop what was granted ahead as they stop anything", async () => {
  const world = await createWorld({ turns: once });
  await world.work();
  const grant = await grantAhead(world, { uses: 9 }, ...(await two(world)));
  await world.activate(openPolicy.replace("amount_cents > 50000", "amount_cents > 5500"));
  expect(await start(world)).toEqual(["denied"]);
  await world.activate(openPolicy);
  const target = { team: "testers", tool: "pay" };
  await inTransaction(world.pool, (tx) => freeze(tx, { ...target, reason: "r", by: "operator", now: new Date() }));
  const run = await world.start();
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  expect((await stepsOf(world.pool, run)).filter(({ name }) => name === "pay")).toEqual([]);
  expect(await standingById(world.pool, grant.id)).toMatchObject({ used: { n: 0 } });
  expect(await paid(world)).toBe(0);
}, 60_000);

test("it is for the call as obligations make it, and never for what a reviewer has changed", async () => {
  const world = await createWorld({ turns: [{ calls: [pay("eve", 6_000)] }, { text: "done" }] });
  await world.work();
  const [rita, rick] = await two(world);
  const eve = { targets: [{ argument: "to", is: "eve" }] } as const;
  const grant = await grantAhead(world, { ...eve, sum: { argument: "amount_cents", max: 9_000 } }, rita, rick);
  const obliges = (what: string) =>
    `${openPolicy}\n@id("less") @decision("${what}") @reason("r") forbid(principal, action == Action::"tool/pay", resource) when { context.input.amount_cents > 5500 };`;
  // What is lowered counts as what it is lowered to.
  await world.activate(obliges('cap") @argument("amount_cents") @max("5400'));
  expect(await start(world)).toEqual(["done"]);
  expect(await standingById(world.pool, grant.id)).toMatchObject({ used: { n: 1, total: 5_400 } });
  // What is made unreadable goes elsewhere.
  await world.activate(obliges('redact") @argument("to'));
  expect(await start(world)).toEqual(["waiting"]);
  await world.activate(openPolicy);
  // 3,600 are left: people are asked, and one of them makes less of it, which would fit.
  const run = await world.start();
  const request = await world.request(run);
  const rosa = await world.reviewer("rosa");
  await grantAhead(world, { ...eve, uses: 9 }, rita, rick);
  const action = world.actionOf(request, { to: "eve", amount_cents: 6_000 });
  await rosa.edit(request, action, { to: "eve", amount_cents: 5_600 });
  await world.wake(run, request);
  expect(await world.request(run)).toMatchObject({ editors: ["rosa"] });
  expect(await paid(world)).toBe(1);
}, 60_000);

test("it is for its time, to the millisecond", async () => {
  const world = await createWorld({ turns: once });
  const [rita, rick] = await two(world);
  const [from, to] = [new Date(Date.now() + 1_000), new Date(Date.now() + dayMs)];
  const grant = await grantAhead(world, { from: from.toISOString(), until: to.toISOString() }, rita, rick);
  const run = await world.register();
  const used = (now: Date) =>
    inTransaction(world.pool, async (tx) => {
      const claim = claimOf(world, run, { now });
      const found = await standingMatches(tx, claim);
      const taken = await takeStanding(tx, [grant], claim);
      expect(found.length > 0).toBe(taken !== undefined);
      return taken !== undefined;
    });
  expect(await used(from)).toBe(true);
  expect(await used(new Date(from.getTime() - 1))).toBe(false);
  expect(await used(new Date(to.getTime() - 1))).toBe(true);
  expect(await used(to)).toBe(false);
}, 60_000);

test("a proposal that nobody approves in time is none, and terms that cannot be are refused", async () => {
  const world = await createWorld({ turns: once });
  const [rita, rick] = await two(world);
  const { id, expiresAt } = await propose(world, payTerms(world), rita);
  await expect(approve(world, id, rick, expiresAt)).rejects.toMatchObject({ code: "standing_closed" });
  expect(await approve(world, id, rick, new Date(expiresAt.getTime() - 1))).toMatchObject({
    grant: { state: "active" },
  });
  await expect(
    propose(world, payTerms(world, { until: new Date(Date.now() + 91 * dayMs).toISOString() }), rita),
  ).rejects.toMatchObject({ code: "standing_invalid" });
}, 60_000);

test("whatever uses come, at once or one by one, the record never exceeds the grant", async () => {
  const world = await createWorld({ turns: once });
  const [rita, rick] = await two(world);
  const run = await world.register();
  let seq = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 100 }),
      fc.array(fc.integer({ min: 0, max: 60 }), { minLength: 1, maxLength: 12 }),
      async (uses, max, amounts) => {
        const grant = await grantAhead(world, { uses, sum: { argument: "amount_cents", max } }, rita, rick);
        const taken = await Promise.all(
          amounts.map((amount_cents) => {
            const step = seq++;
            return inTransaction(world.pool, async (tx) => {
              const claim = claimOf(world, run, { args: { to: "ada", amount_cents } });
              const use = await takeStanding(tx, [grant], claim);
              if (use === undefined) return undefined;
              await tx.query(
                `insert into step (run, seq, kind, name, action, arguments, state, decided_at) values ($1, $2, 'tool', 'pay', $3, $3, 'intended', now())`,
                [run, step, "0".repeat(64)],
              );
              await writeStandingUse(tx, use, { run, seq: step }, claim.now);
              return amount_cents;
            });
          }),
        );
        const made = taken.filter((amount) => amount !== undefined);
        const { used } = await standingById(world.pool, grant.id);
        expect(used).toEqual({ n: made.length, total: made.reduce((sum, one) => sum + one, 0) });
        expect(used.n).toBeLessThanOrEqual(uses);
        expect(used.total).toBeLessThanOrEqual(max);
        // What was refused had no room in the end.
        for (const [place, amount] of amounts.entries())
          expect(taken[place] !== undefined || used.n === uses || used.total + amount > max).toBe(true);
        await inTransaction(world.pool, (tx) =>
          revokeStanding(tx, grant.id, admin, () => new Date()).catch(() => undefined),
        );
      },
    ),
    { numRuns: 15 },
  );
}, 60_000);

test("a passkey approves ahead too: signed as such a statement, by a key that is its owner's, and no longer than that counts", async () => {
  const world = await createWorld({ turns: once });
  await world.work();
  const [rita, rick] = await two(world);
  const made = softwarePasskey();
  const { publicKey, passkey } = made;
  await addReviewerKey(world.pool, { principal: "rick", publicKey, passkey, addedBy: "admin", now: new Date() });
  const { id } = await propose(world, payTerms(world, { uses: 99 }), rita);
  const with_ = (type: string, by = rick) =>
    approve(world, id, by, new Date(), ({ statement }) => made.sign(statement, 1, type));
  // What it signs as a decision on a request is none on this.
  await expect(with_("countersign/approval/v1")).rejects.toMatchObject({ code: "signature_invalid" });
  await expect(with_(standingKind.type, await world.reviewer("rosa"))).rejects.toMatchObject({ code: "key_unknown" });
  expect(await with_(standingKind.type)).toMatchObject({ grant: { state: "active" } });
  expect(await start(world)).toEqual(["done"]);
  await world.pool.query("alter table standing_approval disable trigger user");
  const forged = made.sign(signGrant(rick, await standingById(world.pool, id)).statement, 1, "countersign/approval/v1");
  await world.pool.query(
    "update standing_approval set assertion = jsonb_set(assertion, '{clientDataJSON}', $2) where grant_id = $1 and reviewer = 'rick'",
    [id, JSON.stringify(forged.clientDataJSON)],
  );
  expect(await start(world)).toEqual(["waiting"]);
}, 60_000);

test("a delegate approves ahead for somebody, as one with them, within all limits, and no longer than the delegation", async () => {
  const world = await createWorld({ turns: once });
  await world.work();
  const [rita, rick] = await two(world);
  const dora = await world.reviewer("dora", ["legal"]);
  const now = Date.now();
  const lent = (change: object = {}, delegator = "rick") =>
    delegate(
      world.pool,
      {
        delegator,
        delegate: "dora",
        team: null,
        tool: null,
        maxAmount: null,
        reason: "leave",
        from: new Date(now - dayMs),
        until: new Date(now + 20 * dayMs),
        ...change,
      },
      delegator,
      new Date(now - dayMs),
    );
  const { id } = await propose(world, payTerms(world, { uses: 99 }), rita);
  const tooNarrow = [
    { tool: "touch" },
    { team: "others" },
    // No policy names an amount that could be held against it.
    { maxAmount: 1_000_000 },
    { until: new Date(now + 9 * dayMs) },
    { from: new Date(now + dayMs) },
  ];
  for (const change of tooNarrow) await lent(change);
  await expect(approve(world, id, dora)).rejects.toMatchObject({ code: "not_in_group" });
  // For who proposed it: one person's, twice.
  await lent({}, "rita");
  await expect(approve(world, id, dora)).rejects.toMatchObject({ code: "decided_before" });
  const held = await lent({ team: "testers", tool: "pay" });
  expect(await approve(world, id, dora)).toMatchObject({
    grant: { state: "active" },
    capacity: { groups: ["treasury"], mandate: { id: held.id, delegator: "rick" } },
  });
  expect(await start(world)).toEqual(["done"]);
  // Whoever may not approve the call, may not have it approved by a delegate.
  expect(await start(world, { subject: { id: "rick" } })).toEqual(["waiting"]);
  const person = { id: "rick", displayName: "rick", roles: ["reviewer"] as const };
  await putPrincipal(world.pool, { ...person, groups: ["legal"] });
  expect(await start(world)).toEqual(["waiting"]);
  await putPrincipal(world.pool, { ...person, groups: ["treasury"] });
  expect(await start(world)).toEqual(["done"]);
  await undelegate(world.pool, held.id, "rick", new Date());
  expect(await start(world)).toEqual(["waiting"]);
  // Who delegated it approves another one themselves, and counts once.
  const other = await propose(world, payTerms(world), rick);
  await lent();
  await expect(approve(world, other.id, dora)).resolves.toMatchObject({ grant: { state: "active" } });
  const { rows } = await world.pool.query<{ person: string }>(
    "select for_person as person from standing_approval where grant_id = $1 and reviewer = 'dora'",
    [other.id],
  );
  expect(rows).toEqual([{ person: "rita" }]);
}, 60_000);
