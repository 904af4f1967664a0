import type { z } from "zod";

import { maxBodyBytes } from "./common.schema.ts";
import { ApiError, errorBody } from "./errors.ts";
import { isErrorCode } from "./error-codes.ts";
import { readEvents } from "./event-stream.ts";
import { routes } from "./routes.ts";
import type { CallOf, ResponseOf, Route, RouteName } from "./routes.ts";
import { backtestEvent } from "./policies.schema.ts";
import type { BacktestEvent } from "./policies.schema.ts";
import { watchEvent } from "./runs.schema.ts";
import type { WatchEvent } from "./runs.schema.ts";

export type ClientOptions = {
  readonly baseUrl: string;
  readonly token: string | undefined;
  /** For a whole answer; default 30 seconds. Streams have none, but must be heard of every 45 seconds. */
  readonly timeoutMs?: number;
};

type Calls = {
  readonly [Name in Exclude<RouteName, "watchRun" | "backtestPolicies">]: (
    call: CallOf<Name>,
  ) => Promise<ResponseOf<Name>>;
};

/** A function for each route, which throws `ApiError`, and the streams: a run's events, and a backtest's progress with its report. */
export type ApiClient = Calls & {
  watch(run: string, signal?: AbortSignal): AsyncGenerator<WatchEvent, void>;
  backtest(call: CallOf<"backtestPolicies">, signal?: AbortSignal): AsyncGenerator<BacktestEvent, void>;
};

type Parts = {
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly body?: unknown;
};

const defaultTimeoutMs = 30_000;
/** The server sends at least a comment every 15 seconds. */
const silenceMs = 45_000;

/** A client of the HTTP API at `baseUrl`. Nothing is sent before the first call. */
export function createClient(options: ClientOptions): ApiClient {
  const names = Object.keys(routes) as RouteName[];
  const calls = names.map((name) => [name, (parts: Parts = {}) => callRoute(options, routes[name], parts)] as const);
  const streams: Pick<ApiClient, "watch" | "backtest"> = {
    watch: (run, signal) =>
      readStream(options, routes.watchRun, { params: { run } }, watchEvent, "closed", signal, {
        message: "the server stopped sending before the run closed",
        hint: `watch again: countersign run watch ${run}`,
      }),
    backtest: (call, signal) =>
      readStream(options, routes.backtestPolicies, call, backtestEvent, "report", signal, {
        message: "the server stopped sending before the backtest was done",
        hint: "try again; with a later --since there is less to decide",
      }),
  };
  return { ...Object.fromEntries(calls), ...streams } as unknown as ApiClient;
}

async function callRoute(options: ClientOptions, route: Route, parts: Parts): Promise<unknown> {
  const signal = AbortSignal.timeout(options.timeoutMs ?? defaultTimeoutMs);
  const answer = await send(options, route, parts, signal);
  const body = await readJson(options, answer, signal);
  if (!answer.ok && answer.status !== route.unwell) throw refusal(answer, body);
  const parsed = route.response.safeParse(body);
  if (parsed.success) return parsed.data;
  throw malformed(options, `${route.method} ${route.path}`, parsed.error);
}

/** The events of a stream, up to the one of type `last`. */
async function* readStream<Event extends { readonly type: string }>(
  options: ClientOptions,
  route: Route,
  parts: Parts,
  schema: z.ZodType<Event>,
  last: Event["type"],
  signal: AbortSignal | undefined,
  broken: { readonly message: string; readonly hint: string },
): AsyncGenerator<Event, void> {
  const silence = new AbortController();
  const stop = AbortSignal.any([silence.signal, ...(signal === undefined ? [] : [signal])]);
  let timer = setTimeout(() => silence.abort(), silenceMs);
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(), silenceMs);
  };
  try {
    const answer = await send(options, route, parts, stop);
    if (!answer.ok) throw refusal(answer, await readJson(options, answer, stop));
    for await (const data of readEvents(answer, heard)) {
      const value = parseJson(data);
      if (errorBody.safeParse(value).success) throw refusal(answer, value);
      const parsed = schema.safeParse(value);
      if (!parsed.success) throw malformed(options, "the event stream", parsed.error);
      yield parsed.data;
      if (parsed.data.type === last) return;
    }
  } catch (error) {
    // Whoever stopped it knows; while there is no answer yet, it looks like a server that is silent.
    if (signal?.aborted === true) return;
    if (error instanceof ApiError) throw error;
    throw new ApiError("stream_broken", broken.message, { cause: error, hint: broken.hint });
  } finally {
    clearTimeout(timer);
  }
}

