import { readFile } from "node:fs/promises";
import fc from "fast-check";
import { expect, test } from "vitest";
import { grantById, revokeGrant, revokeReviewerKey } from "../../src/approvals/index.ts";
import type { GrantRow } from "../../src/approvals/index.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { amountCovered } from "../../src/core/standing-grant.ts";
import type { StandingGrant, Target } from "../../src/core/standing-grant.ts";
import { putPrincipal } from "../../src/registry/index.ts";
import { createWorld, openPolicy, payPolicyText } from "../support/world.ts";
import type { World } from "../support/world.ts";

const turns = [{ calls: [{ tool: "pay", arguments: { to: "ada", amount_cents: 6_000 } }] }, { text: "done" }];

async function paid(world: World): Promise<number> {
  const text = await readFile(world.effects, "utf8").catch(() => "");
  return text.split("\n").filter((line) => line.startsWith("pay ")).length;
}

/** A world with a request to propose from, whose run waits for ever, and people. */
async function prepared() {
  const world = await createWorld({ turns });
  await world.work();
  const [proposer, rosa] = [await world.reviewer("proposer"), await world.reviewer("rosa")];
  const request = await world.request(await world.start());
  return { world, proposer, rosa, request };
}

/** Whether a new run pays without asking anybody. */
async function paysAtOnce(world: World): Promise<boolean> {
  const run = await world.start();
  const asked = world.request(run).then(() => false);
  return Promise.race([asked, world.closed(run).then(() => true)]);
}

test("parallel uses never pass the bounds, and each is a decision that names the grant", async () => {
  const { world, rosa, request } = await prepared();
  const grants = [
    await world.propose(request, payPolicyText, { maxUses: 3 }),
    await world.propose(request, payPolicyText, { maxUses: 50, sum: { argument: "amount_cents", max: 12_500 } }),
  ];
  for (const grant of grants) await rosa.decideGrant(grant);
  const runs = await Promise.all(Array.from({ length: 9 }, () => world.start()));
  const outcomes = await Promise.all(
    runs.map((run) => Promise.race([world.request(run).then(() => "asked"), world.closed(run).then(() => "paid")])),
  );
  // Three by number, and two by sum: a third would be 18,000 of 12,500.
  expect(outcomes.filter((outcome) => outcome === "paid")).toHaveLength(5);
  expect(await paid(world)).toBe(5);
  const rows = await Promise.all(grants.map(({ id }) => grantById(world.pool, id)));
  expect(rows).toMatchObject([{ uses: 3 }, { uses: 2, sum: 12_000 }]);
  const { rows: decided } = await world.pool.query(
    "select outcome, standing_grant is not null as granted, count(*) as n from decision where seq = 1 group by 1, 2 order by 1",
  );
  expect(decided).toEqual([
    { outcome: "allow", granted: true, n: 5 },
    { outcome: "require_approval", granted: false, n: 5 },
  ]);
  const { rows: used } = await world.pool.query(
    "select count(*) as n from ledger_outbox where event::jsonb ->> 'kind' = 'grant.used'",
  );
  expect(used).toEqual([{ n: 5 }]);
  // Whatever code counts, the database does not.
  await expect(
    world.pool.query("update standing_grant set uses = uses + 1 where id = $1", [grants[0]?.id]),
  ).rejects.toMatchObject({ code: "23514" });
}, 60_000);

test("a grant that was not given by enough of the right people is none", async () => {
  const { world, proposer, rosa, request } = await prepared();
  const grant = await world.propose(request, payPolicyText);
  await expect(proposer.decideGrant(grant)).rejects.toMatchObject({ code: "self_approval" });
  const outsider = await world.reviewer("outsider", ["others"]);
  await expect(outsider.decideGrant(grant)).rejects.toMatchObject({ code: "not_in_group" });
  await expect(rosa.decideGrant({ ...grant, digest: "f".repeat(64) as never })).rejects.toMatchObject({
    code: "statement_mismatch",
  });
  expect(await paysAtOnce(world)).toBe(false);
  // Past the code: its state alone gives nothing.
  await world.pool.query("update standing_grant set state = 'active' where id = $1", [grant.id]);
  expect(await paysAtOnce(world)).toBe(false);
  // Who asked for a run does not approve its calls, in advance neither.
  const own = await world.propose(request, payPolicyText);
  await (await world.reviewer("operator")).decideGrant(own);
  expect(await grantById(world.pool, own.id)).toMatchObject({ state: "active" });
  expect(await paysAtOnce(world)).toBe(false);
  expect(await paid(world)).toBe(0);
}, 60_000);

