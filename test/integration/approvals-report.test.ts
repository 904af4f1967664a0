import { generateKeyPairSync } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, onTestFinished, test } from "vitest";

import { addReviewerKey, publicKeyOf } from "../../src/approvals/index.ts";
import { createClient } from "../../src/api/index.ts";
import { hashToken, newToken, putPrincipal } from "../../src/registry/index.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { checkPolicySet, loadPolicyDirectory } from "../../src/policy/index.ts";
import { digestOf, putPayloads } from "../../src/store/index.ts";
import { noticeWorld, tools } from "../support/notice-world.ts";
import { testKeys } from "../support/test-server.ts";

const policy = `
@id("all") permit (principal, action, resource);

@id("refund/ask") @decision("require_approval") @group("treasury") @reason("a refund above $50 needs a person")
forbid (principal, action == Action::"tool/refund", resource)
when { context.input.amount_cents > 5000 };

@id("refund/odd") @decision("require_approval") @group("treasury")
forbid (principal, action == Action::"tool/refund", resource)
when { context.input.reason == "odd" };
`;

type World = Awaited<ReturnType<typeof noticeWorld>>;

/** A request about a refund whose arguments are on record as a run leaves them, decided after `took` ms by each of the reviewers. */
async function asked(
  world: World,
  of: {
    readonly args: JsonObject;
    readonly policies?: readonly string[];
    readonly state?: "approved" | "denied" | "expired";
    readonly took?: number;
    readonly by?: readonly string[];
    readonly days?: number;
  },
): Promise<void> {
  const { args, policies = ["refund/ask"], state = "approved", took = 60_000, by = ["rita"], days = 1 } = of;
  const { pool } = world;
  const run = await world.run();
  const openedAt = new Date(world.now().getTime() - days * 86_400_000);
  const answer = {
    content: "",
    toolCalls: [{ id: "1", name: "refund", arguments: JSON.stringify(args) }],
    finishReason: "tool_calls",
  };
  const [result] = await putPayloads(pool, testKeys, [answer]);
  const step = `insert into step (run, seq, kind, name, action, arguments, asked_by, call_index, state, result, decided_at, finished_at)
    values ($1, $2, $3, $4, 'a', $5, $6, $7, $8, $9, now(), $10)`;
  await pool.query(step, [run, 0, "model", "scripted/none", "x", null, null, "done", result, openedAt]);
  await pool.query(step, [run, 1, "tool", "refund", digestOf(args), 0, 0, "waiting", null, null]);
  const expiresAt = new Date(openedAt.getTime() + 3_600_000);
  const requirements = policies.map((one) => ({ policy: one, group: "treasury", quorum: 1, expiresMs: 3_600_000 }));
  const request = await world.ask({ run, seq: 1, openedAt, expiresAt, requirements });
  const at = new Date(openedAt.getTime() + took);
  for (const reviewer of state === "expired" ? [] : by) {
    await pool.query(
      `insert into approval_decision (request, reviewer, decision, statement, key_id, signature, at)
       select $1, $2, $3, '', key_id, '', $4 from reviewer_key where principal = $2`,
      [request, reviewer, state === "denied" ? "deny" : "approve", at],
    );
  }
  await pool.query("update approval_request set state = $2, decided_at = $3 where id = $1", [
    request,
    state,
    state === "expired" ? null : at,
  ]);
}

async function reviewers(world: World): Promise<void> {
  for (const id of ["rita", "rolf"]) {
    await putPrincipal(world.pool, { id, displayName: id, roles: ["reviewer"], groups: ["treasury"] });
    const publicKey = publicKeyOf(
      generateKeyPairSync("ed25519").privateKey.export({ format: "pem", type: "pkcs8" }).toString(),
    );
    await addReviewerKey(world.pool, { principal: id, publicKey, addedBy: "admin", now: world.now() });
  }
}

