import { generateKeyPairSync, randomBytes } from "node:crypto";

import type { FastifyInstance } from "fastify";
import { ulid } from "ulid";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import {
  checkGrant,
  confirmKey,
  decideRequest,
  listKeys,
  lockKey,
  openRequest,
  proposeKey,
  publicKeyOf,
  requestById,
  reviewerKey,
  revokeReviewerKey,
  signStatement,
  statementFacts,
  statementText,
} from "../../src/approvals/index.ts";
import type { ApprovalRequest, GrantCheck, SignedStatement } from "../../src/approvals/index.ts";
import type { ApprovalRequirement } from "../../src/core/decision.ts";
import { codeOf } from "../../src/core/errors.ts";
import type { Digest, RunId } from "../../src/core/ids.ts";
import { activatePolicySet, hashToken, newToken, putPrincipal, registerRelease } from "../../src/registry/index.ts";
import { releaseOfDocument } from "../../src/registry/index.ts";
import type { Role } from "../../src/registry/index.ts";
import { createRun, digestOf, inTransaction, putPayloads } from "../../src/store/index.ts";
import { freshDatabase } from "../support/database.ts";
import type { TestDatabase } from "../support/database.ts";
import { softwarePasskey } from "../support/software-passkey.ts";
import { testKeys, testServer } from "../support/test-server.ts";

const opened = new Date("2026-01-02T03:04:05.000Z");
const hour = 3_600_000;
const at = (ms: number): Date => new Date(opened.getTime() + ms);
const tokens = new Map<string, string>();

let database: TestDatabase;
let http: FastifyInstance;
let release: Digest;
let policySet: Digest;

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
  const people: readonly (readonly [string, Role])[] = [
    ["rita", "reviewer"],
    ["rick", "reviewer"],
    ["amir", "admin"],
    ["anna", "admin"],
    // Rita's second account, with more rights.
    ["rita.admin", "admin"],
    ["olga", "operator"],
  ];
  for (const [id, role] of people) {
    tokens.set(id, newToken());
    const token = hashToken(tokens.get(id) as string);
    await putPrincipal(pool, { id, displayName: id, roles: [role], groups: ["treasury"] }, token);
  }
  await pool.query("update principal set person = 'rita' where id = 'rita.admin'");
  const server = testServer({ pool, databaseUrl: database.url });
  http = await server.http();
  await http.ready();
});

afterAll(() => database.close());

const pem = () => generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }) as string;
const within = <Result>(work: Parameters<typeof inTransaction<Result>>[1]) => inTransaction(database.pool, work);

async function proposed(principal: string, addedBy = principal, passkey = softwarePasskey()) {
  const { publicKey } = passkey;
  const facts = { principal, publicKey, passkey: passkey.passkey, addedBy, now: at(-hour) };
  await within((tx) => proposeKey(tx, facts));
  return passkey;
}

async function confirmed(principal: string) {
  const passkey = await proposed(principal);
  await within((tx) => confirmKey(tx, passkey.keyId, "amir", at(-hour / 2)));
  return passkey;
}

const need = (signed?: "passkey"): ApprovalRequirement => ({
  policy: "p",
  group: "treasury",
  quorum: 1,
  expiresMs: hour,
  ...(signed === undefined ? {} : { signed }),
});

async function ask(requirement = need("passkey")): Promise<ApprovalRequest> {
  const run = `run_${ulid(opened.getTime())}` as RunId;
  return within(async (tx) => {
    const [input, rendered] = (await putPayloads(tx, testKeys, [{ prompt: run }, `tool of ${run}`])) as [
      Digest,
      Digest,
    ];
    const limits = { maxSteps: 1, maxCostMicroUsd: 1, maxWallClockMs: 1_000 };
    const facts = { team: "shop", agent: "support", release, input, requestedBy: "olga", limits, now: opened };
    await createRun(tx, { id: run, ...facts });
    const id = await openRequest(tx, {
      run,
      seq: 0,
      team: "shop",
      action: digestOf({ run }),
      name: "refund",
      rendered,
      requirements: [requirement],
      policySet,
      openedAt: opened,
      expiresAt: at(hour),
    });
    return (await requestById(tx, id)) as ApprovalRequest;
  });
}