test("a revocation, a revoked key, a lost group, another policy and another target end it at once", async () => {
  const { world, rosa, request } = await prepared();
  const active = async (bounds: Partial<StandingGrant> = {}): Promise<GrantRow> => {
    const grant = await world.propose(request, payPolicyText, bounds);
    await rosa.decideGrant(grant);
    return grant;
  };
  const first = await active();
  expect(await paysAtOnce(world)).toBe(true);
  expect(await revokeGrant(world.pool, first.id, "rosa", "enough", new Date())).toBe(true);
  expect(await paysAtOnce(world)).toBe(false);
  for (const bounds of [
    { where: { to: { equals: "bob" } } },
    { toolDigest: "0".repeat(64) as never },
    { agent: "other" },
    { sum: { argument: "amount_cents", max: 5_999 } },
  ])
    await active(bounds);
  expect(await paysAtOnce(world)).toBe(false);

  await active({ maxUses: 50 });
  expect(await paysAtOnce(world)).toBe(true);
  await putPrincipal(world.pool, { id: "rosa", displayName: "rosa", roles: ["reviewer"], groups: [] });
  expect(await paysAtOnce(world)).toBe(false);
  await putPrincipal(world.pool, { id: "rosa", displayName: "rosa", roles: ["reviewer"], groups: ["treasury"] });
  expect(await paysAtOnce(world)).toBe(true);
  // A denial of the policy's stays one, and a changed policy asks anew.
  const strict = `${openPolicy}\n@id("never-ada") forbid(principal, action == Action::"tool/pay", resource) when { context.input.to == "ada" };`;
  await world.activate(strict);
  expect(await paysAtOnce(world)).toBe(true);
  expect(await paid(world)).toBe(3);
  await world.activate(openPolicy.replace("> 5000", "> 4000"));
  expect(await paysAtOnce(world)).toBe(false);
  await world.activate(openPolicy);
  await revokeReviewerKey(world.pool, rosa.keyId, new Date());
  expect(await paysAtOnce(world)).toBe(false);
  expect(await paid(world)).toBe(3);
}, 90_000);

const grantOf = (where: Record<string, Target>, sum?: StandingGrant["sum"]): StandingGrant =>
  ({ where, ...(sum === undefined ? {} : { sum }) }) as StandingGrant;

test.each<readonly [string, Record<string, Target>, JsonObject, number | undefined]>([
  ["exactly this", { to: { equals: "ada" } }, { to: "ada", note: "x" }, 0],
  ["nearly this", { to: { equals: "ada" } }, { to: "ada " }, undefined],
  ["not there", { to: { equals: "ada" } }, {}, undefined],
  ["of another type", { n: { equals: 1 } }, { n: "1" }, undefined],
  ["no target at all", {}, { to: "ada" }, undefined],
  ["an inherited name", { toString: { prefix: "func" } }, {}, undefined],
  ["at the domain", { to: { domain: "example.com" } }, { to: "Ada@Example.com" }, 0],
  ["at a part of it", { to: { domain: "example.com" } }, { to: "ada@example.com.evil.net" }, undefined],
  ["below it", { to: { domain: "example.com" } }, { to: "ada@mail.example.com" }, undefined],
  ["two addresses", { to: { domain: "example.com" } }, { to: "eve@evil.net,ada@example.com" }, undefined],
  [
    "a name with an address in it",
    { to: { domain: "example.com" } },
    { to: "<eve@evil.net> ada@example.com" },
    undefined,
  ],
  ["a look-alike", { to: { domain: "example.com" } }, { to: "ada@exаmple.com" }, undefined],
  ["all of a list", { to: { domain: "example.com" } }, { to: ["a@example.com", "b@example.com"] }, 0],
  ["one of a list", { to: { domain: "example.com" } }, { to: ["a@example.com", "b@evil.net"] }, undefined],
  ["an empty list", { to: { domain: "example.com" } }, { to: [] }, undefined],
  ["a beginning", { url: { prefix: "https://a.example/" } }, { url: "https://a.example/x" }, 0],
  ["another beginning", { url: { prefix: "https://a.example/" } }, { url: "https://a.example.evil.net/" }, undefined],
])("a grant for %s", (_, where, args, expected) => expect(amountCovered(grantOf(where), args)).toBe(expected));

test("what counts towards a sum is a whole number that is not negative, or the grant is not for the call", () => {
  const grant = grantOf({ to: { equals: "ada" } }, { argument: "n", max: 10 });
  fc.assert(
    fc.property(fc.oneof(fc.integer(), fc.double(), fc.string(), fc.constant(null)), (n) => {
      const counted = typeof n === "number" && Number.isSafeInteger(n) && n >= 0 ? n : undefined;
      expect(amountCovered(grant, { to: "ada", n })).toBe(counted);
    }),
  );
});
