import { CodedError } from "../core/errors.ts";
import { noUsage } from "../core/money.ts";
import type { TokenUsage } from "../core/money.ts";

/**
 * What a call to a model server can end in, and whether the same call may do better later. The table is the default: a server that
 * says otherwise (`x-should-retry`), or a fault that a second try repeats, sets it on the error.
 */
export const providerErrors = {
  /** Too many requests, or too many tokens, in a while. */
  rate_limited: true,
  /** The server failed, or is overloaded. */
  server_error: true,
  /** No complete answer within the time given. */
  timeout: true,
  /** No connection, or one that broke before the answer began. */
  connection: true,
  /** The answer began, and ended before it was complete. */
  truncated_response: true,
  /** The answer is not a chat completion: not JSON, no choice, tokens not counted. */
  malformed_response: true,
  /** The answer is larger than what is kept. */
  response_too_large: false,
  /** The server refuses the request as it stands. */
  bad_request: false,
  /** The key is missing, wrong, or not allowed to do this. */
  auth: false,
  /** The server does not have the model (or the address has no such API). */
  model_not_found: false,
} as const satisfies Record<string, boolean>;

export type ProviderErrorCode = keyof typeof providerErrors;

const hints: Partial<Record<ProviderErrorCode, string>> = {
  rate_limited: "wait, lower the number of runs at once, or raise the account's limit",
  connection: "check that the model server runs and that the base URL names it",
  malformed_response: "check that the base URL names an OpenAI-compatible chat-completions API",
  auth: "check the API key and what its account may use",
  model_not_found: "check the model's name in the agent's release, and the base URL",
};

export type ProviderErrorOptions = {
  readonly retryable?: boolean;
  readonly retryAfterMs?: number | undefined;
  readonly hint?: string | undefined;
  readonly usage?: TokenUsage | undefined;
};

/**
 * A model call that gave no usable answer. It never has a `cause`: what lies beneath carries response bodies and headers, and errors
 * end up in histories, logs and the console.
 */
export class ProviderError extends CodedError<ProviderErrorCode> {
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;
  /** How long the server asks to wait before that, at most an hour. */
  readonly retryAfterMs: number | undefined;
  /** What the call took all the same. Undefined: nobody knows, and it may have been paid for. */
  readonly usage: TokenUsage | undefined;

  constructor(code: ProviderErrorCode, message: string, options: ProviderErrorOptions = {}) {
    const hint = options.hint ?? hints[code];
    super(code, message, hint === undefined ? {} : { hint });
    this.retryable = options.retryable ?? providerErrors[code];
    this.retryAfterMs = this.retryable ? options.retryAfterMs : undefined;
    this.usage = options.usage;
  }
}

/** A server that asks for more than this is taken to mean this: a typing error must not put a run to sleep for years. */
const maxRetryAfterMs = 60 * 60 * 1000;

/**
 * How long the server asks to wait, in milliseconds: `retry-after-ms`, or else `retry-after` (RFC 9110 §10.2.3: seconds, or a date,
 * which is counted from `now`, milliseconds since the epoch). Undefined where it does not say, or not in a form that can be read.
 */
export function retryAfterOf(headers: Headers, now: number): number | undefined {
  const milliseconds = decimal(headers.get("retry-after-ms"));
  if (milliseconds !== undefined) return Math.min(Math.ceil(milliseconds), maxRetryAfterMs);
  const text = headers.get("retry-after");
  const seconds = decimal(text);
  if (seconds !== undefined) return Math.min(Math.ceil(seconds * 1000), maxRetryAfterMs);
  const date = text === null ? Number.NaN : Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.min(Math.max(date - now, 0), maxRetryAfterMs);
}

function decimal(text: string | null): number | undefined {
  return text !== null && /^\d+(\.\d+)?$/.test(text.trim()) ? Number(text) : undefined;
}

/** What a failed HTTP answer gives away: its status, its headers, and the `code` of an OpenAI error object. */
export type ErrorAnswer = {
  readonly status: number;
  readonly headers: Headers;
  readonly errorCode?: string | undefined;
};

/** The error for an answer with a status that is not 2xx. Of the body, nothing but well-known codes is looked at. */
export function errorOfStatus(answer: ErrorAnswer, now: number): ProviderError {
  const code = codeOfStatus(answer.status);
  const retryAfterMs = retryAfterOf(answer.headers, now);
  const usage = isRefusal(answer.status) ? noUsage : undefined;
  const options = { ...knownReason(answer.errorCode), ...retryAdvice(answer.headers), retryAfterMs, usage };
  return new ProviderError(code, `model server answered with status ${answer.status}`, options);
}

/**
 * Whether the model was never asked: the request was refused (RFC 9110 §15.5), or not handled for the time being (503, and 529 of servers
 * that say so of their load). A proxy may have given up on a model that had begun to answer: any other failure may have been paid for.
 */
function isRefusal(status: number): boolean {
  return (status < 500 && status !== 408) || status === 503 || status === 529;
}

function codeOfStatus(status: number): ProviderErrorCode {
  if (status === 429) return "rate_limited";
  if (status === 408) return "timeout";
  if (status === 401 || status === 402 || status === 403) return "auth";
  if (status === 404) return "model_not_found";
  // A conflict is a lock that was not got in time, as OpenAI's own client treats it.
  if (status === 409 || status >= 500) return "server_error";
  return "bad_request";
}

function knownReason(errorCode: string | undefined): ProviderErrorOptions {
  switch (errorCode) {
    case "insufficient_quota":
      return { retryable: false, hint: "the account has no quota left: waiting does not help" };
    case "context_length_exceeded":
      return { hint: "the conversation is longer than the model's context: lower the steps, or choose another model" };
    case "model_not_found":
      return { hint: "check the model's name in the agent's release" };
    case "script_stuck":
      return { hint: "the scripted model's script has no turn for where the conversation stands" };
    case undefined:
    default:
      return {};
  }
}

function retryAdvice(headers: Headers): ProviderErrorOptions {
  const advice = headers.get("x-should-retry");
  return advice === "true" || advice === "false" ? { retryable: advice === "true" } : {};
}
