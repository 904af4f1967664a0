import { generateKeyPairSync } from "node:crypto";

import type { FastifyInstance } from "fastify";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { createClient, errorCodes, routes } from "../../src/api/index.ts";
import type { ErrorCode, Role, WatchEvent } from "../../src/api/index.ts";
import {
  addReviewerKey,
  keyIdOf,
  openRequest,
  publicKeyOf,
  signStatement,
  statementText,
} from "../../src/approvals/index.ts";
import type { ApprovalStatement } from "../../src/approvals/index.ts";
import type { ApprovalId, Digest, RunId } from "../../src/core/ids.ts";
import type { Json } from "../../src/core/json.ts";
import type { ReleaseDocument, ToolDefinition } from "../../src/core/release.ts";
import { createSequencer, createSigner } from "../../src/ledger/index.ts";
import {
  activatePolicySet,
  hashToken,
  lockPolicies,
  moveChannel,
  newToken,
  putPrincipal,
  registerRelease,
  releaseOfDocument,
  setPolicyGuard,
} from "../../src/registry/index.ts";
import { createServer } from "../../src/server/index.ts";
import type { RunEngine } from "../../src/server/run-engine.ts";
import { digestOf, inTransaction, payloadKeysOf, publishDelta, putPayloads } from "../../src/store/index.ts";
import type { Tx } from "../../src/store/index.ts";
import { TemporalError } from "../../src/temporal/index.ts";
import { freshDatabase } from "../support/database.ts";
import type { TestDatabase } from "../support/database.ts";

/** Temporal is not here: these tests are of what the server does with what Temporal says. */
class ScriptedEngine implements RunEngine {
  up = true;
  readonly started: RunId[] = [];
  readonly woken: ApprovalId[] = [];

  #answer(): void {
    if (!this.up) throw new TemporalError("temporal_unavailable", "the Temporal server did not answer");
  }
  async start(run: RunId): Promise<void> {
    this.#answer();
    this.started.push(run);
  }
  async wake(_run: RunId, request: ApprovalId): Promise<void> {
    this.#answer();
    this.woken.push(request);
  }
  async cancel(): Promise<void> {
    this.#answer();
    throw new TemporalError("run_not_found", "no such run is open");
  }
  async state(): Promise<never> {
    throw new TemporalError("temporal_unavailable", "the Temporal server did not answer");
  }
  async histories(): Promise<readonly []> {
    this.#answer();
    return [];
  }
  async history(): Promise<undefined> {
    this.#answer();
    return undefined;
  }
  async isReachable(): Promise<boolean> {
    return this.up;
  }
}

const keys = payloadKeysOf(new Uint8Array(32).fill(7));
const originOf = (log: string) => `localhost/ledger/${log}`;
const signerOf = (log: string) => createSigner(originOf(log), new Uint8Array(32).fill(9));
const tokens: Record<Role | "nobody" | "second", string> = {
  operator: newToken(),
  reviewer: newToken(),
  auditor: newToken(),
  admin: newToken(),
  nobody: newToken(),
  second: newToken(),
};
const reviewerKey = generateKeyPairSync("ed25519").privateKey.export({ format: "pem", type: "pkcs8" }).toString();
const engine = new ScriptedEngine();

let database: TestDatabase;
let http: FastifyInstance;
let stop: () => Promise<void>;
let logged = "";

beforeAll(async () => {
  database = await freshDatabase();
  const { pool } = database;
  for (const role of ["operator", "reviewer", "auditor", "admin"] as const) {
    const groups = role === "reviewer" ? ["reviewers"] : [];
    await putPrincipal(pool, { id: role, displayName: role, roles: [role], groups }, hashToken(tokens[role]));
  }
  await putPrincipal(pool, { id: "nobody", displayName: "nobody", roles: [], groups: [] }, hashToken(tokens.nobody));
  await putPrincipal(
    pool,
    { id: "second", displayName: "second", roles: ["operator"], groups: [] },
    hashToken(tokens.second),
  );
  await addReviewerKey(pool, {
    principal: "reviewer",
    publicKey: publicKeyOf(reviewerKey),
    addedBy: "admin",
    now: new Date(),
  });
  const sequencer = createSequencer({
    pool,
    signers: (log) => [signerOf(log)],
    originOf,
    onError: (error) => {
      throw error;
    },
  });
  const server = createServer(
    {
      pool,
      databaseUrl: database.url,
      keys,
      temporal: undefined as never,
      taskQueue: "none",
      ledger: { originOf, signerOf, flush: (log) => sequencer.flush(log) },
      logger: pino({ level: "trace" }, { write: (line: string) => void (logged += line) }),
    },
    engine,
  );
  http = await server.http();
  await http.ready();
  stop = () => server.stop();
});

