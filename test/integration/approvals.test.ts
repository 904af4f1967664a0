import { generateKeyPairSync, randomBytes } from "node:crypto";
import { ulid } from "ulid";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  addReviewerKey,
  cancelRequestsOf,
  checkGrant,
  consumeGrant,
  decideRequest,
  decisionsOf,
  expireDue,
  expireRequest,
  listRequests,
  markSignalled,
  openRequest,
  publicKeyOf,
  requestById,
  revokeReviewerKey,
  signStatement,
  statementText,
  undelivered,
} from "../../src/approvals/index.ts";
import type { ApprovalRequest, ApprovalStatement, GrantCheck, SignedStatement } from "../../src/approvals/index.ts";
import type { ApprovalRequirement } from "../../src/core/decision.ts";
import { codeOf } from "../../src/core/errors.ts";
import type { ApprovalId, Digest, RunId } from "../../src/core/ids.ts";
import { activatePolicySet, putPrincipal, registerRelease, releaseOfDocument } from "../../src/registry/index.ts";
import { createRun, digestOf, inTransaction, payloadKeysOf, putPayloads } from "../../src/store/index.ts";
import { freshDatabase } from "../support/database.ts";
import type { TestDatabase } from "../support/database.ts";

const keys = payloadKeysOf(Buffer.alloc(32, 1));
const opened = new Date("2026-01-02T03:04:05.000Z");
const hour = 3_600_000;
const at = (ms: number): Date => new Date(opened.getTime() + ms);
const expiry = at(hour);
const refusal = "23001";

let database: TestDatabase;
let release: Digest;
let policySet: Digest;
const privateKeys = new Map<string, string>();
const keyIds = new Map<string, Digest>();

beforeAll(async () => {
  database = await freshDatabase({ max: 10 });
  const { pool } = database;
  const made = releaseOfDocument({
    v: 1,
    team: "shop",
    agent: "support",
    useCase: "u",
    riskTier: "limited",
    model: { name: "m", maxOutputTokens: 1 },
    prompt: "p",
    tools: [],
    limits: { maxSteps: 1, maxCostMicroUsd: 1, maxWallClockMs: 1_000 },
  });
  release = made.digest;
  await inTransaction(pool, async (tx) => {
    await registerRelease(tx, made, "olga", opened);
    policySet = (await activatePolicySet(tx, "shop", { v: 1, policies: [] }, "olga", opened)).digest;
  });
  for (const person of ["olga", "rita", "rick", "rosa", "outsider"]) {
    await enrol(person, person === "outsider" ? ["others"] : ["reviewers", ...(person === "rosa" ? ["treasury"] : [])]);
  }
});

afterAll(() => database.close());

async function enrol(id: string, groups: readonly string[]): Promise<void> {
  const privateKey = generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }) as string;
  await putPrincipal(database.pool, { id, displayName: id, roles: ["reviewer"], groups });
  const key = { principal: id, publicKey: publicKeyOf(privateKey), addedBy: "admin", now: at(-hour) };
  const { keyId } = await addReviewerKey(database.pool, key);
  privateKeys.set(id, privateKey);
  keyIds.set(id, keyId);
}

const need = (quorum: number, group = "reviewers"): ApprovalRequirement => ({
  policy: `${group}-${quorum}`,
  group,
  quorum,
  expiresMs: hour,
});

/** A request on step 0 of a run of its own, that olga asked for. */
async function ask(...requirements: readonly ApprovalRequirement[]): Promise<ApprovalRequest> {
  const run = `run_${ulid(opened.getTime())}` as RunId;
  return inTransaction(database.pool, async (tx) => {
    const [input, rendered] = (await putPayloads(tx, keys, [{ prompt: run }, `tool \`refund\` of ${run}`])) as [
      Digest,
      Digest,
    ];
    const limits = { maxSteps: 1, maxCostMicroUsd: 1, maxWallClockMs: 1_000 };
    await createRun(tx, {
      id: run,
      team: "shop",
      agent: "support",
      release,
      input,
      requestedBy: "olga",
      limits,
      now: opened,
    });
    const action = digestOf({ run });
    const id = await openRequest(tx, {
      run,
      seq: 0,
      team: "shop",
      action,
      name: "refund",
      rendered,
      requirements,
      policySet,
      openedAt: opened,
      expiresAt: expiry,
    });
    return (await requestById(tx, id)) as ApprovalRequest;
  });
}

