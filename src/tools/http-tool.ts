import { request as requestHttp } from "node:http";
import type { IncomingMessage } from "node:http";
import { request as requestHttps } from "node:https";

import { CodedError } from "../core/errors.ts";
import type { Json, JsonObject } from "../core/json.ts";
import type { Callable } from "../core/retrieval.ts";
import { ToolError, ToolResultError } from "./define-tool.ts";
import type { Tool, ToolContext } from "./define-tool.ts";
import { assertReachable, guardedLookup } from "./reach.ts";

/** The longest answer of an HTTP tool that is read, in bytes. */
const maxAnswerBytes = 1024 * 1024;

/** An answer after which nobody knows whether the call had an effect. `code` is `http_` and the status, such as `http_503`. */
class HttpAnswerError extends CodedError<`http_${number}`> {}

/**
 * 4xx means that the call was refused and had no effect, except for these, which are thrown as they are, so that only calls that may
 * be repeated are: 408, 425 and 429 ask for the call to be made again, and proxies answer so too, after they sent it on; 409 is also
 * what services answer to a key whose first call is still under way, or is done.
 */
const unclearStatuses: ReadonlySet<number> = new Set([408, 409, 425, 429]);

/**
 * A tool that is an HTTP call: arguments in the query of a GET, or as a JSON body. Refusals (see `unclearStatuses`) are a `ToolError`;
 * 5xx, redirects, time-outs and broken connections may have had an effect, and are thrown as they are. Redirects are not followed: the
 * pinned URL is what was decided on. A 2xx whose body is no use is a `ToolResultError`. Where the address is of none that tools are for
 * (see `reach.ts`), nothing is sent.
 */
export function httpTool(definition: Callable): Tool {
  const { implementation, ...rest } = definition;
  if (implementation.kind !== "http") throw new ToolError(`tool \`${definition.name}\` is not an HTTP tool`);
  return {
    definition: rest,
    async execute(args, context) {
      const answer = await send(implementation.method, implementation.url, args, context);
      const status = answer.statusCode ?? 0;
      if (status >= 200 && status < 300) return parseAnswer(await readBounded(answer));
      // Nothing of it is read, however long it is.
      answer.destroy();
      throw failureOf(status);
    },
  };
}

function failureOf(status: number): Error {
  const message = `the service answered ${status}`;
  const refused = status >= 400 && status < 500 && !unclearStatuses.has(status);
  return refused ? new ToolError(message) : new HttpAnswerError(`http_${status}`, message);
}

/**
 * Each call has a connection of its own: none goes to an address that was looked at for another name, and none is found closed only after
 * something was sent on it.
 */
async function send(
  method: "GET" | "POST" | "PUT" | "DELETE",
  address: string,
  args: JsonObject,
  { idempotencyKey, signal }: ToolContext,
): Promise<IncomingMessage> {
  const url = pinnedUrl(address);
  assertReachable(url);
  const body = method === "GET" ? undefined : Buffer.from(JSON.stringify(args));
  if (body === undefined) addToQuery(url.searchParams, args);
  const headers = {
    accept: "application/json",
    "user-agent": "countersign",
    "idempotency-key": idempotencyKey,
    ...(body === undefined ? {} : { "content-type": "application/json", "content-length": body.length }),
  };
  return new Promise((resolve, reject) => {
    const request = url.protocol === "https:" ? requestHttps : requestHttp;
    const sent = request(url, { method, headers, signal, agent: false, lookup: guardedLookup }, resolve);
    sent.once("error", (error) => reject(signal.aborted ? (signal.reason as Error) : error));
    sent.end(body);
  });
}

function pinnedUrl(address: string): URL {
  const url = URL.parse(address);
  if (url === null || !["http:", "https:"].includes(url.protocol) || url.username !== "" || url.password !== "") {
    throw new ToolError("the tool's address is not an http or https URL without a user name");
  }
  return url;
}

/** What the URL says itself is pinned: an argument of that name would be another address than the one decided on. */
function addToQuery(query: URLSearchParams, args: JsonObject): void {
  const taken = new Set([...query.keys()].map((name) => name.toLowerCase()));
  for (const [name, value] of Object.entries(args)) {
    if (taken.has(name.toLowerCase()))
      throw new ToolError("an argument has the name of a parameter of the tool's address");
    query.append(name, typeof value === "string" ? value : JSON.stringify(value));
  }
}

async function readBounded(answer: IncomingMessage): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > maxAnswerBytes) {
      throw new ToolResultError(`the service did its work, but answered more than ${maxAnswerBytes} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** JSON where it is JSON, else the text. */
function parseAnswer(bytes: Uint8Array): Json {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new ToolResultError("the service did its work, but its answer is not UTF-8 text");
  }
  try {
    return JSON.parse(text) as Json;
  } catch {
    return text;
  }
}
