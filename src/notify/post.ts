import { request as requestHttp } from "node:http";
import type { IncomingMessage } from "node:http";
import { request as requestHttps } from "node:https";

import type { AddressGuard } from "./addresses.ts";

/** No more of an answer is ever read. */
const maxAnswerBytes = 64 * 1024;

export type Posted = {
  readonly status: number;
  /** The answer's beginning, at most 64 KiB. */
  readonly body: string;
  /** Seconds that the receiver wants to be left alone; undefined where it does not say so. */
  readonly retryAfter: number | undefined;
};

/**
 * One POST, whole in `timeoutMs`: name, connection, answer. Redirects are answers like others: they are not followed. Each has a
 * connection of its own, so that none goes to an address that was checked for another name. Throws what Node throws, and
 * `address_refused`.
 */
export async function post(
  url: URL,
  body: string,
  headers: Readonly<Record<string, string>>,
  options: { readonly guard: AddressGuard; readonly timeoutMs: number; readonly now: Date },
): Promise<Posted> {
  options.guard.assertUrl(url);
  const signal = AbortSignal.timeout(options.timeoutMs);
  const bytes = Buffer.from(body, "utf8");
  const send = url.protocol === "https:" ? requestHttps : requestHttp;
  return new Promise((resolve, reject) => {
    const request = send(url, {
      method: "POST",
      headers: { "content-type": "application/json", "content-length": bytes.length, ...headers },
      agent: false,
      lookup: options.guard.lookup,
      signal,
    });
    request.once("error", (error) => reject(signal.aborted ? lateAfter(options.timeoutMs) : error));
    request.once("response", (answer) => {
      readStart(answer).then(
        (text) => {
          request.destroy();
          resolve({
            status: answer.statusCode ?? 0,
            body: text,
            retryAfter: secondsIn(answer.headers["retry-after"], options.now),
          });
        },
        (error: unknown) => reject(signal.aborted ? lateAfter(options.timeoutMs) : error),
      );
    });
    request.end(bytes);
  });
}

/** What is behind the first 64 KiB stays unread: the connection is closed. */
async function readStart(answer: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of answer as AsyncIterable<Buffer>) {
    pieces.push(piece);
    length += piece.length;
    if (length >= maxAnswerBytes) break;
  }
  return Buffer.concat(pieces).subarray(0, maxAnswerBytes).toString("utf8");
}

function lateAfter(timeoutMs: number): Error {
  return Object.assign(new Error(`no answer in ${timeoutMs / 1_000} s`), { code: "ETIMEDOUT" });
}

/** RFC 9110, 10.2.3: a number of seconds, or a date in the one form that is written today (5.6.7). */
export function secondsIn(header: string | undefined, now: Date): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d{1,6}$/.test(header)) return Number(header);
  if (!/^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/.test(header)) return undefined;
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, Math.ceil((at - now.getTime()) / 1_000));
}
