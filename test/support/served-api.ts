import { generateKeyPairSync } from "node:crypto";

import type { FastifyInstance } from "fastify";
import { pino } from "pino";
import { afterAll, beforeAll } from "vitest";

import type { ErrorCode, Role } from "../../src/api/index.ts";
import { addReviewerKey, publicKeyOf } from "../../src/approvals/index.ts";
import type { ApprovalId, RunId } from "../../src/core/ids.ts";
import type { ReleaseDocument } from "../../src/core/release.ts";
import { hashToken, newToken, putPrincipal } from "../../src/registry/index.ts";
import type { RunEngine } from "../../src/server/run-engine.ts";
import { TemporalError } from "../../src/temporal/index.ts";
import { freshDatabase } from "./database.ts";
import type { TestDatabase } from "./database.ts";
import { document } from "./test-records.ts";
import { sequencedLedger, testServer } from "./test-server.ts";

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

export const tokens: Record<Role | "nobody" | "second", string> = {
  operator: newToken(),
  reviewer: newToken(),
  auditor: newToken(),
  admin: newToken(),
  nobody: newToken(),
  second: newToken(),
};
/** Of the principal `reviewer`. */
export const reviewerKey = generateKeyPairSync("ed25519")
  .privateKey.export({ format: "pem", type: "pkcs8" })
  .toString();

export type Answer = { readonly status: number; readonly body: never; readonly code: ErrorCode | undefined };

/** The API on a database of the file's own, with a principal of each role, and one without any: begun before its tests, ended after them. */
export function serveForFile() {
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
    const logger = pino({ level: "trace" }, { write: (line: string) => void (logged += line) });
    const server = testServer({ pool, databaseUrl: database.url, ledger: sequencedLedger(pool), logger }, engine);
    http = await server.http();
    await http.ready();
    stop = () => server.stop();
  });

  afterAll(async () => {
    await stop();
    await database.close();
  });

  /** A second server on the same database and engine, as a deployment has them. */
  const anotherServer = () => testServer({ pool: database.pool, databaseUrl: database.url }, engine);

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
    return {
      status: answer.statusCode,
      body,
      code: (body as { error?: { code: ErrorCode } } | undefined)?.error?.code,
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
  return {
    engine,
    /** There from the first test on. */
    database: () => database,
    http: () => http,
    logged: () => logged,
    anotherServer,
    call,
    register,
    start,
  };
}