function statementOf(request: ApprovalRequest, reviewer: string, change: Partial<ApprovalStatement> = {}): string {
  const { id, team, run, seq, action, rendered } = request;
  return statementText({
    v: 1,
    type: "countersign/approval/v1",
    request: id,
    team,
    run,
    seq,
    action,
    rendered,
    policySet: request.policySet,
    decision: "approve",
    reviewer,
    reason: "",
    nonce: randomBytes(18).toString("base64url"),
    issuedAt: at(1).toISOString(),
    expiresAt: request.expiresAt.toISOString(),
    ...change,
  });
}

function signed(
  request: ApprovalRequest,
  reviewer: string,
  change: Partial<ApprovalStatement> = {},
  signer = reviewer,
): SignedStatement {
  const statement = statementOf(request, reviewer, change);
  return {
    statement,
    signature: signStatement(statement, privateKeys.get(signer) as string),
    keyId: keyIds.get(signer) as string,
  };
}

const decide = (request: ApprovalRequest, reviewer: string, change: Partial<ApprovalStatement> = {}, now = at(2)) =>
  inTransaction(database.pool, (tx) => decideRequest(tx, signed(request, reviewer, change), reviewer, now));

const check = (
  request: ApprovalRequest,
  change: Partial<Parameters<typeof checkGrant>[1]> = {},
): Promise<GrantCheck> => {
  const claim = {
    request: request.id,
    actionDigest: request.action,
    run: request.run,
    seq: request.seq,
    now: at(3),
    ...change,
  };
  return inTransaction(database.pool, (tx) => checkGrant(tx, claim));
};

const revoke = (reviewer: string) =>
  inTransaction(database.pool, (tx) => revokeReviewerKey(tx, keyIds.get(reviewer)!, at(3)));

test("who approved with a key that was revoked since signs anew, counts once, and never with the words that fell", async () => {
  await enrol("rina", ["reviewers"]);
  const [request, forced] = [await ask(need(2)), await ask(need(2))];
  const nonce = { nonce: "n".repeat(24) };
  await decide(request, "rina", nonce);
  await decide(forced, "rina");
  expect(await decide(request, "rina")).toMatchObject({ recorded: false });
  // Another key is no reason to say it twice: the first one counts.
  await enrol("rina", ["reviewers"]);
  expect(await decide(request, "rina")).toMatchObject({ recorded: false });
  const second = signed(request, "rina", {});
  await expect(insertDecision(request, "rina", "approve", second)).rejects.toMatchObject({ code: "23505" });
  const { rows } = await database.pool.query<{ keyId: Digest }>(
    `select key_id as "keyId" from approval_decision where request = $1`,
    [request.id],
  );
  await inTransaction(database.pool, (tx) => revokeReviewerKey(tx, rows[0]!.keyId, at(3)));

  await expect(decide(request, "rina", nonce)).rejects.toMatchObject({ code: "approval_fallen" });
  expect(await decide(request, "rina")).toMatchObject({ recorded: true, state: "pending" });
  expect(await decide(request, "rina")).toMatchObject({ recorded: false });
  await expect(decide(request, "rina", { decision: "deny" })).rejects.toMatchObject({ code: "decided_before" });
  // Twice signed is one person, whatever the state says.
  expect(await decide(forced, "rina")).toMatchObject({ recorded: true, state: "pending" });
  await asOwner(`update approval_request set state = 'approved', decided_at = now() where id = '${forced.id}'`);
  expect(await check(forced)).toMatchObject({ status: "invalid", reason: expect.stringContaining("1 approvals") });
  expect(await decide(request, "rick")).toMatchObject({ state: "approved" });
  expect(await check(request)).toMatchObject({ status: "granted", approvals: [{ approvals: 2 }] });
  await revoke("rina");
  expect(await check(request)).toMatchObject({ status: "invalid" });
});