test("what asking cost, by policy and by reviewer; what is always approved comes with a narrower policy that checks", async () => {
  const world = await noticeWorld({ policy });
  await reviewers(world);
  for (let n = 0; n < 8; n += 1) {
    const args = { order_id: `A-${n}`, amount_cents: 6_000 + n * 100, reason: n % 2 === 0 ? "broken" : "late" };
    await asked(world, { args, took: n < 2 ? 1_000 : n * 10_000, by: n === 7 ? ["rita", "rolf"] : ["rita"] });
  }
  await asked(world, {
    args: { order_id: "B", amount_cents: 9_000, reason: "odd" },
    policies: ["refund/odd"],
    state: "denied",
  });
  await asked(world, {
    args: { order_id: "B", amount_cents: 9_000, reason: "odd" },
    policies: ["refund/odd"],
    state: "expired",
  });
  await asked(world, { args: { order_id: "C", amount_cents: 1, reason: "old" }, days: 40 });

  const report = await world.client.reportApprovals({ query: { team: "shop", samples: 5 } });
  const none = { expired: 0, cancelled: 0, pending: 0 };
  expect(report.policies).toEqual([
    {
      policy: "refund/ask",
      asked: 8,
      approved: 8,
      denied: 0,
      ...none,
      medianMs: 35_000,
      p90Ms: 63_000,
      decisions: 9,
      shown: 0,
      quick: 2,
    },
    {
      policy: "refund/odd",
      asked: 2,
      approved: 0,
      denied: 1,
      ...none,
      expired: 1,
      medianMs: 60_000,
      p90Ms: 60_000,
      decisions: 1,
      shown: 0,
      quick: 0,
    },
  ]);
  expect(report.reviewers).toEqual([
    { reviewer: "rita", decisions: 9, approved: 8, shown: 0, medianMs: 40_000, quick: 2 },
    { reviewer: "rolf", decisions: 1, approved: 1, shown: 0, medianMs: 70_000, quick: 0 },
  ]);
  expect(report.candidates).toMatchObject([{ policy: "refund/ask", tool: "refund", approved: 8 }]);
  const [{ narrowing }] = report.candidates as [(typeof report.candidates)[number]];
  if (narrowing.status === "none") throw new Error(narrowing.reason);
  expect(narrowing.open).toEqual(["order_id"]);
  expect(narrowing.text).toContain(`unless {
  principal == Agent::"shop/support" &&
  action == Action::"tool/refund" &&
  context.input.amount_cents >= 6000 && context.input.amount_cents <= 6700 &&
  ["broken", "late"].contains(context.input.reason)
};`);

  // As a team would take it over: into a file of its pack, and through the check.
  const pack = await mkdtemp(join(tmpdir(), "countersign-pack-"));
  onTestFinished(() => rm(pack, { recursive: true, force: true }));
  await writeFile(
    join(pack, "refunds.cedar"),
    `@id("all") permit (principal, action, resource);\n\n${narrowing.text}\n`,
  );
  const { document } = await loadPolicyDirectory(pack);
  expect(checkPolicySet(document, tools).filter(({ severity }) => severity === "error")).toEqual([]);
  // Nothing was put in force by asking.
  expect((await world.client.showPolicies({ params: { team: "shop" } })).policySet).toBe(world.policySet);

  const paged = await world.client.reportApprovals({ query: { team: "shop", limit: 1, cursor: "1" } });
  expect(paged).toMatchObject({ policies: [{ policy: "refund/odd" }], next: null, reviewers: [], candidates: [] });
  const whole = await world.client.reportApprovals({
    query: { team: "shop", since: new Date(0).toISOString(), limit: 1 },
  });
  expect(whole).toMatchObject({ policies: [{ asked: 9 }], next: "1" });
});

