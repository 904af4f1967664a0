import OpenAI, { APIConnectionError, APIConnectionTimeoutError, APIError } from "openai";

import type { ModelAnswer } from "./answer.schema.ts";
import { answerOf } from "./answer.schema.ts";
import type { ModelDelta } from "./chat-stream.ts";
import { assembleStream } from "./chat-stream.ts";
import { errorOfStatus, ProviderError } from "./errors.ts";
import { noUsage } from "../core/money.ts";
import type { ModelRequest, OutputLimitField } from "./model-request.ts";
import { requestBody } from "./model-request.ts";
import { readEvents, readJson, readText } from "./response-body.ts";

export type ModelProviderOptions = {
  /** Where `/chat/completions` lies: `https://api.openai.com/v1`, or any server that speaks the same protocol. */
  readonly baseUrl: string;
  readonly apiKey: string;
  /** For one whole call, the last token included. Node's own limits of five minutes without a byte hold as well. */
  readonly timeoutMs: number;
  /** The most that one answer may take. Defaults to 4 MiB: an answer is kept whole, next to the rest of its step. */
  readonly maxAnswerBytes?: number;
  /** Defaults to `max_completion_tokens`. */
  readonly outputLimitField?: OutputLimitField;
};

export type CompleteOptions = {
  /** Once it aborts, the call rejects with the signal's reason, and the connection is closed. */
  readonly signal: AbortSignal;
  /** Asks for a stream, and is told each piece. The answer is the same. */
  readonly onDelta?: (delta: ModelDelta) => void;
};

export type ModelProvider = {
  /**
   * Asks once: no retry, which is the caller's (a retry inside would be a call that no policy saw). Throws ProviderError.
   * Tool-call arguments are the model's text, unparsed.
   */
  complete(request: ModelRequest, options: CompleteOptions): Promise<ModelAnswer>;
};

const defaultMaxAnswerBytes = 4 * 1024 * 1024;
/** A streamed token of four bytes comes in an event of some two hundred. */
const streamOverhead = 64;
const maxErrorBytes = 64 * 1024;

/** A model behind any server that speaks OpenAI's chat-completions protocol. Throws `auth` for a key that no header can carry. */
export function createModelProvider(options: ModelProviderOptions): ModelProvider {
  // Fetch would name the whole key in its error.
  if (!/^[\x21-\x7e]+$/.test(options.apiKey))
    throw new ProviderError("auth", "api key is empty or has characters that no header can carry");
  const client = createClient(options);
  return { complete: (request, completeOptions) => complete(client, options, request, completeOptions) };
}

/** Accounts are not taken from the environment: where contents go must be seen in the configuration. */
function createClient(options: ModelProviderOptions): OpenAI {
  return new OpenAI({
    baseURL: options.baseUrl,
    apiKey: options.apiKey,
    adminAPIKey: null,
    organization: null,
    project: null,
    webhookSecret: null,
    maxRetries: 0,
    // Only a backstop: its clock stops at the headers, ours at the last byte.
    timeout: options.timeoutMs + 1_000,
    // Its log has bodies and headers.
    logLevel: "off",
    // A redirect would take the conversation to an address that nobody configured.
    fetchOptions: { redirect: "manual" },
    fetch: fetchWithShortErrors,
  });
}

/** The client reads the body of a failed answer whole, however long; an OpenAI error object is short. */
async function fetchWithShortErrors(input: string | URL | Request, init?: RequestInit): Promise<Response> {
  const response = await fetch(input, init);
  if (response.ok) return response;
  const text = await readText(response, maxErrorBytes).catch(() => "");
  // A Response of one's own cannot have the statuses without a body (304 among them) unless it is null.
  return new Response(text === "" ? null : text, { status: response.status, headers: response.headers });
}

async function complete(
  client: OpenAI,
  options: ModelProviderOptions,
  request: ModelRequest,
  call: CompleteOptions,
): Promise<ModelAnswer> {
  const deadline = AbortSignal.timeout(options.timeoutMs);
  const signal = AbortSignal.any([call.signal, deadline]);
  try {
    signal.throwIfAborted();
    return answerOf(await ask(client, options, request, { ...call, signal }));
  } catch (error) {
    call.signal.throwIfAborted();
    if (deadline.aborted)
      throw new ProviderError("timeout", `model server did not answer within ${options.timeoutMs} ms`);
    throw providerErrorOf(error);
  }
}

/** The completion as the server's JSON, not yet checked. */
async function ask(
  client: OpenAI,
  options: ModelProviderOptions,
  request: ModelRequest,
  call: CompleteOptions,
): Promise<unknown> {
  const body = requestBody(request, options.outputLimitField ?? "max_completion_tokens");
  const maxBytes = options.maxAnswerBytes ?? defaultMaxAnswerBytes;
  const { signal, onDelta } = call;
  if (onDelta === undefined) {
    return readJson(
      await client.chat.completions.create({ ...body, stream: false }, { signal }).asResponse(),
      maxBytes,
    );
  }
  const streaming = { ...body, stream: true, stream_options: { include_usage: true } } as const;
  const response = await client.chat.completions.create(streaming, { signal }).asResponse();
  // A server that cannot stream may answer in one piece.
  if (!(response.headers.get("content-type") ?? "").includes("text/event-stream")) return readJson(response, maxBytes);
  return assembleStream(readEvents(response, maxBytes * streamOverhead), { maxBytes, onDelta });
}

function providerErrorOf(error: unknown): ProviderError {
  if (error instanceof ProviderError) return error;
  if (error instanceof APIConnectionTimeoutError)
    return new ProviderError("timeout", "model server did not answer in time");
  if (error instanceof APIConnectionError) return connectionError(error);
  if (error instanceof APIError && typeof error.status === "number") {
    return errorOfStatus(
      { status: error.status, headers: error.headers ?? new Headers(), errorCode: error.code ?? undefined },
      Date.now(),
    );
  }
  return new ProviderError("connection", "call to the model server failed");
}

function connectionError(error: APIConnectionError): ProviderError {
  const code = systemCodeOf(error);
  const usage = code !== undefined && (neverSent.has(code) || code.includes("CERT")) ? noUsage : undefined;
  return new ProviderError("connection", `no connection to the model server${code === undefined ? "" : `: ${code}`}`, {
    usage,
  });
}

/** There was no connection that the request could have gone over. One that broke may have carried it. */
const neverSent: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "ENETUNREACH",
  "EHOSTUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
]);

/** The system's name of the failure, such as ECONNREFUSED, from wherever in the chain of causes it is. */
function systemCodeOf(error: unknown): string | undefined {
  let current: unknown = error;
  for (let depth = 0; depth < 5 && current instanceof Error; depth += 1) {
    if ("code" in current && typeof current.code === "string" && /^[A-Z][A-Z_0-9]{2,40}$/.test(current.code))
      return current.code;
    current = current.cause;
  }
  return undefined;
}
