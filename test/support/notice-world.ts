import { createServer as createHttpServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import { onTestFinished } from "vitest";
import type { TestContext } from "vitest";

import { createClient } from "../../src/api/index.ts";
import { openRequest } from "../../src/approvals/index.ts";
import type { NewRequest } from "../../src/approvals/index.ts";
import type { ApprovalId, Digest, RunId } from "../../src/core/ids.ts";
import type { ReleaseDocument } from "../../src/core/release.ts";
import { notifyOptionsOf } from "../../src/notify/index.ts";
import type { NotifyOptions } from "../../src/notify/index.ts";
import {
  hashToken,
  moveChannel,
  newToken,
  putPrincipal,
  registerRelease,
  releaseOfDocument,
} from "../../src/registry/index.ts";
import type { RunEngine } from "../../src/server/run-engine.ts";
import { digestOf, putPayloads } from "../../src/store/index.ts";
import type { Pool, Tx } from "../../src/store/index.ts";
import { freshDatabase } from "./database.ts";
import { activatePolicies, document, registerRun } from "./test-records.ts";
import { testKeys, testServer } from "./test-server.ts";

/** Temporal is not needed where nobody runs: what a server does beside it is real. */
export const noEngine = {
  start: async () => undefined,
  wake: async () => undefined,
  cancel: async () => undefined,
  state: async () => {
    throw new Error("no run is open");
  },
  histories: async () => [],
  isReachable: async () => true,
} as unknown as RunEngine;

export const loopback = { COUNTERSIGN_NOTIFY_ALLOW: "127.0.0.0/8" };

export function serverOn(
  pool: Pool,
  databaseUrl: string,
  notify: NotifyOptions,
  now?: () => Date,
  engine: RunEngine = noEngine,
) {
  const options = { pool, databaseUrl, origin: "https://ask.example.com", notify };
  return testServer({ ...options, ...(now === undefined ? {} : { now }) }, engine);
}

export const tools = [
  {
    name: "refund",
    description: "Refunds.",
    parameters: {
      type: "object",
      properties: {
        order_id: { type: "string" },
        amount_cents: { type: "integer" },
        reason: { type: "string" },
      },
      required: ["order_id", "amount_cents", "reason"],
      additionalProperties: false,
    },
    effect: "write",
    groups: [],
    idempotency: "key",
    short: true,
    timeoutMs: 1_000,
    implementation: { kind: "http", method: "POST", url: "https://example.com/refund" },
  },
] as const satisfies ReleaseDocument["tools"];

/** A team with an agent and its policies in a database of its own, and a server on it, whose clock can be put forward. */
export async function noticeWorld(
  options: {
    readonly env?: Record<string, string>;
    readonly policy?: string;
    readonly serve?: boolean;
    readonly engine?: RunEngine;
    /** The test's own, where tests run at once. */
    readonly onTestFinished?: TestContext["onTestFinished"];
    /** Whoever asks for it closes it. */ readonly keep?: boolean;
  } = {},
) {
  const database = await freshDatabase();
  const { pool } = database;
  let offset = 0;
  const now = () => new Date(Date.now() + offset);
  const release = releaseOfDocument(document({ tools }));
  await registerRelease(pool, release, "operator", now());
  const place = { team: "shop", agent: "support", channel: "production", release: release.digest } as const;
  await moveChannel(pool, { ...place, by: "operator", reason: "", now: now() });
  const text = options.policy ?? '@id("all") permit (principal, action, resource);';
  const policySet = await activatePolicies(pool, "shop", text, now());
  const token = newToken();
  await putPrincipal(
    pool,
    { id: "operator", displayName: "operator", roles: ["operator", "auditor"], groups: [] },
    hashToken(token),
  );
  const server = serverOn(pool, database.url, notifyOptionsOf({ ...loopback, ...options.env }), now, options.engine);
  const url = options.serve === false ? "" : (await server.start(0)).url;
  const close = async (): Promise<void> => {
    await server.stop();
    await database.close();
  };
  if (options.keep !== true) (options.onTestFinished ?? onTestFinished)(close);

  const run = (): Promise<RunId> => registerRun(pool, testKeys, release, { prompt: "go" }, now());

  return {
    close,
    pool,
    databaseUrl: database.url,
    server,
    release,
    policySet,
    token,
    url,
    now,
    run,
    client: createClient({ baseUrl: url, token }),
    forward: (ms: number) => void (offset += ms),
    /** A request as the gate opens one, of a run that does nothing. */
    async ask(changes: Partial<NewRequest> & { readonly text?: string } = {}, tx: Tx = pool): Promise<ApprovalId> {
      const { text: rendered = "tool `refund`\narguments:\n  amount_cents: 18900\n", ...rest } = changes;
      const [shown] = await putPayloads(pool, testKeys, [rendered]);
      return openRequest(tx, {
        run: changes.run ?? (await run()),
        seq: 3,
        team: "shop",
        action: digestOf("an action"),
        name: "refund",
        rendered: shown as Digest,
        requirements: [{ policy: "refund/needs-a-person", group: "treasury", quorum: 1, expiresMs: 3_600_000 }],
        policySet,
        openedAt: now(),
        expiresAt: new Date(now().getTime() + 3_600_000),
        ...rest,
      });
    },
    /** Ends a request as a reviewer's decision does. */
    async end(request: ApprovalId, state: "approved" | "denied" | "expired" | "cancelled"): Promise<void> {
      const decided = state === "approved" || state === "denied" ? now() : null;
      await pool.query("update approval_request set state = $2, decided_at = $3 where id = $1", [
        request,
        state,
        decided,
      ]);
    },
  };
}

export type Received = {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly url: string;
};

/** A real HTTP server on loopback, which answers as `answer` does, and what it received. */
export async function httpReceiver(
  answer: (response: ServerResponse, got: Received, n: number) => void,
  finished: TestContext["onTestFinished"] = onTestFinished,
) {
  const received: Received[] = [];
  const server = createHttpServer((request: IncomingMessage, response: ServerResponse) => {
    const pieces: Buffer[] = [];
    request.on("data", (piece: Buffer) => pieces.push(piece));
    request.on("end", () => {
      const got = {
        headers: request.headers as Record<string, string>,
        body: Buffer.concat(pieces).toString("utf8"),
        url: request.url ?? "",
      };
      received.push(got);
      answer(response, got, received.length);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  finished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return { received, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook?key=s3cret` };
}
