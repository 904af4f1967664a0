import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { inspect } from "node:util";
import { gzipSync } from "node:zlib";

import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";

import { noFacts } from "../../src/core/decision.ts";
import type { Decision } from "../../src/core/decision.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { askRemote, evaluationRequest, narrowed, RemoteError, remoteOptionsOf } from "../../src/policy/index.ts";
import type { PolicyRequest, RemoteOptions } from "../../src/policy/index.ts";

const step: PolicyRequest = {
  agent: { team: "shop", name: "support", release: "0".repeat(64), useCase: "customer-support", riskTier: "limited" },
  run: { id: "run_1", requestedBy: "helpdesk", subject: { id: "cus_ada", email: "ada@example.com" } },
  step: { kind: "tool", tool: "refund", arguments: { amount_cents: 700 } },
  facts: { ...noFacts, steps: 3 },
};
const request = evaluationRequest(step) ?? "";

type Seen = {
  readonly url: string | undefined;
  readonly method: string | undefined;
  readonly headers: IncomingMessage["headers"];
  readonly body: unknown;
};
let answer: (response: ServerResponse) => void;
const seen: Seen[] = [];
let base: string;
const server = createServer((incoming, response) => {
  let text = "";
  incoming.on("data", (piece: Buffer) => (text += piece.toString()));
  incoming.on("end", () => {
    const { url, method, headers } = incoming;
    seen.push({ url, method, headers, body: text === "" ? undefined : JSON.parse(text) });
    answer(response);
  });
});

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
beforeEach(() => void seen.splice(0));
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

function options(changes: Record<string, string> = {}): RemoteOptions {
  const found = remoteOptionsOf({ COUNTERSIGN_AUTHZEN_URL: base, COUNTERSIGN_AUTHZEN_TIMEOUT_MS: "20000", ...changes });
  if (found === undefined) throw new Error("nothing is configured");
  return found;
}

const json =
  (body: unknown, status = 200) =>
  (response: ServerResponse) => {
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  };

function typed(response: ServerResponse, type: string, body: string | Buffer): void {
  response.writeHead(200, { "content-type": type }).end(body);
}