test("an approval that fell keeps nobody from deciding: another account of the same person, a denial, or others in their place", async () => {
  await enrol("rolf", ["reviewers"]);
  await enrol("rolf.admin", ["reviewers"]);
  await asOwner("update principal set person = 'rolf' where id = 'rolf.admin'");
  const [other, denied, theirs] = [await ask(need(2)), await ask(need(2)), await ask(need(2))];
  for (const request of [other, denied, theirs]) await decide(request, "rolf");
  await expect(decide(other, "rolf.admin")).rejects.toMatchObject({ code: "decided_before" });
  await revoke("rolf");
  await enrol("rolf", ["reviewers"]);
  expect(await decide(other, "rolf.admin")).toMatchObject({ state: "pending" });
  await expect(decide(other, "rolf")).rejects.toMatchObject({ code: "decided_before" });
  expect(await decide(denied, "rolf", { decision: "deny" })).toMatchObject({ state: "denied" });
  await decide(theirs, "rick");
  expect(await decide(theirs, "rosa")).toMatchObject({ state: "approved" });
});

const stateOf = async (request: ApprovalRequest): Promise<string | undefined> =>
  (await requestById(database.pool, request.id))?.state;

async function asOwner(...statements: readonly string[]): Promise<void> {
  await inTransaction(database.pool, async (tx) => {
    for (const statement of statements) await tx.query(statement);
  });
}

async function insertDecision(
  request: ApprovalRequest,
  reviewer: string,
  decision: string,
  row: SignedStatement,
): Promise<void> {
  await database.pool.query(
    "insert into approval_decision (request, reviewer, decision, statement, key_id, signature, at) values ($1, $2, $3, $4, $5, $6, $7)",
    [request.id, reviewer, decision, row.statement, row.keyId, row.signature, at(2)],
  );
}

