import { once } from "node:events";
import { createServer } from "node:http";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";

import type { RunId } from "../../src/core/ids.ts";
import { createAddressGuard } from "../../src/notify/index.ts";
import { post } from "../../src/notify/post.ts";
import { askRemote, detect, detectorOptionsOf, remoteOptionsOf } from "../../src/policy/index.ts";
import { resolveTool } from "../../src/tools/index.ts";
import { guardedLookup } from "../../src/tools/reach.ts";

/**
 * What may be reached by URLs that somebody gives, and why:
 * - `notice` (webhooks, Slack; an operator of any team gives the URL, the server connects): public addresses, over TLS. Nothing of the
 *   server's own network, loopback included, but what its owner allows in COUNTERSIGN_NOTIFY_ALLOW.
 * - `tool` (pinned in a release): also loopback and private addresses, since a company's own services are what tools are for, and on one
 *   machine they are on loopback. Never what hands out a machine's credentials, and no address that is no single host's.
 * - `authzen`, `presidio` (settings of who runs the worker): any host over TLS, in the clear loopback alone: what is sent is confidential.
 */
const fetchers = ["notice", "tool", "authzen", "presidio"] as const;
type Fetcher = (typeof fetchers)[number];
const none: readonly Fetcher[] = [];
const inside: readonly Fetcher[] = ["tool"];

const corpus: readonly (readonly [url: string, reached: readonly Fetcher[]])[] = [
  ["http://169.254.169.254/latest/meta-data", none],
  ["http://2852039166/", none],
  ["http://0xa9fea9fe/", none],
  ["http://0251.0376.0251.0376/", none],
  ["http://169.254.43518/", none],
  ["http://[::ffff:169.254.169.254]/", none],
  ["http://[::ffff:a9fe:a9fe]/", none],
  ["http://[::169.254.169.254]/", none],
  ["http://[64:ff9b::a9fe:a9fe]/", none],
  ["http://[2002:a9fe:a9fe::1]/", none],
  ["http://[fd00:ec2::254]/", none],
  ["http://[fe80::1]/", none],
  ["http://100.100.100.200/", none],
  ["http://0.0.0.0/", none],
  ["http://0/", none],
  ["http://[::]/", none],
  ["http://224.0.0.1/", none],
  ["http://255.255.255.255/", none],
  ["http://[ff02::1]/", none],
  ["https://169.254.169.254/", ["authzen", "presidio"]],
  ["http://127.0.0.1/", ["tool", "authzen", "presidio"]],
  ["http://2130706433/", ["tool", "authzen", "presidio"]],
  ["http://[::1]/", ["tool", "authzen", "presidio"]],
  ["http://[::ffff:127.0.0.1]/", inside],
  ["http://10.0.0.1/", inside],
  ["http://192.168.0.1/", inside],
  ["http://[fd00::1]/", inside],
  ["http://93.184.215.14/", inside],
  ["https://93.184.215.14/", fetchers],
  ["https://[2606:4700::1]/", fetchers],
  ["https://127.0.0.1/", ["tool", "authzen", "presidio"]],
  ["https://[::7f00:1]/", ["tool", "authzen", "presidio"]],
  ["https://[4000::1]/", ["tool", "authzen", "presidio"]],
  ["http://127.0.0.1.evil.example/", inside],
  ["http://localhost.evil.example/", inside],
  ["https://user:secret@93.184.215.14/", none],
  ["ftp://93.184.215.14/", none],
  ["file:///etc/passwd", none],
];

const notices = createAddressGuard("");
const sent = "nothing was sent";

/** Whether the fetcher would connect there. No packet leaves: a tool's call is aborted before, and told apart from a refusal. */
async function reaches(fetcher: Fetcher, url: string): Promise<boolean> {
  try {
    if (fetcher === "notice") notices.assertUrl(new URL(url));
    else if (fetcher === "authzen") remoteOptionsOf({ COUNTERSIGN_AUTHZEN_URL: url });
    else if (fetcher === "presidio") detectorOptionsOf({ COUNTERSIGN_PRESIDIO_URL: url });
    else await callTool(url, AbortSignal.abort(new Error(sent)));
    return true;
  } catch (error) {
    return (error as Error).message === sent;
  }
}

async function callTool(url: string, signal = new AbortController().signal): Promise<unknown> {
  const implementation = { kind: "http", method: "GET", url } as const;
  const tool = await resolveTool(
    {
      name: "t",
      description: "",
      parameters: { type: "object" },
      effect: "read",
      groups: [],
      idempotency: "key",
      short: false,
      timeoutMs: 1_000,
      implementation,
    },
    [],
  );
  return tool.execute({}, { run: "run_1" as RunId, subject: undefined, tags: {}, idempotencyKey: "key", signal });
}

test.each(corpus)("%s is for %j alone", async (url, reached) => {
  const found = await Promise.all(fetchers.map(async (one) => ((await reaches(one, url)) ? [one] : [])));
  expect(found.flat()).toEqual(fetchers.filter((one) => reached.includes(one)));
});

test("a name is looked at when it is resolved, and what was looked at is what is connected to", async () => {
  const ask = (host: string, all: boolean) =>
    new Promise((resolve, reject) =>
      guardedLookup(host, { all }, (error, address) => (error === null ? resolve(address) : reject(error))),
    );
  expect(await ask("localhost", false)).toMatch(/^(127\.0\.0\.1|::1)$/);
  expect(await ask("localhost", true)).toContainEqual(expect.objectContaining({ family: expect.any(Number) }));
  // Resolvers answer a literal with itself: as if a name had it.
  await expect(ask("169.254.169.254", true)).rejects.toThrow("link-local");
  await expect(ask("nowhere.invalid", true)).rejects.toMatchObject({
    code: expect.stringMatching(/^(ENOTFOUND|EAI_AGAIN)$/),
  });
});

describe("a redirect leads nowhere", () => {
  let target: Server;
  let redirecting: Server;
  let url: string;
  let hits = 0;
  const listening = async (server: Server): Promise<string> => {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  };
  beforeAll(async () => {
    target = createServer((_, response) => {
      hits += 1;
      response.end('{"decision":true}');
    });
    const there = await listening(target);
    redirecting = createServer((_, response) => response.writeHead(307, { location: there }).end());
    url = await listening(redirecting);
  });
  afterAll(() => {
    for (const server of [target, redirecting]) {
      server.closeAllConnections();
      server.close();
    }
  });
  beforeEach(() => {
    hits = 0;
  });

  const cases: Readonly<Record<Fetcher, () => Promise<unknown>>> = {
    notice: () =>
      post(new URL(url), "{}", {}, { guard: createAddressGuard("127.0.0.1"), timeoutMs: 5_000, now: new Date() }),
    tool: () => callTool(url).catch((error: unknown) => (error as { code?: string }).code),
    authzen: () => askRemote(must(remoteOptionsOf({ COUNTERSIGN_AUTHZEN_URL: url })), question),
    presidio: () => detect(must(detectorOptionsOf({ COUNTERSIGN_PRESIDIO_URL: url })), "Ada"),
  };
  const answers: Readonly<Record<Fetcher, unknown>> = {
    notice: expect.objectContaining({ status: 307 }),
    tool: "http_307",
    authzen: expect.objectContaining({ decision: "deny", code: "undecidable" }),
    presidio: expect.objectContaining({ status: "failed" }),
  };
  test.each(fetchers)("of %s", async (fetcher) => {
    expect(await cases[fetcher]()).toEqual(answers[fetcher]);
    expect(hits).toBe(0);
  });
});

function must<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new Error("it is not configured");
  return value;
}

const question = "{}";
