import { once } from "node:events";
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";

import type { RunId } from "../../src/core/ids.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { resolveTool, ToolError, ToolResultError } from "../../src/tools/index.ts";
import type { ToolContext } from "../../src/tools/index.ts";

type Seen = { readonly method: string; readonly url: string; readonly key: unknown; readonly body: string };

const seen: Seen[] = [];
let answer: (response: ServerResponse, request: IncomingMessage) => void = (response) => response.end("{}");
const server = createServer((request, response) => {
  void text(request).then((body) => {
    seen.push({ method: request.method ?? "", url: request.url ?? "", key: request.headers["idempotency-key"], body });
    answer(response, request);
  });
});
let origin = "";

beforeAll(async () => {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(() => {
  seen.length = 0;
});

async function call(
  method: "GET" | "POST",
  path: string,
  args: JsonObject = {},
  signal = new AbortController().signal,
) {
  const definition = {
    name: "t",
    description: "",
    parameters: { type: "object" },
    effect: "write",
    groups: [],
    idempotency: "key",
    short: false,
    timeoutMs: 1_000,
  } as const;
  const implementation = { kind: "http", method, url: path.startsWith("/") ? `${origin}${path}` : path } as const;
  const tool = await resolveTool({ ...definition, implementation }, []);
  const context: ToolContext = { run: "run_1" as RunId, subject: undefined, tags: {}, idempotencyKey: "key-1", signal };
  return tool.execute(args, context);
}

describe("a request", () => {
  test("of a POST has the arguments as its JSON body, and the key in its header", async () => {
    answer = (response) => response.end('{"ok":[1]}');
    await expect(call("POST", "/pay?account=1", { amount: 5, to: { name: "é" } })).resolves.toEqual({ ok: [1] });
    expect(seen).toEqual([
      { method: "POST", url: "/pay?account=1", key: "key-1", body: '{"amount":5,"to":{"name":"é"}}' },
    ]);
  });

  test("of a GET has them in its query, beside what the pinned address says", async () => {
    answer = (response) => response.end("plain");
    await expect(call("GET", "/find?account=1", { q: "a&b=c", n: 2, list: ["x"] })).resolves.toBe("plain");
    expect(seen).toMatchObject([{ url: `/find?account=1&q=a%26b%3Dc&n=2&list=%5B%22x%22%5D`, key: "key-1", body: "" }]);
  });

  test.each(["account", "Account"])("never has the argument `%s` in place of what is pinned", async (name) => {
    await expect(call("GET", "/find?account=1", { [name]: "2" })).rejects.toBeInstanceOf(ToolError);
    expect(seen).toEqual([]);
  });

  test.each(["data:application/json,{}", "http://user:secret@127.0.0.1/", "nonsense"])(
    "is not made to %s",
    async (url) => {
      await expect(call("POST", url)).rejects.toSatisfy(
        (error) => error instanceof ToolError && !error.message.includes("secret"),
      );
    },
  );
});

describe("an answer", () => {
  // Known to have had no effect, or thrown as it is: then only calls that may be repeated are.
  test.each([
    [400, "tool_failed"],
    [401, "tool_failed"],
    [404, "tool_failed"],
    [422, "tool_failed"],
    [408, "http_408"],
    [409, "http_409"],
    [425, "http_425"],
    [429, "http_429"],
    [500, "http_500"],
    [503, "http_503"],
    [304, "http_304"],
  ])("of %i is %s", async (status, code) => {
    answer = (response) => response.writeHead(status).end();
    await expect(call("POST", "/")).rejects.toMatchObject({ code, message: `the service answered ${status}` });
    expect(seen).toHaveLength(1);
  });

  test.each([301, 302, 303, 307, 308])(
    "of %i is not followed: it is another address than the one decided on",
    async (status) => {
      answer = (response) => response.writeHead(status, { location: "/elsewhere" }).end();
      await expect(call("POST", "/")).rejects.toMatchObject({ code: `http_${status}` });
      expect(seen.map(({ url }) => url)).toEqual(["/"]);
    },
  );

  test("that refuses at endless length is still a refusal, and is not read", async () => {
    const closed = Promise.withResolvers<undefined>();
    answer = (response) => {
      response.writeHead(404);
      const pour = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(64 * 1024)));
      };
      response.on("drain", pour).on("close", () => closed.resolve(undefined));
      pour();
    };
    await expect(call("POST", "/")).rejects.toBeInstanceOf(ToolError);
    await closed.promise;
  });

  test("that is too long, or no text, says that the work was done", async () => {
    answer = (response) => response.end(Buffer.alloc(1024 * 1024 + 1, "a"));
    await expect(call("POST", "/")).rejects.toBeInstanceOf(ToolResultError);
    answer = (response) => response.end(Buffer.from([0x22, 0xff, 0x22]));
    await expect(call("POST", "/")).rejects.toBeInstanceOf(ToolResultError);
    answer = (response) => response.end(Buffer.alloc(1024 * 1024, "a"));
    await expect(call("POST", "/")).resolves.toHaveLength(1024 * 1024);
  });

  test("that never comes, or breaks off, is no refusal", async () => {
    const controller = new AbortController();
    answer = () => controller.abort(new Error("time is up"));
    await expect(call("POST", "/", {}, controller.signal)).rejects.toThrow("time is up");
    answer = (response) => {
      response.writeHead(200, { "content-length": "10" }).write("12345");
      setImmediate(() => response.destroy());
    };
    await expect(call("POST", "/")).rejects.not.toMatchObject({
      code: expect.stringMatching(/tool_failed|result_/) as string,
    });
  });
});