describe("askRemote", () => {
  it("asks as AuthZEN 1.0 says, and takes a decision of true for one", async () => {
    answer = json({ decision: true });
    for (let time = 0; time < 2; time += 1) {
      await expect(askRemote(options({ COUNTERSIGN_AUTHZEN_TOKEN: "s3cret" }), request)).resolves.toEqual({
        decision: "allow",
      });
    }
    const ids = seen.map(({ headers }) => headers["x-request-id"]);
    expect([new Set(ids).size, ids.every((id) => /^[0-9a-f-]{36}$/.test(String(id)))]).toEqual([2, true]);
    expect(seen.pop()?.body).toEqual(seen[0]?.body);
    expect(seen).toMatchObject([
      {
        url: "/access/v1/evaluation",
        method: "POST",
        headers: { authorization: "Bearer s3cret", "content-type": "application/json" },
        body: {
          subject: { type: "agent", id: "shop/support", properties: { riskTier: "limited" } },
          action: { name: "tool/refund", properties: { arguments: { amount_cents: 700 } } },
          resource: { type: "run", id: "run_1", properties: { requestedBy: "helpdesk", subject: { id: "cus_ada" } } },
          context: { steps: 3 },
        },
      },
    ]);
  });

  it.each<[string, (response: ServerResponse) => void]>([
    [
      "its type in other letters, with parameters",
      (r) => typed(r, "Application/JSON; charset=utf-8", '{"decision":true}'),
    ],
    [
      "what nobody knows beside it",
      json({ decision: true, context: { reason_admin: { en: "p" } }, more: [{ a: 1 }, { a: 1 }] }),
    ],
    ["obligations that are none", json({ decision: true, context: { obligations: [] } })],
    [
      "the same name in objects of its own",
      (r) => typed(r, "application/json", '{"decision":true,"x":{"decision":false,"y":"{\\"decision"}}'),
    ],
    [
      "the request's id",
      (response) => {
        response.setHeader("x-request-id", String(seen.at(-1)?.headers["x-request-id"]));
        json({ decision: true })(response);
      },
    ],
  ])("takes a permit with %s", async (_name, given) => {
    answer = given;
    await expect(askRemote(options(), request)).resolves.toEqual({ decision: "allow" });
  });

  it("tells what a denial says, on one short line", async () => {
    answer = json({ decision: false, context: { reason: `not\n\u202etoday ${"x".repeat(900)}` } });
    const denied = await askRemote(options(), request);
    expect(denied).toMatchObject({ decision: "deny", code: "forbidden" });
    const { reason } = denied as { reason: string };
    expect(reason).toMatch(/^denied by the remote decision point: not today x+$/);
    expect(reason).toHaveLength(300);
  });

  it.each<[string, (response: ServerResponse) => void, RegExp]>([
    ["nothing in time", () => undefined, /did not answer in 300 ms/],
    [
      "a body that never ends in time",
      (response) => void response.writeHead(200, { "content-type": "application/json" }).write('{"decision":'),
      /did not answer in 300 ms/,
    ],
    ["500, even with a decision", json({ decision: true }, 500), /status 500/],
    ["201 with a decision", json({ decision: true }, 201), /status 201/],
    ["401", json({}, 401), /status 401/],
    ["a redirect", (response) => void response.writeHead(307, { location: `${base}/elsewhere` }).end(), /status 307/],
    ["no object", json(true), /without a decision/],
    ["null", json(null), /without a decision/],
    ["garbage", (response) => typed(response, "application/json", "\u0000{{{"), /no JSON/],
    [
      "no UTF-8",
      (response) => typed(response, "application/json", Buffer.from('{"decision":true,"x":"\xff"}', "latin1")),
      /no JSON/,
    ],
    ["no decision", json({ context: {} }), /without a decision/],
    ['a decision of "true"', json({ decision: "true" }), /without a decision/],
    ["a decision of 1", json({ decision: 1 }), /without a decision/],
    ["a list", json([{ decision: true }]), /without a decision/],
    [
      "two decisions",
      (response) => typed(response, "application/json", '{"decision":false,"decision":true}'),
      /two members/,
    ],
    [
      "two decisions, one of them spelt otherwise",
      (response) =>
        typed(response, "application/json", '{"decision":false, "context":{"a":[{}]}, "\\u0064ecision" :true}'),
      /two members/,
    ],
    ["a context that is none", json({ decision: true, context: "ok" }), /context/],
    [
      "a permit with obligations",
      json({ decision: true, context: { obligations: [{ id: "1", type: "notification" }] } }),
      /obligations/,
    ],
    [
      "a permit with obligations that are no list",
      json({ decision: true, context: { obligations: null } }),
      /obligations/,
    ],
    [
      "a permit that is no JSON by its type",
      (response) => typed(response, "text/plain", '{"decision":true}'),
      /not application\/json/,
    ],
    [
      "a permit of no type",
      (response) => void response.writeHead(200).end('{"decision":true}'),
      /not application\/json/,
    ],
    [
      "a permit for another request",
      (response) => {
        response.setHeader("x-request-id", "bfe9eb29-ab87-4ca3-be83-a1d5d8305716");
        json({ decision: true })(response);
      },
      /another request/,
    ],
    ["a huge body", json({ decision: true, x: "y".repeat(200_000) }), /too long/],
    [
      "a body that never ends",
      (response) => {
        response.writeHead(200, { "content-type": "application/json" });
        const more = (): void => void (response.destroyed || response.write(" ".repeat(60_000), more));
        more();
      },
      /too long/,
    ],
    [
      "a small body that unpacks into a huge one",
      (response) => {
        response.writeHead(200, { "content-type": "application/json", "content-encoding": "gzip" });
        response.end(gzipSync(`{"decision":true}${" ".repeat(5_000_000)}`));
      },
      /too long/,
    ],
    [
      "headers that never end",
      (response) => void response.socket?.write(`HTTP/1.1 200 OK\r\nx: ${"y".repeat(100_000)}`),
      /cannot be reached/,
    ],
    ["a connection that breaks", (response) => void response.destroy(), /cannot be reached/],
  ])("denies as undecidable on %s", async (_name, given, reason) => {
    answer = given;
    // Long for all but those that there is no answer to: a busy machine is no finding.
    const timeoutMs = reason.source.includes("300 ms") ? "300" : "20000";
    const denied = await askRemote(options({ COUNTERSIGN_AUTHZEN_TIMEOUT_MS: timeoutMs }), request);
    expect(denied).toMatchObject({
      decision: "deny",
      code: "undecidable",
      reason: expect.stringMatching(reason) as string,
    });
    // A redirect was not followed, and nothing was tried again.
    expect(seen).toHaveLength(1);
  });

  it("denies as undecidable where nobody listens", async () => {
    const answered = await askRemote(options({ COUNTERSIGN_AUTHZEN_URL: "http://127.0.0.1:9" }), request);
    expect(answered).toMatchObject({ decision: "deny", code: "undecidable" });
  });
});