async function send(options: ClientOptions, route: Route, parts: Parts, signal: AbortSignal): Promise<Response> {
  const headers = headersOf(options, route, parts);
  const init: RequestInit = { method: route.method, headers, signal, redirect: "error" };
  if (parts.body !== undefined) {
    headers.set("content-type", "application/json");
    init.body = boundedBody(parts.body);
  }
  try {
    return await fetch(addressOf(options, route, parts), init);
  } catch (cause) {
    throw connectionError(options, cause, signal);
  }
}

/** What no header can carry would be refused by `fetch`, in words that hold it. A token is in no message. */
function headersOf({ token }: ClientOptions, route: Route, parts: Parts): Headers {
  const headers = new Headers({ accept: route.stream === true ? "text/event-stream" : "application/json" });
  if (token !== undefined) {
    if (!/^[\x21-\x7e]+$/.test(token)) {
      throw new ApiError("unauthenticated", "the token has spaces, line ends or letters that no token has", {
        hint: "give it as it was printed, on one line: --token, COUNTERSIGN_TOKEN or client.json",
      });
    }
    headers.set("authorization", `Bearer ${token}`);
  }
  for (const [name, value] of Object.entries(parts.headers ?? {})) {
    if (value === undefined) continue;
    if (!/^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(value))
      throw new ApiError("invalid_request", `the ${name} has characters other than printable ASCII, or is empty`);
    headers.set(name, value);
  }
  return headers;
}

/** A server that refuses a body before it has come whole closes the connection, and what arrives may be that alone. */
function boundedBody(body: unknown): string {
  const text = JSON.stringify(body);
  const length = Buffer.byteLength(text);
  if (length <= maxBodyBytes) return text;
  throw new ApiError("payload_too_large", `the request has ${length} bytes, at most ${maxBodyBytes} are taken`);
}

function addressOf(options: ClientOptions, route: Route, parts: Parts): URL {
  const path = route.path.replaceAll(/:([a-z]+)/g, (_, name: string) => segmentOf(name, parts.params?.[name] ?? ""));
  let url: URL;
  try {
    url = new URL(`${options.baseUrl.replace(/\/+$/, "")}${path}`);
  } catch (cause) {
    throw new ApiError("server_unreachable", `\`${options.baseUrl}\` is not a URL`, {
      cause,
      hint: "give one like http://127.0.0.1:7171",
    });
  }
  for (const [name, value] of Object.entries(parts.query ?? {}))
    if (value !== undefined) url.searchParams.set(name, `${value}`);
  return url;
}

/** One name of a path. URLs take dots for a step to another route, encoded or not, and nothing between slashes for no name. */
function segmentOf(name: string, value: string): string {
  if (value === "" || value === "." || value === "..")
    throw new ApiError("invalid_request", `\`${value}\` is no name of ${/^[aeiou]/.test(name) ? "an" : "a"} ${name}`);
  return encodeURIComponent(value);
}

function connectionError(options: ClientOptions, cause: unknown, signal: AbortSignal): ApiError {
  if (cause instanceof ApiError) return cause;
  if (signal.aborted) {
    return new ApiError(
      "timeout",
      `no answer from ${options.baseUrl} in ${(options.timeoutMs ?? defaultTimeoutMs) / 1000} s`,
      {
        cause,
        hint: "try again; `countersign doctor` looks at the server",
      },
    );
  }
  return new ApiError("server_unreachable", `no Countersign server answers at ${options.baseUrl}`, {
    cause,
    hint: "is `npm start` running? Another address goes into --url or COUNTERSIGN_URL",
  });
}

async function readJson(options: ClientOptions, answer: Response, signal: AbortSignal): Promise<unknown> {
  try {
    return parseJson(await answer.text());
  } catch (cause) {
    throw connectionError(options, cause, signal);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function refusal(answer: Response, body: unknown): ApiError {
  const parsed = errorBody.safeParse(body);
  if (!parsed.success || !isErrorCode(parsed.data.error.code)) {
    return new ApiError("answer_malformed", `status ${answer.status} without an error that this version knows`, {
      hint: "is this a Countersign server, of the same version?",
    });
  }
  const { code, message, hint } = parsed.data.error;
  return new ApiError(code, message, hint === undefined ? {} : { hint });
}

function malformed(options: ClientOptions, what: string, cause: unknown): ApiError {
  return new ApiError("answer_malformed", `the answer to ${what} is not what this version expects`, {
    cause,
    hint: `is ${options.baseUrl} a Countersign server of the same version?`,
  });
}
