import { describe, expect, test } from "vitest";

import { errorCodes, routes } from "../../src/api/index.ts";
import type { ErrorCode } from "../../src/api/index.ts";
import { hashToken, newToken } from "../../src/registry/index.ts";
import { serveForFile, tokens } from "../support/served-api.ts";
import { document, tool } from "../support/test-records.ts";

const { anotherServer, call, http, logged } = serveForFile();

describe("who may call", () => {
  const concrete = (path: string) =>
    path
      .replace(":run", "run_01ARZ3NDEKTSV4RRFFQ69G5FAV")
      .replace(":approval", "apr_01ARZ3NDEKTSV4RRFFQ69G5FAV")
      .replace(":digest", "0".repeat(64))
      .replace(/:[a-z]+/g, "shop");

  test("the routes served are those of the table, and each but health and the description demands a role", async () => {
    const served = http().printRoutes({ commonPrefix: false });
    expect(served).toContain("/v1/runs");
    for (const { method, path, access } of Object.values(routes)) {
      expect(http().hasRoute({ method, url: path }), path).toBe(true);
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
    const answer = await http().inject({
      url: "/v1/health",
      headers: { host: "127.0.0.1:7171", origin: "https://evil.example" },
    });
    expect(answer.statusCode).toBe(200);
    expect(Object.keys(answer.headers).filter((name) => name.startsWith("access-control"))).toEqual([]);
  });

  test("tokens are never logged", async () => {
    await call("GET", "/v1/agents", { as: "operator" });
    await call("GET", "/v1/nowhere", { as: "operator" });
    expect(logged()).toContain("no route");
    for (const token of Object.values(tokens)) expect(logged()).not.toContain(token);
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
      http().inject({
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

test("the description is OpenAPI 3.1 and has every route", async () => {
  const { body } = await call("GET", "/openapi.json");
  const description = body as { openapi: string; paths: Record<string, Record<string, unknown>> };
  expect(description.openapi).toMatch(/^3\.1/);
  for (const { method, path } of Object.values(routes)) {
    expect(description.paths[path.replaceAll(/:([a-z]+)/g, "{$1}")]?.[method.toLowerCase()], path).toBeDefined();
  }
});