describe("evaluationRequest", () => {
  it("is the same text for the same step, another for other facts, and none for what nests too deep", () => {
    const { facts, ...rest } = step;
    expect(evaluationRequest({ facts: { ...facts }, ...rest })).toBe(request);
    expect(evaluationRequest({ ...step, facts: { ...facts, steps: 4 } })).not.toBe(request);
    const deep = JSON.parse(`${'{"a":'.repeat(140)}1${"}".repeat(140)}`) as JsonObject;
    expect(evaluationRequest({ ...step, step: { kind: "tool", tool: "t", arguments: deep } })).toBeUndefined();
  });
});

describe("remoteOptionsOf", () => {
  it("is nothing where nothing is configured, and does not show its token", () => {
    expect(remoteOptionsOf({})).toBeUndefined();
    expect(remoteOptionsOf({ COUNTERSIGN_AUTHZEN_URL: "" })).toBeUndefined();
    const made = options({ COUNTERSIGN_AUTHZEN_TOKEN: "s3cret" });
    expect(inspect(made, { depth: 9 }) + JSON.stringify(made)).not.toContain("s3cret");
  });

  it.each<[string, Record<string, string>]>([
    ["http elsewhere", { COUNTERSIGN_AUTHZEN_URL: "http://pdp.example.com" }],
    ["http on a name that only begins like loopback", { COUNTERSIGN_AUTHZEN_URL: "http://127.0.0.1.example.com" }],
    ["another scheme", { COUNTERSIGN_AUTHZEN_URL: "file:///etc/passwd" }],
    ["credentials in the URL", { COUNTERSIGN_AUTHZEN_URL: "https://me:secret@pdp.example.com" }],
    ["no URL", { COUNTERSIGN_AUTHZEN_URL: "pdp" }],
    ["an endpoint in the clear", { COUNTERSIGN_AUTHZEN_ENDPOINT: "http://pdp.example.com/v1/authorize" }],
    [
      "a base and an endpoint",
      {
        COUNTERSIGN_AUTHZEN_URL: "https://pdp.example.com",
        COUNTERSIGN_AUTHZEN_ENDPOINT: "https://pdp.example.com/v1/authorize",
      },
    ],
    [
      "a time-out of nothing",
      { COUNTERSIGN_AUTHZEN_URL: "https://pdp.example.com", COUNTERSIGN_AUTHZEN_TIMEOUT_MS: "0" },
    ],
    [
      "a token with a line break",
      { COUNTERSIGN_AUTHZEN_URL: "https://pdp.example.com", COUNTERSIGN_AUTHZEN_TOKEN: "a\nb" },
    ],
  ])("refuses %s", (_name, env) => {
    expect(() => remoteOptionsOf(env)).toThrow(RemoteError);
    expect(() => remoteOptionsOf(env)).not.toThrow(/secret/);
  });

  it("keeps the path of the base, and takes an endpoint as it is", () => {
    const { endpoint, timeoutMs } =
      remoteOptionsOf({ COUNTERSIGN_AUTHZEN_URL: "https://pdp.example.com/tenant/" }) ?? {};
    expect(endpoint?.href).toBe("https://pdp.example.com/tenant/access/v1/evaluation");
    expect(timeoutMs).toBe(500);
    const whole = { COUNTERSIGN_AUTHZEN_ENDPOINT: "https://pdp.example.com/v1/authorize/" };
    expect(remoteOptionsOf(whole)?.endpoint.href).toBe("https://pdp.example.com/v1/authorize/");
  });
});

describe("narrowed", () => {
  const allow: Decision = { outcome: "allow", policies: [{ policy: "p", text: "" }] };
  const gate: Decision = { outcome: "require_approval", policies: [], requirements: [] };
  const deny: Decision = { outcome: "deny", code: "forbidden", policies: [{ policy: "f", text: "" }] };
  const no = { decision: "deny", code: "undecidable", reason: "slow" } as const;

  it("never opens: only what both allow is allowed, and what either denies is denied", () => {
    for (const local of [allow, gate, deny]) expect(narrowed(local, { decision: "allow" })).toBe(local);
    expect(narrowed(deny, no)).toBe(deny);
    for (const local of [allow, gate])
      expect(narrowed(local, no)).toEqual({
        outcome: "deny",
        code: "undecidable",
        policies: [{ policy: "gate:remote", text: "slow" }],
      });
  });
});