describe("a decision", () => {
  test("of two reviewers at once meets a quorum of two exactly once, however they interleave", async () => {
    for (let round = 0; round < 10; round += 1) {
      const request = await ask(need(2));
      const outcomes = await Promise.all(["rita", "rick"].map((reviewer) => decide(request, reviewer)));
      expect(outcomes.map(({ state }) => state).toSorted()).toEqual(["approved", "pending"]);
      expect(await check(request)).toEqual({
        status: "granted",
        approvals: [{ ...need(2), approvals: 2, ageMs: 3 }],
      });
    }
  });

  test("meets several requirements, each with members of its own group", async () => {
    const request = await ask(need(2), need(1, "treasury"));
    expect((await decide(request, "rita")).state).toBe("pending");
    expect((await decide(request, "rick")).state).toBe("pending");
    expect((await decide(request, "rosa")).state).toBe("approved");
    expect(await check(request)).toMatchObject({
      approvals: [
        { group: "reviewers", approvals: 3 },
        { group: "treasury", approvals: 1 },
      ],
    });
  });

  test("repeated says the same again; another one is refused", async () => {
    const request = await ask(need(2));
    expect(await decide(request, "rita")).toMatchObject({ state: "pending", recorded: true });
    expect(await decide(request, "rita", { reason: "again" })).toMatchObject({ state: "pending", recorded: false });
    await expect(decide(request, "rita", { decision: "deny" })).rejects.toMatchObject({ code: "decided_before" });
    // The answer to the first call may have been lost until long after.
    await decide(request, "rick");
    expect(await decide(request, "rita", {}, at(2 * hour))).toMatchObject({ state: "approved", recorded: false });
    expect(await decisionsOf(database.pool, request.id)).toHaveLength(2);
  });

  test("sent twice at once is recorded once", async () => {
    const request = await ask(need(1));
    const outcomes = await Promise.all([decide(request, "rita"), decide(request, "rita")]);
    expect(outcomes.filter(({ recorded }) => recorded)).toHaveLength(1);
  });

  test("to decline ends the request, with its reason", async () => {
    const request = await ask(need(2));
    await decide(request, "rita");
    expect((await decide(request, "rick", { decision: "deny", reason: "too much" })).state).toBe("denied");
    await expect(decide(request, "rosa")).rejects.toMatchObject({ code: "request_not_pending" });
    expect(await check(request)).toEqual({ status: "denied", reason: "too much" });
    expect(await consumeGrant(database.pool, request.id, at(3))).toBe(false);
  });

  test("is in time up to the millisecond before expiry, and no later", async () => {
    const [late, early] = [await ask(need(1)), await ask(need(1))];
    await expect(decide(late, "rita", {}, expiry)).rejects.toMatchObject({ code: "request_expired" });
    expect((await decide(early, "rita", {}, at(hour - 1))).state).toBe("approved");
  });

  test("is refused from whoever may not decide", async () => {
    const request = await ask(need(1));
    // olga is in the group, and asked for the run.
    await expect(decide(request, "olga")).rejects.toMatchObject({ code: "self_approval" });
    await expect(decide(request, "outsider")).rejects.toMatchObject({ code: "not_in_group" });
    const asRick = (given: SignedStatement) =>
      inTransaction(database.pool, (tx) => decideRequest(tx, given, "rick", at(2)));
    await expect(asRick(signed(request, "rita"))).rejects.toMatchObject({ code: "statement_mismatch" });
    await expect(asRick(signed(request, "rick", {}, "rita"))).rejects.toMatchObject({ code: "key_unknown" });
    await expect(asRick({ ...signed(request, "rick"), keyId: "f".repeat(64) })).rejects.toMatchObject({
      code: "key_unknown",
    });
    const own = signed(request, "rick");
    const forged = { ...own, signature: signed(request, "rita").signature };
    await expect(asRick(forged)).rejects.toMatchObject({ code: "signature_invalid" });
    await expect(asRick({ ...own, statement: `${own.statement} ` })).rejects.toMatchObject({
      code: "statement_malformed",
    });
    expect(await decisionsOf(database.pool, request.id)).toEqual([]);
    expect(await stateOf(request)).toBe("pending");
  });

  test("is refused where its statement is about anything else", async () => {
    const [request, other] = [await ask(need(1)), await ask(need(1))];
    const digest = "d".repeat(64) as Digest;
    const changes: readonly Partial<ApprovalStatement>[] = [
      { team: "bank" },
      { run: other.run },
      { seq: 1 },
      { action: other.action },
      { rendered: digest },
      { policySet: digest },
      { expiresAt: at(2 * hour).toISOString() },
      // Everything else is this request's: the same action cannot be carried over to another request.
      { request: other.id },
    ];
    for (const change of changes)
      await expect(decide(request, "rita", change)).rejects.toMatchObject({ code: "statement_mismatch" });
    const unknown = `apr_${ulid()}` as ApprovalId;
    await expect(decide(request, "rita", { request: unknown })).rejects.toMatchObject({ code: "request_missing" });
    expect(await stateOf(request)).toBe("pending");
  });
});