function statementOf(request: ApprovalRequest, reviewer: string, decision: "approve" | "deny" = "approve"): string {
  const nonce = randomBytes(18).toString("base64url");
  const own = { decision, reviewer, reason: "", nonce, issuedAt: at(1).toISOString() };
  return statementText({ ...statementFacts(request), ...own });
}

const decide = (signed: SignedStatement, reviewer: string) =>
  within((tx) => decideRequest(tx, signed, reviewer, at(2)));

const check = (request: ApprovalRequest): Promise<GrantCheck> => {
  const { id, action: actionDigest, run } = request;
  return within((tx) => checkGrant(tx, { request: id, actionDigest, run, seq: 0, now: at(3) }));
};

/** What a writer of the database can do. */
async function forge(request: ApprovalRequest, signed: SignedStatement, reviewer: string, assertion: object | null) {
  await database.pool.query(
    "insert into approval_decision (request, reviewer, decision, statement, key_id, signature, assertion, at) values ($1, $2, 'approve', $3, $4, $5, $6, $7)",
    [request.id, reviewer, signed.statement, signed.keyId, signed.signature, assertion, at(2)],
  );
  await database.pool.query("update approval_request set state = 'approved', decided_at = now() where id = $1", [
    request.id,
  ]);
  return check(request);
}

async function call(method: "GET" | "POST", url: string, as: string, body?: object) {
  const headers = { authorization: `Bearer ${tokens.get(as) ?? ""}` };
  const answer = await http.inject({ method, url, headers, ...(body === undefined ? {} : { payload: body }) });
  return {
    status: answer.statusCode,
    body: answer.json() as never,
    code: codeOf((answer.json() as { error?: object }).error),
  };
}

describe("a proposed key", () => {
  test("is confirmed by an admin who is neither its owner nor who proposed it, under whatever account, and once", async () => {
    const { keyId } = await proposed("rita", "anna");
    const confirm = (by: string) => within((tx) => confirmKey(tx, keyId, by, at(1)));
    for (const by of ["rita", "rita.admin", "anna", "rick", "olga", "nobody"])
      await expect(confirm(by), by).rejects.toMatchObject({ code: "second_person_needed" });
    expect((await reviewerKey(database.pool, keyId))?.confirmedAt).toBeNull();
    const outcomes = await Promise.all([confirm("amir"), confirm("amir"), confirm("amir")]);
    expect(outcomes.filter((one) => one.confirmed)).toHaveLength(1);
    expect(await reviewerKey(database.pool, keyId)).toMatchObject({ confirmedBy: "amir", bootstrap: false });
    await expect(within((tx) => confirmKey(tx, "f".repeat(64), "amir", at(1)))).rejects.toMatchObject({
      code: "key_missing",
    });
  });

  test("of a second account is not confirmed by the first", async () => {
    const { keyId } = await proposed("rita.admin");
    await database.pool.query("update principal set roles = '{reviewer,admin}' where id = 'rita'");
    await expect(within((tx) => confirmKey(tx, keyId, "rita", at(1)))).rejects.toMatchObject({
      code: "second_person_needed",
    });
    await database.pool.query("update principal set roles = '{reviewer}' where id = 'rita'");
  });

  test("signs nothing that counts: neither taken, nor found where it was written past the code", async () => {
    const passkey = await proposed("rick");
    const request = await ask();
    const signed = passkey.sign(statementOf(request, "rick"));
    await expect(decide(signed, "rick")).rejects.toMatchObject({ code: "key_unconfirmed" });
    const { kind: _, statement: _s, keyId: _k, signature: _g, ...assertion } = signed;
    expect(await forge(request, signed, "rick", assertion)).toMatchObject({ status: "invalid" });
    // Confirmed after it signed, it still did not count then.
    await within((tx) => confirmKey(tx, passkey.keyId, "amir", at(3)));
    expect(await check(request)).toMatchObject({ status: "invalid" });
  });

  test("is one person's, and cannot come back once it is revoked", async () => {
    const passkey = await proposed("rita");
    await expect(proposed("rick", "rick", passkey)).rejects.toMatchObject({ code: "key_taken" });
    const sameCredential = { ...softwarePasskey(), passkey: passkey.passkey };
    await expect(proposed("rick", "rick", sameCredential)).rejects.toMatchObject({ code: "key_taken" });
    expect(await revokeReviewerKey(database.pool, passkey.keyId, at(1), "rita")).toBe(true);
    await expect(within((tx) => confirmKey(tx, passkey.keyId, "amir", at(2)))).rejects.toMatchObject({
      code: "key_revoked",
    });
    await expect(proposed("rita", "rita", passkey)).rejects.toMatchObject({ code: "key_revoked" });
  });
});

