import { createServer } from "node:http";
import type { RequestListener, Server } from "node:http";
import type { AddressInfo } from "node:net";

import { afterEach, expect, test } from "vitest";

import { ApiError, createClient, errorCodes } from "../../src/api/index.ts";
import type { WatchEvent } from "../../src/api/index.ts";

const run = "run_01ARZ3NDEKTSV4RRFFQ69G5FAV";
const view = {
  id: run,
  team: "shop",
  agent: "support",
  release: "0".repeat(64),
  status: "completed",
  requestedBy: "ada",
  createdAt: "2026-01-02T03:04:05.678Z",
  startedAt: null,
  closedAt: "2026-01-02T03:04:05.678Z",
  failure: null,
  steps: 0,
  maxSteps: 5,
  spentMicroUsd: 0,
  maxCostMicroUsd: 5,
  spentTokens: 0,
  maxTokens: null,
  spentCalls: 0,
  maxCalls: 100,
  contentsErasedAt: null,
};
const opened: Server[] = [];

afterEach(() => {
  for (const server of opened.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  opened.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const answering = (status: number, body: string) =>
  serve((_request, response) => {
    response.writeHead(status, { "content-type": "application/json" }).end(body);
  });

async function refusalOf(work: Promise<unknown>): Promise<ApiError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ApiError);
  return error as ApiError;
}

test("nobody there, a wrong address, and silence have codes of their own", async () => {
  const gone = await serve(() => undefined);
  opened.pop()?.close();
  expect(await refusalOf(createClient({ baseUrl: gone, token: "t" }).listAgents({}))).toMatchObject({
    code: "server_unreachable",
    retryable: true,
    hint: expect.stringContaining("npm start") as string,
  });
  expect(await refusalOf(createClient({ baseUrl: "nonsense", token: "t" }).listAgents({}))).toMatchObject({
    code: "server_unreachable",
  });
  const silent = await serve(() => undefined);
  expect(await refusalOf(createClient({ baseUrl: silent, token: "t", timeoutMs: 50 }).listAgents({}))).toMatchObject({
    code: "timeout",
  });
});

test("what no header or path can carry is refused before anything is sent, and no message has the token", async () => {
  const asked: string[] = [];
  const baseUrl = await serve((request, response) => {
    asked.push(request.url ?? "");
    response
      .writeHead(404, { "content-type": "application/json" })
      .end('{"error":{"code":"not_found","message":"no"}}');
  });
  for (const token of ["日本", "secret\nb", "secret b", ""]) {
    const error = await refusalOf(createClient({ baseUrl, token }).listAgents({}));
    expect(error).toMatchObject({ code: "unauthenticated" });
    expect(error.message).not.toContain("secret");
  }
  const client = createClient({ baseUrl, token: "t" });
  for (const team of ["", ".", ".."])
    expect(await refusalOf(client.showPolicies({ params: { team } }))).toMatchObject({ code: "invalid_request" });
  expect(asked).toEqual([]);
  await refusalOf(client.showPolicies({ params: { team: "../agents?x=/#" } }));
  expect(asked).toEqual(["/v1/policies/..%2Fagents%3Fx%3D%2F%23"]);
});

test("a refusal keeps the server's code, words and hint", async () => {
  const baseUrl = await answering(
    409,
    JSON.stringify({ error: { code: "run_closed", message: "the run is completed already", hint: "h" } }),
  );
  const error = await refusalOf(createClient({ baseUrl, token: "t" }).cancelRun({ params: { run: run as never } }));
  expect(error).toMatchObject({
    code: "run_closed",
    status: 409,
    retryable: false,
    message: "the run is completed already",
    hint: "h",
  });
});

test.each([
  ["a page of somebody else's", 502, "<html>bad gateway</html>"],
  ["an unknown code", 400, JSON.stringify({ error: { code: "brand_new", message: "m" } })],
  ["success of another shape", 200, JSON.stringify({ agents: [{ name: 7 }] })],
])("%s is no answer", async (_what, status, body) => {
  const error = await refusalOf(createClient({ baseUrl: await answering(status, body), token: "t" }).listAgents({}));
  expect(error.code).toBe("answer_malformed");
});

test("a health report of 503 is an answer", async () => {
  const report = { status: "degraded", postgres: "ok", temporal: "unreachable", ledger: "ok" };
  const baseUrl = await answering(503, JSON.stringify(report));
  expect(await createClient({ baseUrl, token: undefined }).health({})).toMatchObject({ temporal: "unreachable" });
});

test("path, query, headers and token go where they belong", async () => {
  const seen: string[] = [];
  const baseUrl = await serve((request, response) => {
    seen.push(
      `${request.method} ${request.url} ${request.headers.authorization} ${String(request.headers["idempotency-key"] ?? "")}`,
    );
    response
      .writeHead(404, { "content-type": "application/json" })
      .end(JSON.stringify({ error: { code: "not_found", message: "m" } }));
  });
  const client = createClient({ baseUrl: `${baseUrl}/`, token: "secret" });
  await refusalOf(client.showAgent({ params: { team: "a/b", agent: "c d" } }));
  await refusalOf(client.listRuns({ query: { team: "shop", limit: 3, cursor: undefined } }));
  await refusalOf(
    client.startRun({ body: { team: "a", agent: "b", prompt: "p" }, headers: { "idempotency-key": "k" } }),
  );
  expect(seen).toEqual([
    "GET /v1/agents/a%2Fb/c%20d Bearer secret ",
    "GET /v1/runs?team=shop&limit=3 Bearer secret ",
    "POST /v1/runs Bearer secret k",
  ]);
});

async function collect(events: AsyncGenerator<WatchEvent>): Promise<WatchEvent["type"][]> {
  const types: WatchEvent["type"][] = [];
  for await (const event of events) types.push(event.type);
  return types;
}

test("events are read however they are cut, comments are skipped, and the stream ends with the run", async () => {
  const closed = JSON.stringify({ type: "closed", run: view, output: { text: "żółć" } });
  const bytes = Buffer.from(
    `: hello\n\nevent: delta\ndata: ${JSON.stringify({ type: "delta", seq: 0, text: "ż" })}\n\n: ping\n\ndata: ${closed}\n\n`,
  );
  const baseUrl = await serve((_request, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    // One byte at a time, and never an end of the server's making.
    let place = 0;
    const timer = setInterval(() => {
      if (place >= bytes.length) clearInterval(timer);
      else response.write(bytes.subarray(place, (place += 7)));
    }, 1);
  });
  expect(await collect(createClient({ baseUrl, token: "t" }).watch(run))).toEqual(["delta", "closed"]);
});

test("a stream that breaks off says so; one that is given up on just ends", async () => {
  const broken = await serve((request, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(": hello\n\n");
    setTimeout(() => request.socket.destroy(), 20);
  });
  expect(await refusalOf(collect(createClient({ baseUrl: broken, token: "t" }).watch(run)))).toMatchObject({
    code: "stream_broken",
  });
  const endless = await serve(
    (_request, response) => void response.writeHead(200, { "content-type": "text/event-stream" }).write(": hello\n\n"),
  );
  expect(await collect(createClient({ baseUrl: endless, token: "t" }).watch(run, AbortSignal.timeout(50)))).toEqual([]);
});

test("every code has a status that fits what it says", () => {
  for (const [code, { status, retryable }] of Object.entries(errorCodes)) {
    expect(status, code).toBeGreaterThanOrEqual(400);
    expect(retryable, code).toBe(status === 503);
  }
});