describe("a grant", () => {
  test("is consumed by one of many who try at once", async () => {
    const request = await ask(need(1));
    await decide(request, "rita");
    const tries = Array.from({ length: 8 }, () =>
      inTransaction(database.pool, async (tx) => {
        const claim = { request: request.id, actionDigest: request.action, run: request.run, seq: 0, now: at(3) };
        const grant = await checkGrant(tx, claim);
        return grant.status === "granted" && (await consumeGrant(tx, request.id, at(3)));
      }),
    );
    expect((await Promise.all(tries)).filter(Boolean)).toHaveLength(1);
    expect(await check(request)).toMatchObject({ status: "invalid" });
    expect(await consumeGrant(database.pool, request.id, at(4))).toBe(false);
  });

  test("is not consumed by a transaction that fails", async () => {
    const request = await ask(need(1));
    await decide(request, "rita");
    const failing = inTransaction(database.pool, async (tx) => {
      expect(await consumeGrant(tx, request.id, at(3))).toBe(true);
      throw new Error("crash");
    });
    await expect(failing).rejects.toThrow("crash");
    expect(await check(request)).toMatchObject({ status: "granted" });
  });

  test("is for one action, run and step", async () => {
    const [request, other] = [await ask(need(1)), await ask(need(1))];
    await decide(request, "rita");
    for (const change of [
      { actionDigest: other.action },
      { run: other.run },
      { seq: 1 },
      { request: `apr_${ulid()}` as ApprovalId },
    ]) {
      expect([change, await check(request, change)]).toMatchObject([change, { status: "invalid" }]);
    }
    expect(await check(other)).toEqual({ status: "pending", expiresAt: expiry });
    expect(await check(request)).toMatchObject({ status: "granted" });
  });

  test("lapses at the millisecond of its expiry", async () => {
    const request = await ask(need(1));
    await decide(request, "rita");
    expect(await check(request, { now: at(hour - 1) })).toMatchObject({ status: "granted" });
    expect(await check(request, { now: expiry })).toEqual({ status: "expired", approved: true });
    expect(await consumeGrant(database.pool, request.id, expiry)).toBe(false);
    expect(await expireRequest(database.pool, request.id, at(hour - 1))).toBe(false);
    expect(await expireRequest(database.pool, request.id, expiry)).toBe(true);
    expect(await check(request, { now: at(3) })).toEqual({ status: "expired", approved: true });
  });

  test("falls with a key that is revoked, or a reviewer who leaves the group, before it is used", async () => {
    await enrol("temp", ["reviewers"]);
    const [first, second] = [await ask(need(1)), await ask(need(1))];
    await decide(first, "temp");
    await decide(second, "temp");
    await putPrincipal(database.pool, { id: "temp", displayName: "temp", roles: ["reviewer"], groups: [] });
    expect(await check(first)).toMatchObject({ status: "invalid", reason: expect.stringContaining("0 approvals") });
    await putPrincipal(database.pool, { id: "temp", displayName: "temp", roles: ["reviewer"], groups: ["reviewers"] });
    expect(await check(first)).toMatchObject({ status: "granted" });
    expect(await revokeReviewerKey(database.pool, keyIds.get("temp") as Digest, at(3))).toBe(true);
    expect(await check(second)).toMatchObject({ status: "invalid" });
    await expect(decide(await ask(need(1)), "temp")).rejects.toMatchObject({ code: "key_revoked" });
  });
});