describe("a requirement for passkeys", () => {
  test("is met by one, and by no key file; to decline, any key will do", async () => {
    const passkey = await confirmed("rita");
    const privateKey = pem();
    const publicKey = publicKeyOf(privateKey);
    const { keyId } = await within((tx) =>
      proposeKey(tx, { principal: "rick", publicKey, addedBy: "rick", now: at(-1) }),
    );
    await within((tx) => confirmKey(tx, keyId, "amir", at(0)));
    const byFile = (request: ApprovalRequest, decision: "approve" | "deny"): SignedStatement => {
      const statement = statementOf(request, "rick", decision);
      return { statement, keyId, signature: signStatement(statement, privateKey) };
    };
    const [first, second, third] = [await ask(), await ask(), await ask(need())];
    await expect(decide(byFile(first, "approve"), "rick")).rejects.toMatchObject({ code: "passkey_needed" });
    expect((await decide(passkey.sign(statementOf(first, "rita")), "rita")).state).toBe("approved");
    expect(await check(first)).toMatchObject({ status: "granted" });
    expect(await forge(second, byFile(second, "approve"), "rick", null)).toMatchObject({ status: "invalid" });
    expect((await decide(byFile(third, "approve"), "rick")).state).toBe("approved");
    expect((await decide(byFile(await ask(), "deny"), "rick")).state).toBe("denied");
  });

  test("falls with the key: revoked between decision and execution, the grant is void", async () => {
    const passkey = await confirmed("rita");
    const request = await ask();
    await decide(passkey.sign(statementOf(request, "rita")), "rita");
    expect(await check(request)).toMatchObject({ status: "granted" });
    // Whoever uses the grant holds the key: a revocation comes after, and says so with its time.
    const { id, action: actionDigest, run } = request;
    await within(async (tx) => {
      await checkGrant(tx, { request: id, actionDigest, run, seq: 0, now: at(3) });
      const revoking = within(async (other) => {
        await other.query("set local lock_timeout = '1ms'");
        return lockKey(other, passkey.keyId);
      });
      expect(await revoking.then(() => "locked", codeOf)).toBe("55P03");
    });
    expect(await revokeReviewerKey(database.pool, passkey.keyId, at(3), "amir")).toBe(true);
    expect(await check(request)).toMatchObject({ status: "invalid" });
    await expect(decide(passkey.sign(statementOf(await ask(), "rita")), "rita")).rejects.toMatchObject({
      code: "key_revoked",
    });
  });

  test("takes no statement about another request, no assertion of another key, and none that was written badly", async () => {
    const [own, colleagues] = [await confirmed("rita"), await confirmed("rick")];
    const [request, other] = [await ask(), await ask()];
    const signed = own.sign(statementOf(request, "rita"));
    const moved = { ...signed, statement: statementOf(other, "rita") };
    await expect(decide(moved, "rita")).rejects.toMatchObject({ code: "signature_invalid" });
    await expect(decide(colleagues.sign(statementOf(request, "rita")), "rita")).rejects.toMatchObject({
      code: "key_unknown",
    });
    const borrowed = { ...colleagues.sign(statementOf(request, "rita")), keyId: own.keyId };
    await expect(decide(borrowed, "rita")).rejects.toMatchObject({ code: "signature_invalid" });
    // Rows that were written past the code: this very statement, and nothing that this passkey signed.
    const { kind: _, statement: _s, keyId: _k, signature: _g, ...genuine } = own.sign("another");
    for (const assertion of [genuine, {}, [], { credentialId: 7, authenticatorData: null, clientDataJSON: {} }, null]) {
      const last = await ask();
      expect(await forge(last, own.sign(statementOf(last, "rita")), "rita", assertion)).toMatchObject({
        status: "invalid",
      });
    }
  });
});

