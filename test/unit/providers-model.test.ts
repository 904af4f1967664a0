import { createServer } from "node:http";
import type { ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { retryAfterOf } from "../../src/providers/errors.ts";
import {
  createModelProvider,
  defineScript,
  ProviderError,
  scriptSource,
  startScriptedModel,
} from "../../src/providers/index.ts";
import type {
  ModelDelta,
  ModelProviderOptions,
  ModelRequest,
  ScriptedModel,
  ScriptInput,
} from "../../src/providers/index.ts";

const apiKey = "sk-secret-in-header";
const secret = "prompt-that-must-not-leak";

type ScriptedTurn = ScriptInput["branches"][number]["turns"][number];

const faults: Readonly<Record<string, ScriptedTurn>> = {
  plain: { text: "All is well — ça va, 你好 👋, and some more text to make pieces of." },
  calls: {
    text: "Looking.",
    calls: [
      { tool: "look", arguments: { id: "ü-1" } },
      { tool: "look", arguments: { id: "ü-2", deep: { list: [1, null] } } },
    ],
  },
  "bad-arguments": { calls: [{ tool: "look", argumentsText: '{"id": "unfinis' }] },
  "invented-tool": { calls: [{ tool: "rm_rf", arguments: {} }] },
  "rate-limited": { text: "-", fault: { kind: "status", status: 429, headers: { "retry-after": "7" } } },
  "rate-limited-ms": {
    text: "-",
    fault: { kind: "status", status: 429, headers: { "retry-after-ms": "250.5", "retry-after": "7" } },
  },
  "no-quota": {
    text: "-",
    fault: { kind: "status", status: 429, errorCode: "insufficient_quota", headers: { "retry-after": "7" } },
  },
  "server-error": { text: "-", fault: { kind: "status", status: 500 } },
  "server-says-never": { text: "-", fault: { kind: "status", status: 503, headers: { "x-should-retry": "false" } } },
  "server-says-again": {
    text: "-",
    fault: { kind: "status", status: 400, headers: { "x-should-retry": "true", "retry-after": "1" } },
  },
  "request-timeout": { text: "-", fault: { kind: "status", status: 408 } },
  conflict: { text: "-", fault: { kind: "status", status: 409 } },
  forbidden: { text: "-", fault: { kind: "status", status: 403 } },
  "too-long": { text: "-", fault: { kind: "status", status: 400, errorCode: "context_length_exceeded" } },
  redirect: {
    text: "-",
    fault: { kind: "status", status: 307, headers: { location: "http://127.0.0.1:9/v1/chat/completions" } },
  },
  "html-200": { text: "-", fault: { kind: "html" } },
  "html-502": { text: "-", fault: { kind: "html", status: 502 } },
  "malformed-json": { text: "Some text that is cut.", fault: { kind: "malformed_json" } },
  "empty-choices": { text: "-", fault: { kind: "empty_choices" } },
  "missing-usage": { text: "Free of charge?", fault: { kind: "missing_usage" } },
  truncated: { text: "This answer will never be complete, alas.", fault: { kind: "truncated" } },
  oversized: { text: "-", fault: { kind: "oversized", bytes: 40_000 } },
  disconnect: { text: "-", fault: { kind: "disconnect" } },
  hang: { text: "-", fault: { kind: "hang" } },
  "cached-over-input": { text: "-", usage: { input: 10, cachedInput: 11, output: 1 } },
  "reasoning-over-output": { text: "-", usage: { input: 10, output: 1, reasoning: 2 } },
  "negative-usage": { text: "-", usage: { input: -1, output: 1 } },
  counted: { text: "-", usage: { input: 100, cachedInput: 60, output: 50, reasoning: 40 } },
  "first-two": { text: "Third time lucky.", fault: { kind: "status", status: 500, first: 2 } },
  slow: { text: "One piece after another, each after a while, for quite some time.", delayMs: 40 },
};

let model: ScriptedModel;

beforeAll(async () => {
  const branches = Object.entries(faults).map(([name, turn]) => ({ name, when: `^${name}$`, turns: [turn] }));
  const script = defineScript({ v: 1, model: "scripted/faults", branches });
  model = await startScriptedModel({ scripts: [scriptSource([script])], apiKey });
});
afterAll(() => model.close());

function request(input: string, change: Partial<ModelRequest> = {}): ModelRequest {
  return {
    model: "scripted/faults",
    messages: [
      { role: "system", content: secret },
      { role: "user", content: input },
    ],
    tools: [
      { name: "look", description: "Looks.", parameters: { type: "object", properties: { id: { type: "string" } } } },
    ],
    maxOutputTokens: 100,
    ...change,
  };
}

type Mode = "whole" | "stream";
const modes: readonly Mode[] = ["whole", "stream"];

function ask(
  input: string,
  mode: Mode,
  options: Partial<ModelProviderOptions> = {},
  change: Partial<ModelRequest> = {},
  signal = new AbortController().signal,
) {
  const provider = createModelProvider({
    baseUrl: model.url,
    apiKey,
    timeoutMs: 5_000,
    maxAnswerBytes: 20_000,
    ...options,
  });
  return provider.complete(
    request(input, change),
    mode === "stream" ? { signal, onDelta: () => undefined } : { signal },
  );
}

async function failureOf(promise: Promise<unknown>): Promise<ProviderError> {
  const error = await promise.then(
    () => new Error("expected a failure, got an answer"),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ProviderError);
  return error as ProviderError;
}

const failures: [input: string, code: string, retryable: boolean, retryAfterMs?: number][] = [
  ["rate-limited", "rate_limited", true, 7_000],
  ["rate-limited-ms", "rate_limited", true, 251],
  ["no-quota", "rate_limited", false],
  ["server-error", "server_error", true],
  ["server-says-never", "server_error", false],
  ["server-says-again", "bad_request", true, 1_000],
  ["request-timeout", "timeout", true],
  ["conflict", "server_error", true],
  ["forbidden", "auth", false],
  ["too-long", "bad_request", false],
  ["redirect", "bad_request", false],
  ["html-200", "malformed_response", true],
  ["html-502", "server_error", true],
  ["malformed-json", "malformed_response", true],
  ["missing-usage", "malformed_response", false],
  ["cached-over-input", "malformed_response", false],
  ["reasoning-over-output", "malformed_response", false],
  ["negative-usage", "malformed_response", false],
  ["truncated", "truncated_response", true],
  ["oversized", "response_too_large", false],
  ["disconnect", "connection", true],
];

describe.each(modes)("a failed call (%s)", (mode) => {
  test.each(failures)("%s is %s, retryable: %s", async (input, code, retryable, retryAfterMs) => {
    const error = await failureOf(ask(input, mode));
    expect({ code: error.code, retryable: error.retryable, retryAfterMs: error.retryAfterMs }).toEqual({
      code,
      retryable,
      retryAfterMs,
    });
    expectNoContents(error);
  });

  test("an answer without choices is refused", async () => {
    const error = await failureOf(ask("empty-choices", mode));
    // A stream without any choice is one that stopped before its end.
    expect(error.code).toBe(mode === "stream" ? "truncated_response" : "malformed_response");
  });

  test("a server that does not answer is a timeout, also within an answer", async () => {
    expect((await failureOf(ask("hang", mode, { timeoutMs: 100 }))).code).toBe("timeout");
    expect((await failureOf(ask("slow", mode, { timeoutMs: 100 }))).code).toBe("timeout");
  });

  test("nobody listening is a connection error that names the system's reason", async () => {
    const gone = await startScriptedModel({ scripts: [] });
    await gone.close();
    const error = await failureOf(ask("plain", mode, { baseUrl: gone.url }));
    expect([error.code, error.message]).toEqual(["connection", "no connection to the model server: ECONNREFUSED"]);
  });

  test("an unknown model, a wrong key, and a request that the server refuses", async () => {
    expect((await failureOf(ask("plain", mode, {}, { model: "scripted/none" }))).code).toBe("model_not_found");
    const refused = await failureOf(ask("plain", mode, { apiKey: "sk-another-secret" }));
    expect(refused.code).toBe("auth");
    expectNoContents(refused);
    expect((await failureOf(ask("plain", mode, {}, { messages: [] }))).code).toBe("bad_request");
  });

  test("cancelling rejects with the signal's reason, before and within the answer", async () => {
    const reason = new Error("the run was cancelled");
    await expect(ask("plain", mode, {}, {}, AbortSignal.abort(reason))).rejects.toBe(reason);
    const controller = new AbortController();
    const call = ask("slow", mode, {}, {}, controller.signal);
    setTimeout(() => controller.abort(reason), 60);
    await expect(call).rejects.toBe(reason);
  });

  test("a fault of the first two requests is gone at the third, and there again for the next conversation", async () => {
    for (const _ of [1, 2]) {
      expect((await failureOf(ask("first-two", mode))).code).toBe("server_error");
      expect((await failureOf(ask("first-two", mode))).code).toBe("server_error");
      expect((await ask("first-two", mode)).content).toBe("Third time lucky.");
    }
  });
});

function expectNoContents(error: ProviderError): void {
  expect(error.cause).toBeUndefined();
  for (const text of [error.message, error.hint ?? "", error.stack ?? ""]) {
    expect(text).not.toContain(secret);
    expect(text).not.toContain("sk-");
    expect(text).not.toContain("Bad gateway");
    expect(text).not.toContain("a scripted fault");
  }
}

test("a key that no header can carry is refused without being named", () => {
  expect(() => createModelProvider({ baseUrl: model.url, apiKey: "sk-secret\n", timeoutMs: 1 })).toThrow(
    "no header can carry",
  );
});

describe("an answer", () => {
  test.each(["plain", "calls", "bad-arguments", "invented-tool", "counted", "slow"])(
    "%s is the same streamed and in one piece",
    async (input) => {
      expect(await ask(input, "stream")).toEqual(await ask(input, "whole"));
    },
  );

  test("the deltas of a stream add up to it", async () => {
    const deltas: ModelDelta[] = [];
    const provider = createModelProvider({ baseUrl: model.url, apiKey, timeoutMs: 5_000 });
    const answer = await provider.complete(request("calls"), {
      signal: new AbortController().signal,
      onDelta: (delta) => void deltas.push(delta),
    });
    expect(deltas.flatMap((delta) => (delta.kind === "text" ? [delta.text] : [])).join("")).toBe(answer.content);
    const second = deltas
      .flatMap((delta) => (delta.kind === "tool_call" && delta.index === 1 ? [delta.argumentsText] : []))
      .join("");
    expect(second).toBe(answer.toolCalls[1]?.arguments);
    expect(deltas.length).toBeGreaterThan(4);
  });

  test("tool calls come in order, with ids of their own and arguments as text", async () => {
    const answer = await ask("calls", "whole");
    expect(answer.finishReason).toBe("tool_calls");
    expect(answer.toolCalls.map(({ name, arguments: text }) => [name, text])).toEqual([
      ["look", '{"id":"ü-1"}'],
      ["look", '{"id":"ü-2","deep":{"list":[1,null]}}'],
    ]);
    expect(new Set(answer.toolCalls.map((call) => call.id)).size).toBe(2);
    expect((await ask("bad-arguments", "whole")).toolCalls[0]?.arguments).toBe('{"id": "unfinis');
  });

  test("usage is mapped as it is counted", async () => {
    expect((await ask("counted", "whole")).usage).toEqual({ input: 100, cachedInput: 60, output: 50, reasoning: 40 });
  });

  test("an answer that reaches the limit says so", async () => {
    const answer = await ask("plain", "whole", {}, { maxOutputTokens: 3 });
    expect(answer).toMatchObject({ content: "All is well ", finishReason: "length", usage: { output: 3 } });
  });
});

/** A server that answers what it is told to, and keeps what it was asked. */
async function withServer<Result>(
  answer: (response: ServerResponse) => void,
  work: (url: string, asked: () => unknown) => Promise<Result>,
): Promise<Result> {
  let body = "";
  const server = createServer((incoming, response) => {
    incoming.on("data", (chunk: Buffer) => (body += chunk.toString()));
    incoming.on("end", () => answer(response));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    return await work(`http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, () => JSON.parse(body));
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

const usage = { prompt_tokens: 1, completion_tokens: 1 };

function json(value: unknown) {
  return (response: ServerResponse) =>
    void response.setHeader("content-type", "application/json").end(JSON.stringify(value));
}

describe("against other servers", () => {
  test("the request has tools, the limit, the output schema and the conversation in OpenAI's form", async () => {
    const completion = { choices: [{ message: { content: "ok" }, finish_reason: "stop" }], usage };
    const asked = await withServer(json(completion), async (baseUrl, body) => {
      const messages: ModelRequest["messages"] = [
        { role: "user", content: "hello" },
        { role: "assistant", content: "", toolCalls: [{ id: "c1", name: "look", arguments: "not json" }] },
        { role: "tool", callId: "c1", content: "seen" },
      ];
      await ask("", "whole", { baseUrl }, { messages, temperature: 0, output: { type: "object" } });
      return body();
    });
    expect(asked).toEqual({
      model: "scripted/faults",
      messages: [
        { role: "user", content: "hello" },
        {
          role: "assistant",
          content: null,
          tool_calls: [{ id: "c1", type: "function", function: { name: "look", arguments: "not json" } }],
        },
        { role: "tool", tool_call_id: "c1", content: "seen" },
      ],
      max_completion_tokens: 100,
      temperature: 0,
      tools: [
        {
          type: "function",
          function: {
            name: "look",
            description: "Looks.",
            parameters: { type: "object", properties: { id: { type: "string" } } },
          },
        },
      ],
      parallel_tool_calls: true,
      response_format: { type: "json_schema", json_schema: { name: "answer", schema: { type: "object" } } },
      stream: false,
    });
  });

  test.each([
    ["two calls of one id", { tool_calls: [call("a"), call("a")] }, "tool_calls"],
    ["tool calls announced and missing", { content: "" }, "tool_calls"],
    [
      "arguments that are not text",
      { tool_calls: [{ id: "a", function: { name: "look", arguments: {} } }] },
      "tool_calls",
    ],
    ["no finish reason", { content: "x" }, null],
  ])("%s is malformed", async (_, message, finish_reason) => {
    const error = await withServer(json({ choices: [{ message, finish_reason }], usage }), (baseUrl) =>
      failureOf(ask("", "whole", { baseUrl })),
    );
    expect(error.code).toBe("malformed_response");
  });

  test("a refusal is a filtered answer, and `stop` after tool calls is `tool_calls`", async () => {
    const refusal = { choices: [{ message: { content: null, refusal: "I will not." }, finish_reason: "stop" }], usage };
    expect(await withServer(json(refusal), (baseUrl) => ask("", "whole", { baseUrl }))).toMatchObject({
      content: "I will not.",
      finishReason: "content_filter",
    });
    const calls = { choices: [{ message: { tool_calls: [call("a")] }, finish_reason: "stop" }], usage };
    expect(await withServer(json(calls), (baseUrl) => ask("", "whole", { baseUrl }))).toMatchObject({
      finishReason: "tool_calls",
    });
  });

  test("a server that answers a stream request in one piece is understood; an error within a stream is one", async () => {
    const completion = { choices: [{ message: { content: "ok" }, finish_reason: "stop" }], usage };
    expect((await withServer(json(completion), (baseUrl) => ask("", "stream", { baseUrl }))).content).toBe("ok");
    const broken = (response: ServerResponse) =>
      void response.setHeader("content-type", "text/event-stream").end(`data: {"error":{"message":"${secret}"}}\n\n`);
    const error = await withServer(broken, (baseUrl) => failureOf(ask("", "stream", { baseUrl })));
    expect(error.code).toBe("server_error");
    expectNoContents(error);
  });

  test("a failed answer of any length is read only as far as an error object goes", async () => {
    const endless = (response: ServerResponse) => {
      response.writeHead(500, { "content-type": "application/json" });
      const more = () => {
        while (!response.destroyed && response.write("x".repeat(65_536)));
        if (!response.destroyed) response.once("drain", more);
      };
      more();
    };
    expect((await withServer(endless, (baseUrl) => failureOf(ask("", "whole", { baseUrl })))).code).toBe(
      "server_error",
    );
  });
});

function call(id: string) {
  return { id, type: "function", function: { name: "look", arguments: "{}" } };
}

test.each([
  [{ "retry-after": "Wed, 21 Oct 2026 07:28:30 GMT" }, 30_000],
  [{ "retry-after": "Wed, 21 Oct 2026 07:27:00 GMT" }, 0],
  [{ "retry-after": "1.5" }, 1_500],
  [{ "retry-after": "99999999" }, 3_600_000],
  [{ "retry-after-ms": "-3", "retry-after": "2" }, 2_000],
  [{ "retry-after": "soon" }, undefined],
  [{}, undefined],
])("%o means %s ms", (headers, expected) => {
  expect(retryAfterOf(new Headers(headers), Date.parse("2026-10-21T07:28:00Z"))).toBe(expected);
});
