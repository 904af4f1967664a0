import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { inspect } from "node:util";

import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";

import { noFacts } from "../../src/core/decision.ts";
import type { Decision } from "../../src/core/decision.ts";
import { askRemote, narrowed, RemoteError, remoteOptionsOf } from "../../src/policy/index.ts";
import type { PolicyRequest, RemoteOptions } from "../../src/policy/index.ts";

const request: PolicyRequest = {
  agent: { team: "shop", name: "support", release: "0".repeat(64), useCase: "customer-support", riskTier: "limited" },
  run: { id: "run_1", requestedBy: "helpdesk", subject: { id: "cus_ada", email: "ada@example.com" } },
  step: { kind: "tool", tool: "refund", arguments: { amount_cents: 700 } },
  facts: { ...noFacts, steps: 3 },
};

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
  const found = remoteOptionsOf({ COUNTERSIGN_AUTHZEN_URL: base, COUNTERSIGN_AUTHZEN_TIMEOUT_MS: "300", ...changes });
  if (found === undefined) throw new Error("nothing is configured");
  return found;
}

const json =
  (body: unknown, status = 200) =>
  (response: ServerResponse) => {
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  };

describe("askRemote", () => {
  it("asks as AuthZEN 1.0 says, and takes a decision of true for one", async () => {
    answer = json({ decision: true });
    await expect(askRemote(options({ COUNTERSIGN_AUTHZEN_TOKEN: "s3cret" }), request)).resolves.toEqual({
      decision: "allow",
    });
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
      (response) => void response.writeHead(200).write('{"decision":'),
      /did not answer in 300 ms/,
    ],
    ["500, even with a decision", json({ decision: true }, 500), /status 500/],
    ["201 with a decision", json({ decision: true }, 201), /status 201/],
    ["401", json({}, 401), /status 401/],
    ["a redirect", (response) => void response.writeHead(307, { location: `${base}/elsewhere` }).end(), /status 307/],
    ["no JSON", (response) => void response.writeHead(200).end("true"), /no decision/],
    ["garbage", (response) => void response.writeHead(200).end("\u0000{{{"), /no decision/],
    ["no decision", json({ context: {} }), /no decision/],
    ['a decision of "true"', json({ decision: "true" }), /no decision/],
    ["a decision of 1", json({ decision: 1 }), /no decision/],
    ["a list", json([{ decision: true }]), /no decision/],
    [
      "a huge body",
      (response) => void response.writeHead(200).end(`{"decision":true,"x":"${"y".repeat(200_000)}"}`),
      /too long/,
    ],
    ["a connection that breaks", (response) => void response.destroy(), /cannot be reached/],
  ])("denies as undecidable on %s", async (_name, given, reason) => {
    answer = given;
    const denied = await askRemote(options(), request);
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
  });

  it("keeps the path of the base", () => {
    const { endpoint, timeoutMs } =
      remoteOptionsOf({ COUNTERSIGN_AUTHZEN_URL: "https://pdp.example.com/tenant/" }) ?? {};
    expect(endpoint?.href).toBe("https://pdp.example.com/tenant/access/v1/evaluation");
    expect(timeoutMs).toBe(500);
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