test("what was enrolled is not changed by whoever writes to the database", async () => {
  const [{ keyId }, { keyId: waiting }] = [await confirmed("rita"), await proposed("rita")];
  for (const [statement, code] of [
    [`update reviewer_key set confirmed_at = null, confirmed_by = null where key_id = '${keyId}'`, "23001"],
    [`update reviewer_key set confirmed_by = 'anna' where key_id = '${keyId}'`, "23001"],
    [`update reviewer_key set passkey = '{}' where key_id = '${keyId}'`, "23001"],
    [`update reviewer_key set kind = 'ed25519' where key_id = '${keyId}'`, "23001"],
    [`update reviewer_key set bootstrap = true where key_id = '${waiting}'`, "23001"],
    [`update reviewer_key set confirmed_at = now(), confirmed_by = 'rita' where key_id = '${waiting}'`, "23514"],
    [`update reviewer_key set confirmed_at = now() where key_id = '${waiting}'`, "23514"],
  ] as const) {
    expect([statement, await database.pool.query(statement).then(() => "done", codeOf)]).toEqual([statement, code]);
  }
});

describe("over the API", () => {
  test("one proposes one's own, an admin anybody's; another confirms; the owner or an admin revokes; all of it is in the ledger", async () => {
    const publicKey = publicKeyOf(pem());
    expect(await call("POST", "/v1/keys", "rick", { publicKey, principal: "rita" })).toMatchObject({
      code: "forbidden",
    });
    expect(await call("POST", "/v1/keys", "olga", { publicKey })).toMatchObject({ code: "forbidden" });
    expect(await call("POST", "/v1/keys", "anna", { publicKey, principal: "ghost" })).toMatchObject({
      code: "invalid_request",
    });
    expect(await call("POST", "/v1/keys", "anna", { publicKey: "AAAA" })).toMatchObject({ code: "invalid_request" });
    const { body } = await call("POST", "/v1/keys", "anna", { publicKey, principal: "rick" });
    const { keyId } = (body as { key: { keyId: string } }).key;
    expect(body).toMatchObject({ added: true, key: { state: "proposed", principal: "rick", addedBy: "anna" } });
    const path = `/v1/keys/${keyId}`;
    expect(await call("POST", `${path}/confirm`, "rick")).toMatchObject({ code: "forbidden" });
    expect(await call("POST", `${path}/confirm`, "anna")).toMatchObject({ status: 403, code: "second_person_needed" });
    expect(await call("POST", `${path}/confirm`, "amir")).toMatchObject({ body: { confirmed: true } });
    expect(await call("POST", `${path}/confirm`, "amir")).toMatchObject({ body: { confirmed: false } });
    expect(await call("POST", `${path}/revoke`, "rita")).toMatchObject({ code: "forbidden" });
    expect(await call("POST", `${path}/revoke`, "rick")).toMatchObject({ body: { revoked: true } });
    expect(await call("POST", `${path}/revoke`, "amir")).toMatchObject({ body: { revoked: false } });
    expect(await call("POST", `/v1/keys/${"f".repeat(64)}/revoke`, "amir")).toMatchObject({ code: "key_not_found" });
    const { rows } = await database.pool.query<{ event: string }>(
      "select event from ledger_outbox where log = 'people' and event like $1 order by id",
      [`%${keyId}%`],
    );
    const events = rows.map(({ event }) => JSON.parse(event) as { kind: string; facts: object });
    expect(events).toMatchObject([
      { kind: "approver.key.proposed", facts: { principal: "rick", addedBy: "anna", publicKey } },
      { kind: "approver.key.added", facts: { principal: "rick", addedBy: "anna", confirmedBy: "amir", publicKey } },
      { kind: "approver.key.revoked", facts: { principal: "rick", by: "rick" } },
    ]);
  });

  test("lists them page by page, of a person and of a state", async () => {
    const found: string[] = [];
    let next: string | null = "";
    while (next !== null) {
      const cursor: string = next === "" ? "" : `&cursor=${next}`;
      const { body } = await call("GET", `/v1/keys?limit=2${cursor}`, "rita");
      const page = body as { keys: { keyId: string }[]; next: string | null };
      found.push(...page.keys.map(({ keyId }) => keyId));
      next = page.next;
    }
    const all = await listKeys(database.pool, { limit: 1_000 });
    expect(found).toEqual(all.map(({ keyId }) => keyId));
    expect(await call("GET", "/v1/keys?cursor=x", "rita")).toMatchObject({ code: "invalid_cursor" });
    const { body } = await call("GET", "/v1/keys?state=revoked&principal=rick&limit=200", "rita");
    const { keys } = body as { keys: { state: string; principal: string }[] };
    expect(keys.length).toBeGreaterThan(0);
    expect(keys.every((key) => key.state === "revoked" && key.principal === "rick")).toBe(true);
  });

  test("an enrolment is its beginner's, once, and takes nothing that is no passkey", async () => {
    const begin = async () => (await call("POST", "/v1/keys/passkey/options", "rita")).body as { challenge: string };
    const { challenge } = await begin();
    const client = Buffer.from(JSON.stringify({ type: "webauthn.create", challenge, origin: "http://localhost" }));
    const response = {
      id: "AAAA",
      rawId: "AAAA",
      type: "public-key",
      clientExtensionResults: {},
      response: { attestationObject: "oA", clientDataJSON: client.toString("base64url") },
    };
    const send = (as: string, given: object = {}) =>
      call("POST", "/v1/keys/passkey", as, { challenge, response, ...given });
    expect(await send("rick")).toMatchObject({
      code: "passkey_refused",
      body: { error: { message: expect.stringMatching(/not begun here/) as string } },
    });
    const first = await send("rita");
    expect(first).toMatchObject({ status: 422, code: "passkey_refused" });
    expect(JSON.stringify(first.body)).not.toMatch(/not begun here/);
    expect(await send("rita")).toMatchObject({
      body: { error: { message: expect.stringMatching(/not begun here/) as string } },
    });
    expect(await send("rita", { response: { id: "AAAA" } })).toMatchObject({ code: "invalid_request" });
    const framed = Buffer.from(JSON.stringify({ type: "webauthn.create", crossOrigin: true })).toString("base64url");
    const inFrame = { ...response, response: { ...response.response, clientDataJSON: framed } };
    const again = await begin();
    expect(await send("rita", { challenge: again.challenge, response: inFrame })).toMatchObject({
      body: { error: { message: expect.stringMatching(/frame/) as string } },
    });
    expect(await call("POST", "/v1/keys/passkey/options", "olga")).toMatchObject({ code: "forbidden" });
  });

  test("a passkey whose counter does not grow is a copy: nothing is recorded", async () => {
    const passkey = await confirmed("rita");
    const openNow = async (): Promise<ApprovalRequest> => {
      const request = await ask();
      await database.pool.query("alter table approval_request disable trigger ends_once");
      await database.pool.query(
        "update approval_request set opened_at = now(), expires_at = now() + interval '1 hour' where id = $1",
        [request.id],
      );
      await database.pool.query("alter table approval_request enable trigger ends_once");
      return (await requestById(database.pool, request.id)) as ApprovalRequest;
    };
    const send = async (count: number) => {
      const request = await openNow();
      const answer = await call(
        "POST",
        `/v1/approvals/${request.id}/decisions`,
        "rita",
        passkey.sign(statementOf(request, "rita"), count),
      );
      const { rowCount } = await database.pool.query("select from approval_decision where request = $1", [request.id]);
      return [answer.code, rowCount];
    };
    const first = await send(5);
    expect([first, await send(5), await send(4), await send(0), await send(6)]).toEqual([
      [undefined, 1],
      ["signature_invalid", 0],
      ["signature_invalid", 0],
      ["signature_invalid", 0],
      [undefined, 1],
    ]);
  });
});