afterAll(async () => {
  await stop();
  await database.close();
});

/** A second server on the same database and engine, as a deployment has them. */
function anotherServer() {
  return createServer(
    {
      pool: database.pool,
      databaseUrl: database.url,
      keys,
      temporal: undefined as never,
      taskQueue: "none",
      ledger: { originOf, signerOf },
      logger: pino({ level: "silent" }),
    },
    engine,
  );
}

type Answer = { readonly status: number; readonly body: never; readonly code: ErrorCode | undefined };

async function call(
  method: "GET" | "POST",
  url: string,
  options: { as?: keyof typeof tokens; token?: string; body?: unknown; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const token = options.token ?? (options.as === undefined ? undefined : tokens[options.as]);
  const answer = await http.inject({
    method,
    url,
    headers: { ...(token === undefined ? {} : { authorization: `Bearer ${token}` }), ...options.headers },
    ...(options.body === undefined ? {} : { payload: options.body as object }),
  });
  const body =
    answer.headers["content-type"]?.includes("json") === true ? (answer.json() as never) : (answer.body as never);
  return { status: answer.statusCode, body, code: (body as { error?: { code: ErrorCode } } | undefined)?.error?.code };
}

function tool(name: string, effect: ToolDefinition["effect"] = "read"): ToolDefinition {
  return {
    name,
    description: name,
    parameters: { type: "object", properties: { amount: { type: "integer" } } },
    effect,
    groups: [],
    idempotency: "key",
    short: true,
    timeoutMs: 1_000,
    implementation: { kind: "http", method: "POST", url: "https://example.com/tool" },
  };
}

function document(changes: Partial<ReleaseDocument> = {}): ReleaseDocument {
  return {
    v: 1,
    team: "shop",
    agent: "support",
    useCase: "tests",
    riskTier: "limited",
    model: { name: "scripted/none", maxOutputTokens: 100 },
    prompt: "help",
    tools: [tool("look"), tool("act", "write")],
    limits: { maxSteps: 5, maxCostMicroUsd: 1_000, maxWallClockMs: 60_000 },
    ...changes,
  };
}

const register = (changes: Partial<ReleaseDocument> = {}) =>
  call("POST", "/v1/agents", { as: "operator", body: { document: document(changes) } });
const start = (changes: object = {}, headers: Record<string, string> = {}) =>
  call("POST", "/v1/runs", {
    as: "operator",
    body: { team: "shop", agent: "support", prompt: "hello", ...changes },
    headers,
  });

describe("who may call", () => {
  const concrete = (path: string) =>
    path
      .replace(":run", "run_01ARZ3NDEKTSV4RRFFQ69G5FAV")
      .replace(":approval", "apr_01ARZ3NDEKTSV4RRFFQ69G5FAV")
      .replace(":digest", "0".repeat(64))
      .replace(/:[a-z]+/g, "shop");

  test("the routes served are those of the table, and each but health and the description demands a role", async () => {
    const served = http.printRoutes({ commonPrefix: false });
    expect(served).toContain("/v1/runs");
    for (const { method, path, access } of Object.values(routes)) {
      expect(http.hasRoute({ method, url: path }), path).toBe(true);
      if (access === "public") continue;
      expect(await call(method, concrete(path)), path).toMatchObject({ status: 401, code: "unauthenticated" });
      expect(await call(method, concrete(path), { as: "nobody" }), path).toMatchObject({
        status: 403,
        code: "forbidden",
      });
      for (const role of ["operator", "reviewer", "auditor", "admin"] as const) {
        const allowed = role === "admin" || (access as readonly string[]).includes(role);
        const answer =
          path.endsWith("/events") && allowed ? { code: undefined } : await call(method, concrete(path), { as: role });
        expect(answer.code === "forbidden", `${role} ${method} ${path}`).toBe(!allowed);
      }
    }
  });

  test("a route that says nothing of access is refused, even to an admin", async () => {
    const other = anotherServer();
    const app = await other.http();
    app.get("/v1/forgotten", async () => "open");
    const answer = await app.inject({ url: "/v1/forgotten", headers: { authorization: `Bearer ${tokens.admin}` } });
    expect(answer.statusCode).toBe(403);
    await other.stop();
  });

  test.each([
    ["no scheme", tokens.admin],
    ["another scheme", `Basic ${tokens.admin}`],
    ["a guess", `Bearer ${newToken()}`],
    ["the hash of a token", `Bearer ${hashToken(tokens.admin)}`],
    ["an empty one", "Bearer "],
  ])("%s is not a token", async (_what, authorization) => {
    expect(await call("GET", "/v1/agents", { headers: { authorization } })).toMatchObject({ status: 401 });
  });

  test("another host's name is refused before anything else, and no other origin is let in", async () => {
    const evil = await call("GET", "/v1/health", { headers: { host: "evil.example:7171" } });
    expect(evil).toMatchObject({ status: 403, code: "host_not_allowed" });
    const answer = await http.inject({
      url: "/v1/health",
      headers: { host: "127.0.0.1:7171", origin: "https://evil.example" },
    });
    expect(answer.statusCode).toBe(200);
    expect(Object.keys(answer.headers).filter((name) => name.startsWith("access-control"))).toEqual([]);
  });

  test("tokens are never logged", async () => {
    await call("GET", "/v1/agents", { as: "operator" });
    await call("GET", "/v1/nowhere", { as: "operator" });
    expect(logged).toContain("no route");
    for (const token of Object.values(tokens)) expect(logged).not.toContain(token);
  });
});

describe("bad input", () => {
  test.each<[string, "GET" | "POST", string, unknown, ErrorCode, RegExp]>([
    ["no body", "POST", "/v1/runs", undefined, "invalid_request", /body/],
    ["a missing field", "POST", "/v1/runs", { team: "shop", agent: "support" }, "invalid_request", /body `prompt`/],
    [
      "an unknown field",
      "POST",
      "/v1/runs",
      { team: "shop", agent: "support", prompt: "x", chanel: "dev" },
      "invalid_request",
      /chanel/,
    ],
    [
      "both channel and release",
      "POST",
      "/v1/runs",
      { team: "shop", agent: "support", prompt: "x", channel: "dev", release: "0".repeat(64) },
      "invalid_request",
      /not both/,
    ],
    [
      "a name that is none",
      "POST",
      "/v1/runs",
      { team: "Shop!", agent: "support", prompt: "x" },
      "invalid_request",
      /body `team`/,
    ],
    [
      "an unknown agent",
      "POST",
      "/v1/runs",
      { team: "shop", agent: "nobody", prompt: "x" },
      "agent_not_found",
      /nobody/,
    ],
    ["a run id that is none", "GET", "/v1/runs/7", undefined, "invalid_request", /path `run`/],
    ["an unknown run", "GET", "/v1/runs/run_01ARZ3NDEKTSV4RRFFQ69G5FAV", undefined, "run_not_found", /run_01ARZ/],
    ["a page too large", "GET", "/v1/runs?limit=5000", undefined, "invalid_request", /query `limit`/],
    ["a cursor that is none", "GET", "/v1/runs?cursor=abc", undefined, "invalid_cursor", /cursor/],
    ["an unknown status", "GET", "/v1/runs?status=done", undefined, "invalid_request", /query `status`/],
    [
      "an unknown approval",
      "GET",
      "/v1/approvals/apr_01ARZ3NDEKTSV4RRFFQ69G5FAV",
      undefined,
      "approval_not_found",
      /apr_/,
    ],
    ["a bundle that is not there", "GET", `/v1/bundles/${"0".repeat(64)}`, undefined, "bundle_not_found", /bundle/],
    ["a log without entries", "GET", "/v1/ledger/empty/checkpoint", undefined, "not_signed_yet", /empty/],
    [
      "a proof of what is not there",
      "GET",
      "/v1/ledger/empty/proof/inclusion?index=3&size=9",
      undefined,
      "entry_not_found",
      /empty/,
    ],
    [
      "policies that are not Cedar",
      "POST",
      "/v1/policies/shop/activate",
      { document: { v: 1, policies: [{ id: "a", text: "permit" }] } },
      "policies_invalid",
      /./,
    ],
    [
      "two tools of one name",
      "POST",
      "/v1/agents",
      { document: document({ tools: [tool("a"), tool("a")] }) },
      "release_invalid",
      /twice/,
    ],
    ["no route", "GET", "/v1/nowhere", undefined, "not_found", /nowhere/],
  ])("%s", async (_what, method, url, body, code, message) => {
    const answer = await call(method, url, { as: "admin", body });
    expect(answer).toMatchObject({ status: errorCodes[code].status, code });
    expect((answer.body as { error: { message: string } }).error.message).toMatch(message);
  });

  test("a body that is not JSON, of another type, or too large", async () => {
    const send = (payload: string, type: string) =>
      http.inject({
        method: "POST",
        url: "/v1/runs",
        payload,
        headers: { authorization: `Bearer ${tokens.admin}`, "content-type": type },
      });
    expect((await send("{", "application/json")).json()).toMatchObject({ error: { code: "invalid_request" } });
    expect((await send("a=b", "application/x-www-form-urlencoded")).json()).toMatchObject({
      error: { code: "unsupported_media_type" },
    });
    expect((await send(JSON.stringify({ prompt: "x".repeat(9_000_000) }), "application/json")).json()).toMatchObject({
      error: { code: "payload_too_large" },
    });
  });
});

describe("agents and policies", () => {
  test("registering gives a release, production and the shipped policies, once, and says so to the ledger", async () => {
    const first = await register();
    expect(first).toMatchObject({ status: 201, body: { created: true, policiesActivated: true } });
    const again = await register();
    expect(again).toMatchObject({ status: 201, body: { created: false, policiesActivated: false } });
    const { release } = first.body as { release: Digest };
    expect(release).toBe(digestOf(document() as never));
    const shown = await call("GET", "/v1/agents/shop/support", { as: "auditor" });
    expect(shown.body).toMatchObject({
      channels: { production: release },
      production: { digest: release },
      history: [{ release }],
    });
    const { rows } = await database.pool.query<{ event: string }>(
      "select event from ledger_outbox where log = 'shop' order by id",
    );
    expect(rows.map((row) => (JSON.parse(row.event) as { kind: string }).kind)).toEqual(
      expect.arrayContaining(["policy.activated", "release.registered", "channel.moved"]),
    );
    expect(rows.filter((row) => row.event.includes("release.registered"))).toHaveLength(1);
  });

  test("policies must fit the team's tools, and a release the policies in force", async () => {
    await register();
    const about = (name: string) => ({
      document: {
        v: 1,
        policies: [{ id: "only", text: `@id("only") permit (principal, action == Action::"tool/${name}", resource);` }],
      },
    });
    const url = "/v1/policies/shop/activate";
    expect(await call("POST", url, { as: "operator", body: about("misspelt") })).toMatchObject({
      status: 422,
      code: "policies_invalid",
    });
    expect(await call("POST", url, { as: "operator", body: about("act") })).toMatchObject({
      status: 201,
      body: { changed: true },
    });
    expect(await call("GET", "/v1/policies/shop", { as: "reviewer" })).toMatchObject({ body: { by: "operator" } });
    expect(await register({ tools: [tool("look")] })).toMatchObject({ status: 422, code: "policies_do_not_fit" });
    expect(await register({ prompt: "help more" })).toMatchObject({ status: 201, body: { created: true } });
  });
});

describe("what changes together", () => {
  const aboutAct = {
    document: {
      v: 1,
      policies: [{ id: "only", text: '@id("only") permit (principal, action == Action::"tool/act", resource);' }],
    },
  } as const;
  const activate = (team: string) => call("POST", `/v1/policies/${team}/activate`, { as: "operator", body: aboutAct });

  /** What is answered when `change` is committed while the request is under way, by somebody who was first at the team's policies. */
  async function answeredAfter(team: string, request: () => Promise<Answer>, change: (tx: Tx) => Promise<unknown>) {
    let answer: Promise<Answer> | undefined;
    await inTransaction(database.pool, async (tx) => {
      await lockPolicies(tx, team);
      let isAnswered = false;
      answer = request().finally(() => void (isAnswered = true));
      while (!isAnswered) {
        const { rowCount } = await database.pool.query(
          "select from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())",
        );
        if (rowCount === 1) break;
      }
      await change(tx);
    });
    return answer;
  }

  test("a guard that is being set holds for an activation that comes meanwhile", async () => {
    await register({ team: "guarded" });
    const guard = { approvers: "owners", quorum: 1 };
    const answer = await answeredAfter(
      "guarded",
      () => activate("guarded"),
      (tx) => setPolicyGuard(tx, "guarded", guard, "admin", new Date()),
    );
    expect(answer).toMatchObject({ status: 201, body: { changed: false, pending: { state: "open" } } });
  });

  test("an activation is checked against a release that is being registered, and a release against a set", async () => {
    for (const team of ["first", "second"]) await register({ team });
    const now = new Date();
    const activated = await answeredAfter(
      "first",
      () => activate("first"),
      async (tx) => {
        const release = releaseOfDocument(document({ team: "first", tools: [tool("look")] }));
        await registerRelease(tx, release, "operator", now);
        const move = { team: "first", agent: "support", channel: "production", release: release.digest } as const;
        await moveChannel(tx, { ...move, by: "operator", reason: "registered", now });
      },
    );
    expect(activated).toMatchObject({ status: 422, code: "policies_invalid" });
    const registered = await answeredAfter(
      "second",
      () => register({ team: "second", tools: [tool("look")] }),
      (tx) => activatePolicySet(tx, "second", aboutAct.document as unknown as Json, "operator", now),
    );
    expect(registered).toMatchObject({ status: 422, code: "policies_do_not_fit" });
  });

  test("a retrieval source is frozen by its name, and a name that nothing has is refused", async () => {
    const handbook = {
      ...tool("handbook"),
      results: { origin: "trusted", confidentiality: "internal" },
      topK: 3,
    } as const;
    const { idempotency: _, parameters: __, ...source } = handbook;
    expect(await register({ team: "readers", retrieval: [source] as never })).toMatchObject({ status: 201 });
    const freeze = (name: string) =>
      call("POST", "/v1/freezes", { as: "operator", body: { team: "readers", tool: name, reason: "wrong pages" } });
    expect(await freeze("hanbook")).toMatchObject({ status: 404, code: "agent_not_found" });
    expect(await freeze("handbook")).toMatchObject({ body: { changed: true } });
  });
});

describe("runs", () => {
  test("one that no policies cover is not started, and the refusal says what to do", async () => {
    const release = releaseOfDocument(document({ team: "bare" }));
    await registerRelease(database.pool, release, "operator", new Date());
    const run = { team: "bare", release: release.digest };
    expect(await start(run)).toMatchObject({
      status: 409,
      code: "no_policies",
      body: { error: { hint: expect.stringContaining("policy activate DIR --team bare") as string } },
    });
    const text =
      '@id("p") permit (principal, action == Action::"tool/look", resource) when { context.input has amount && context.input.amount == "much" };';
    const set = { v: 1, policies: [{ id: "p", text }] };
    await activatePolicySet(database.pool, "bare", set, "operator", new Date());
    expect(await start(run)).toMatchObject({ status: 422, code: "policies_do_not_fit" });
    const fitting = { v: 1, policies: [{ id: "p", text: text.replace('"much"', "7") }] };
    await activatePolicySet(database.pool, "bare", fitting, "operator", new Date());
    expect(await start(run)).toMatchObject({ status: 201 });
    const { rows } = await database.pool.query("select count(*)::int as runs from run where team = 'bare'");
    expect(rows).toEqual([{ runs: 1 }]);
  });

  test("a run is recorded with its input and started", async () => {
    await register();
    const answer = await start({ subject: { id: "cus_1" }, tags: { ticket: "7" } });
    expect(answer).toMatchObject({ status: 201, body: { run: { status: "pending", requestedBy: "operator" } } });
    const { id } = (answer.body as { run: { id: RunId } }).run;
    expect(engine.started).toContain(id);
    const shown = await call("GET", `/v1/runs/${id}`, { as: "auditor" });
    expect(shown.body).toMatchObject({
      input: { prompt: "hello", subject: { id: "cus_1" }, tags: { ticket: "7" } },
      steps: [],
      output: null,
    });
    expect(await call("GET", `/v1/runs/${id}/record`, { as: "auditor" })).toMatchObject({
      status: 200,
      body: { v: 1, histories: [] },
    });
  });

  test("the same key is the same run, also when both come at once; another request under it is refused", async () => {
    await register();
    const key = { "idempotency-key": "order-7" };
    const answers = await Promise.all([start({}, key), start({}, key), start({}, key)]);
    const ids = new Set(answers.map((answer) => (answer.body as { run: { id: RunId } }).run.id));
    expect(ids.size).toBe(1);
    expect(await start({ prompt: "something else" }, key)).toMatchObject({ status: 409, code: "idempotency_conflict" });
    const other = await call("POST", "/v1/runs", {
      as: "second",
      body: { team: "shop", agent: "support", prompt: "hello" },
      headers: key,
    });
    expect(ids.has((other.body as { run: { id: RunId } }).run.id)).toBe(false);
  });

  test("without Temporal the run stays pending, the error says so, and the same key starts it later", async () => {
    await register();
    const key = { "idempotency-key": "order-8" };
    engine.up = false;
    const refused = await start({}, key);
    expect(refused).toMatchObject({ status: 503, code: "temporal_unavailable" });
    expect(await call("GET", "/v1/health")).toMatchObject({
      status: 503,
      body: { temporal: "unreachable", postgres: "ok" },
    });
    engine.up = true;
    const id = /run_[0-9A-Z]{26}/.exec((refused.body as { error: { message: string } }).error.message)?.[0];
    const again = await start({}, key);
    expect(again).toMatchObject({ status: 201, body: { run: { id, status: "pending" } } });
    expect(engine.started).toContain(id);
    expect(await call("GET", "/v1/health")).toMatchObject({ status: 200, body: { status: "ok" } });
  });

  test("a run that never began can be cancelled, once", async () => {
    await register();
    const { id } = ((await start()).body as { run: { id: RunId } }).run;
    expect(await call("POST", `/v1/runs/${id}/cancel`, { as: "operator" })).toMatchObject({
      status: 202,
      body: { run: { status: "cancelled" } },
    });
    expect(await call("POST", `/v1/runs/${id}/cancel`, { as: "operator" })).toMatchObject({
      status: 409,
      code: "run_closed",
    });
  });

  test("pages follow one another without gap or repetition", async () => {
    await register({ agent: "paged" });
    const ids: RunId[] = [];
    for (let n = 0; n < 7; n += 1) ids.push(((await start({ agent: "paged" })).body as { run: { id: RunId } }).run.id);
    const seen: RunId[] = [];
    let cursor = "";
    for (let page = 0; page < 4; page += 1) {
      const { body } = await call("GET", `/v1/runs?agent=paged&limit=3${cursor}`, { as: "auditor" });
      const { runs, next } = body as { runs: { id: RunId }[]; next: string | null };
      seen.push(...runs.map((run) => run.id));
      if (next === null) break;
      cursor = `&cursor=${next}`;
    }
    expect(seen).toEqual(ids.toReversed());
  });
});

describe("approvals", () => {
  async function pending(): Promise<{ readonly run: RunId; readonly approval: ApprovalId }> {
    await register({ agent: "asking" });
    const { id: run } = ((await start({ agent: "asking" })).body as { run: { id: RunId } }).run;
    const [rendered] = await putPayloads(database.pool, keys, ["tool `act`\n"]);
    const policies = (await call("GET", "/v1/policies/shop", { as: "reviewer" })).body as { policySet: Digest };
    const now = new Date();
    const approval = await openRequest(database.pool, {
      run,
      seq: 0,
      team: "shop",
      action: "a".repeat(64) as Digest,
      name: "act",
      rendered: rendered as Digest,
      requirements: [{ policy: "base/act", group: "reviewers", quorum: 1, expiresMs: 60_000 }],
      policySet: policies.policySet,
      openedAt: now,
      expiresAt: new Date(now.getTime() + 60_000),
    });
    return { run, approval };
  }

  async function statementFor(approval: ApprovalId, changes: Partial<ApprovalStatement> = {}): Promise<string> {
    const { statement } = (await call("GET", `/v1/approvals/${approval}`, { as: "reviewer" })).body as {
      statement: ApprovalStatement;
    };
    const own = {
      decision: "approve",
      reviewer: "reviewer",
      reason: "fine",
      issuedAt: new Date().toISOString(),
    } as const;
    return statementText({ ...statement, ...own, ...changes });
  }

  const decide = (approval: ApprovalId, statement: string, as: keyof typeof tokens = "reviewer") =>
    call("POST", `/v1/approvals/${approval}/decisions`, {
      as,
      body: {
        statement,
        signature: signStatement(statement, reviewerKey),
        keyId: keyIdOf(publicKeyOf(reviewerKey)),
      },
    });

  test("a signed statement decides, is in the ledger, and wakes the run", async () => {
    const { approval, run } = await pending();
    const shown = await call("GET", `/v1/approvals/${approval}`, { as: "reviewer" });
    expect(shown.body).toMatchObject({
      state: "pending",
      rendered: "tool `act`\n",
      statement: { rendered: digestOf("tool `act`\n") },
    });
    const answer = await decide(approval, await statementFor(approval));
    expect(answer).toMatchObject({
      status: 201,
      body: { woken: true, recorded: true, approval: { state: "approved" } },
    });
    expect(engine.woken).toContain(approval);
    const { body } = await call("GET", `/v1/runs/${run}/record`, { as: "auditor" });
    const record = body as {
      approvals: { decisions: unknown[] }[];
      ledger: { checkpoint: string; entries: { leaf: string; proof?: string[] }[] };
    };
    expect(record.approvals[0]?.decisions).toHaveLength(1);
    expect(record.ledger.checkpoint).toContain("localhost/ledger/shop");
    expect(
      record.ledger.entries.map((entry) => [
        (JSON.parse(entry.leaf) as { kind: string }).kind,
        entry.proof !== undefined,
      ]),
    ).toEqual([["approval.approved", true]]);
  });

  test("a decision stands although the run cannot be told, and a server that runs tells it later", async () => {
    const { approval } = await pending();
    const statement = await statementFor(approval, { decision: "deny" });
    engine.up = false;
    const answer = await decide(approval, statement);
    engine.up = true;
    expect(answer).toMatchObject({ status: 201, body: { woken: false, approval: { state: "denied" } } });
    const listening = anotherServer();
    await listening.start(0);
    await expect.poll(() => engine.woken.includes(approval), { timeout: 10_000 }).toBe(true);
    await listening.stop();
    const { rows } = await database.pool.query("select from approval_request where id = $1 and signalled_at is null", [
      approval,
    ]);
    expect(rows).toHaveLength(0);
  });

  test.each<[string, Partial<ApprovalStatement>, ErrorCode]>([
    ["another reviewer's name", { reviewer: "admin" }, "statement_invalid"],
    ["another action", { action: "b".repeat(64) as Digest }, "statement_invalid"],
    ["another text than the recorded one", { rendered: "c".repeat(64) as Digest }, "statement_invalid"],
  ])("a statement with %s is refused", async (_what, changes, code) => {
    const { approval } = await pending();
    expect(await decide(approval, await statementFor(approval, changes))).toMatchObject({
      status: errorCodes[code].status,
      code,
    });
  });

  test("an admin without the group, or with somebody else's key, decides nothing", async () => {
    const { approval } = await pending();
    const statement = await statementFor(approval, { reviewer: "admin" });
    expect(await decide(approval, statement, "admin")).toMatchObject({ status: 422, code: "key_unknown" });
    const forged = await call("POST", `/v1/approvals/${approval}/decisions`, {
      as: "reviewer",
      body: {
        statement: await statementFor(approval),
        signature: Buffer.alloc(64).toString("base64"),
        keyId: keyIdOf(publicKeyOf(reviewerKey)),
      },
    });
    expect(forged).toMatchObject({ status: 422, code: "signature_invalid" });
  });
});

describe("watching", () => {
  test("a watcher gets what happens and the words as they come, until the run closes", async () => {
    await register({ agent: "watched" });
    const { id } = ((await start({ agent: "watched" })).body as { run: { id: RunId } }).run;
    const server = anotherServer();
    const { url } = await server.start(0);
    const operator = createClient({ baseUrl: url, token: tokens.operator });
    const seen: WatchEvent[] = [];
    // The connection that listens may be a moment behind the first look at the run.
    const speaking = setInterval(() => {
      publishDelta(database.pool, { run: id, seq: 0, text: "hel" }).catch(() => undefined);
    }, 50);
    for await (const event of operator.watch(id)) {
      seen.push(event);
      if (event.type !== "delta") continue;
      clearInterval(speaking);
      await operator.cancelRun({ params: { run: id } }).catch(() => undefined);
    }
    clearInterval(speaking);
    expect(seen[0]).toMatchObject({ type: "run", run: { status: "pending" } });
    expect(seen.find((event) => event.type === "delta")).toEqual({ type: "delta", seq: 0, text: "hel" });
    expect(seen.at(-1)).toMatchObject({ type: "closed", run: { status: "cancelled" }, output: null });
    const { rows } = await database.pool.query("select from run where id = $1 and watched_until is not null", [id]);
    expect(rows).toHaveLength(1);
    await server.stop();
  });

  test("a run that does not exist is refused before the stream begins; a server that stops ends its watches", async () => {
    const server = anotherServer();
    const { url } = await server.start(0);
    const operator = createClient({ baseUrl: url, token: tokens.operator });
    await expect(operator.watch("run_01ARZ3NDEKTSV4RRFFQ69G5FAV").next()).rejects.toMatchObject({
      code: "run_not_found",
    });
    const { id } = ((await start()).body as { run: { id: RunId } }).run;
    const events = operator.watch(id);
    await events.next();
    const began = Date.now();
    const rest = events.next().catch((error: unknown) => error);
    await server.stop();
    expect(await rest).toMatchObject({ done: true });
    expect(Date.now() - began).toBeLessThan(5_000);
    await expect(operator.listAgents({})).rejects.toMatchObject({ code: "server_unreachable" });
  });

  test("a taken port is an error that says so", async () => {
    const first = anotherServer();
    const second = anotherServer();
    const { port } = await first.start(0);
    await expect(second.start(port)).rejects.toMatchObject({ code: "port_taken" });
    await Promise.all([first.stop(), second.stop()]);
  });
});

test("the description is OpenAPI 3.1 and has every route", async () => {
  const { body } = await call("GET", "/openapi.json");
  const description = body as { openapi: string; paths: Record<string, Record<string, unknown>> };
  expect(description.openapi).toMatch(/^3\.1/);
  for (const { method, path } of Object.values(routes)) {
    expect(description.paths[path.replaceAll(/:([a-z]+)/g, "{$1}")]?.[method.toLowerCase()], path).toBeDefined();
  }
});