describe("rows that were written past the code", () => {
  /** What a writer of the database can do: the state, and one row of a decision. */
  async function forge(
    row: (request: ApprovalRequest) => SignedStatement,
    reviewer = "rita",
    quorum = 1,
  ): Promise<GrantCheck> {
    const request = await ask(need(quorum));
    await insertDecision(request, reviewer, "approve", row(request));
    await asOwner(`update approval_request set state = 'approved', decided_at = now() where id = '${request.id}'`);
    return check(request);
  }

  test("grant where they are real, so that the refusals below mean something", async () => {
    expect(await forge((request) => signed(request, "rita"))).toMatchObject({ status: "granted" });
  });

  test.each<[string, (request: ApprovalRequest) => SignedStatement, string?]>([
    ["nothing signed", (request) => ({ ...signed(request, "rita"), signature: Buffer.alloc(64).toString("base64") })],
    ["signed with a colleague's key", (request) => signed(request, "rita", {}, "rick")],
    ["a colleague's statement", (request) => signed(request, "rick")],
    ["a denial", (request) => signed(request, "rita", { decision: "deny" })],
    ["about another action", (request) => signed(request, "rita", { action: "d".repeat(64) as Digest })],
    ["about another text", (request) => signed(request, "rita", { rendered: "d".repeat(64) as Digest })],
    [
      "no statement",
      (request) => {
        const statement = "{}";
        return {
          ...signed(request, "rita"),
          statement,
          signature: signStatement(statement, privateKeys.get("rita") as string),
        };
      },
    ],
    ["the asker's own", (request) => signed(request, "olga"), "olga"],
    ["an outsider's", (request) => signed(request, "outsider"), "outsider"],
  ])("grant nothing: %s", async (_, row, reviewer) => {
    expect(await forge(row, reviewer)).toMatchObject({ status: "invalid" });
  });

  test("grant nothing: one approval where two are needed, none at all, or one beside a denial", async () => {
    expect(await forge((request) => signed(request, "rita"), "rita", 2)).toMatchObject({ status: "invalid" });
    const bare = await ask(need(1));
    await asOwner(`update approval_request set state = 'approved', decided_at = now() where id = '${bare.id}'`);
    expect(await check(bare)).toMatchObject({ status: "invalid" });
    const declined = await ask(need(1));
    await decide(declined, "rita");
    await insertDecision(declined, "rick", "deny", signed(declined, "rick", { decision: "deny" }));
    expect(await check(declined)).toMatchObject({ status: "invalid" });
  });

  test("do not count towards the quorum of a request that is still open", async () => {
    const request = await ask(need(2));
    await insertDecision(request, "rick", "approve", signed(request, "rick", {}, "rita"));
    expect((await decide(request, "rita")).state).toBe("pending");
  });

  test("are refused where history would change", async () => {
    const request = await ask(need(1));
    await decide(request, "rita");
    const row = `where id = '${request.id}'`;
    const key = `where key_id = '${keyIds.get("rita")}'`;
    for (const statement of [
      `update approval_decision set decision = 'deny' where request = '${request.id}'`,
      `delete from approval_decision where request = '${request.id}'`,
      "truncate approval_decision",
      `update approval_request set action = repeat('d', 64) ${row}`,
      `update approval_request set requirements = '[{}]' ${row}`,
      `update approval_request set expires_at = expires_at + interval '1 day' ${row}`,
      `update approval_request set state = 'pending' ${row}`,
      `update approval_request set decided_at = now() ${row}`,
      `delete from approval_request ${row}`,
      "truncate approval_request cascade",
      `update reviewer_key set principal = 'rick' ${key}`,
      `delete from reviewer_key ${key}`,
      "truncate reviewer_key cascade",
      `update reviewer_key set revoked_at = null where key_id = '${keyIds.get("temp")}'`,
    ]) {
      const failure = database.pool.query(statement).then(() => "no failure", codeOf);
      expect([statement, await failure]).toEqual([statement, refusal]);
    }
    expect(await check(request)).toMatchObject({ status: "granted" });
  });
});