test("the time to decide counts from when a reviewer was first shown the request; a decision counts for the policies whose groups it is of", async () => {
  const world = await noticeWorld({ policy });
  await reviewers(world);
  const token = newToken();
  await putPrincipal(
    world.pool,
    { id: "rita", displayName: "rita", roles: ["reviewer"], groups: ["treasury"] },
    hashToken(token),
  );
  const rita = createClient({ baseUrl: world.url, token });
  const openedAt = world.now();
  const late = { group: "legal", escalate: { afterMs: 1_800_000, to: ["treasury"] } };
  const request = await world.ask({
    openedAt,
    expiresAt: new Date(openedAt.getTime() + 86_400_000),
    requirements: [
      { policy: "either", group: "legal", orGroups: ["treasury"], quorum: 1, expiresMs: 86_400_000 },
      { policy: "legal", group: "legal", quorum: 1, expiresMs: 86_400_000 },
      { policy: "passkey", group: "treasury", signed: "passkey", quorum: 1, expiresMs: 86_400_000 },
      { policy: "escalated", ...late, quorum: 1, expiresMs: 86_400_000 },
      {
        policy: "later",
        ...late,
        escalate: { ...late.escalate, afterMs: 7_200_000 },
        quorum: 1,
        expiresMs: 86_400_000,
      },
    ],
  });
  world.forward(3_600_000);
  // An operator's look is nobody's, and the second look of a reviewer changes nothing.
  await world.client.showApproval({ params: { approval: request } });
  await rita.showApproval({ params: { approval: request } });
  world.forward(60_000);
  await rita.showApproval({ params: { approval: request } });
  const { rows } = await world.pool.query<{ reviewer: string; at: Date }>("select reviewer, at from approval_viewing");
  expect(rows.map(({ reviewer }) => reviewer)).toEqual(["rita"]);
  const seen = rows[0]?.at.getTime() ?? 0;
  expect(seen - openedAt.getTime()).toBeLessThan(3_660_000);
  const sign = async (reviewer: string, at: number, groups: readonly string[]) =>
    world.pool.query(
      `insert into approval_decision (request, reviewer, decision, statement, key_id, signature, at, groups)
       select $1, $2, 'approve', '', key_id, '', $3, $4 from reviewer_key where principal = $2`,
      [request, reviewer, new Date(at), groups],
    );
  await sign("rita", seen + 2_000, ["treasury"]);
  await sign("rolf", openedAt.getTime() + 1_000, ["legal"]);
  await world.end(request, "approved");
  // After the end nobody's look is counted.
  const report = await world.client.reportApprovals({ query: { team: "shop" } });
  const counted = Object.fromEntries(
    report.policies.map(({ policy: one, decisions, shown, quick }) => [one, [decisions, shown, quick]]),
  );
  expect(counted).toEqual({
    either: [2, 1, 2],
    legal: [1, 0, 1],
    passkey: [0, 0, 0],
    escalated: [2, 1, 2],
    later: [1, 0, 1],
  });
  expect(report.reviewers).toMatchObject([
    { reviewer: "rita", shown: 1, medianMs: 2_000, quick: 1 },
    { reviewer: "rolf", shown: 0, medianMs: 1_000, quick: 1 },
  ]);
});

test("a report whose proposals hold arguments is an entry of the ledger where an auditor reads it", async () => {
  const world = await noticeWorld({ policy });
  await reviewers(world);
  const reads = async () =>
    (
      await world.pool.query<{ event: string }>(
        "select event::text as event from ledger_outbox where event::text like '%audit.read%'",
      )
    ).rows;
  await world.client.reportApprovals({ query: { team: "shop", samples: 5 } });
  expect(await reads()).toEqual([]);
  for (let n = 0; n < 5; n += 1) await asked(world, { args: { order_id: "A", amount_cents: 6_000, reason: "broken" } });
  await world.client.reportApprovals({ query: { team: "shop", samples: 5 } });
  const [read, ...more] = await reads();
  expect(more).toEqual([]);
  expect(JSON.parse(read?.event ?? "")).toMatchObject({
    kind: "audit.read",
    facts: { by: "operator", what: "report" },
  });
});

test("arguments that cannot be read, or are not those that were approved, end in no proposal", async () => {
  const world = await noticeWorld({ policy });
  await reviewers(world);
  for (let n = 0; n < 5; n += 1) await asked(world, { args: { order_id: "A", amount_cents: 6_000, reason: "broken" } });
  const query = { team: "shop", samples: 5 };
  const before = await world.client.reportApprovals({ query });
  expect(before.candidates[0]).toMatchObject({ narrowing: { status: "proposed", open: [] } });
  await world.pool.query(
    "update step set arguments = 'other' where kind = 'tool' and ctid = (select min(ctid) from step where kind = 'tool')",
  );
  const after = await world.client.reportApprovals({ query });
  expect(after.candidates[0]).toMatchObject({
    narrowing: { status: "none", reason: expect.stringContaining("cannot be read") },
  });
});