describe("requests", () => {
  test("of a step that is waited for are there once; another may follow when it has ended", async () => {
    const request = await ask(need(1));
    const { id: _, state: _state, requestedBy: _by, decidedAt: _decided, consumedAt: _consumed, ...again } = request;
    await expect(openRequest(database.pool, again)).rejects.toMatchObject({ code: "23505" });
    expect(await cancelRequestsOf(database.pool, request.run)).toEqual([{ id: request.id, seq: 0 }]);
    expect(await cancelRequestsOf(database.pool, request.run)).toEqual([]);
    await expect(decide(request, "rita")).rejects.toMatchObject({ code: "request_not_pending" });
    expect(await check(request)).toMatchObject({ status: "cancelled" });
    expect(await openRequest(database.pool, again)).not.toBe(request.id);
  });

  test("are listed newest first, page by page", async () => {
    const found: ApprovalId[] = [];
    for (;;) {
      const page = await listRequests(database.pool, { team: "shop", before: found.at(-1), limit: 7 });
      found.push(...page.map(({ id }) => id));
      if (page.length < 7) break;
    }
    const { rows } = await database.pool.query<{ id: ApprovalId }>("select id from approval_request order by id desc");
    expect(found).toEqual(rows.map(({ id }) => id));
    expect(await listRequests(database.pool, { team: "bank", limit: 7 })).toEqual([]);
    const denied = await listRequests(database.pool, { state: "denied", limit: 100 });
    expect(denied.length).toBeGreaterThan(0);
    expect(denied.every(({ state }) => state === "denied")).toBe(true);
  });

  test("that were decided are told of until somebody says so", async () => {
    const request = await ask(need(1));
    const waits = async (): Promise<boolean> =>
      (await undelivered(database.pool, 1_000)).some(({ id }) => id === request.id);
    expect(await waits()).toBe(false);
    await decide(request, "rita");
    expect(await waits()).toBe(true);
    await markSignalled(database.pool, request.id, at(3));
    await markSignalled(database.pool, request.id, at(4));
    expect(await waits()).toBe(false);
  });

  test("whose time is up are expired once each, by several sweepers at once", async () => {
    const [pending, approved, used] = [await ask(need(1)), await ask(need(1)), await ask(need(1))];
    await decide(approved, "rita");
    await decide(used, "rita");
    expect(await consumeGrant(database.pool, used.id, at(3))).toBe(true);
    expect((await expireDue(database.pool, at(hour - 1), 1_000)).length).toBe(0);
    const swept: ApprovalId[] = [];
    const sweep = async (): Promise<void> => {
      for (;;) {
        const batch = await expireDue(database.pool, expiry, 3);
        swept.push(...batch.map(({ id }) => id));
        if (batch.length === 0) return;
      }
    };
    await Promise.all([sweep(), sweep(), sweep()]);
    // A sweeper that met only rows which others held stopped early: one more finds what is left.
    await sweep();
    expect(new Set(swept).size).toBe(swept.length);
    expect(swept).toEqual(expect.arrayContaining([pending.id, approved.id]));
    expect(await stateOf(used)).toBe("consumed");
  });
});

test("a sweeper leaves a request that a step is using, and does not wait for it", async () => {
  const request = await ask(need(1));
  await decide(request, "rita");
  await inTransaction(database.pool, async (tx) => {
    const claim = { request: request.id, actionDigest: request.action, run: request.run, seq: 0, now: at(hour - 1) };
    expect(await checkGrant(tx, claim)).toMatchObject({ status: "granted" });
    expect((await expireDue(database.pool, expiry, 1_000)).map(({ id }) => id)).not.toContain(request.id);
    expect(await consumeGrant(tx, request.id, at(hour - 1))).toBe(true);
  });
  expect(await stateOf(request)).toBe("consumed");
});

describe("reviewers' keys", () => {
  test("are one person's, enrolled once, revoked once", async () => {
    const publicKey = publicKeyOf(
      generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }) as string,
    );
    const add = (principal: string, key = publicKey) =>
      addReviewerKey(database.pool, { principal, publicKey: key, addedBy: "admin", now: opened });
    const { keyId, added } = await add("rita");
    expect(added).toBe(true);
    expect(await add("rita")).toMatchObject({ keyId, added: false });
    await expect(add("rick")).rejects.toMatchObject({ code: "key_taken" });
    await expect(add("rick", "AAAA")).rejects.toMatchObject({ code: "key_malformed" });
    expect(await revokeReviewerKey(database.pool, keyId, at(1))).toBe(true);
    expect(await revokeReviewerKey(database.pool, keyId, at(2))).toBe(false);
  });
});
