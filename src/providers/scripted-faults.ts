import type { ServerResponse } from "node:http";

import type { Fault } from "./script.schema.ts";
import type { ChatRequest, WireAnswer } from "./scripted-wire.ts";
import { chunksJson, completionJson, errorJson } from "./scripted-wire.ts";

/** How an answer leaves: as it should, or as the fault wants it. */
export type Sending = {
  readonly request: ChatRequest;
  readonly answer: WireAnswer;
  readonly delayMs: number;
  readonly fault: Fault | undefined;
};

/** Counts how often a fault has been met at one point of one conversation. */
export class FaultCounter {
  readonly #met = new Map<string, number>();

  /** The fault, if it strikes now. After `first` times one request passes, and the count begins anew. */
  strike(key: string, fault: Fault | undefined): Fault | undefined {
    if (fault?.first === undefined) return fault;
    const met = this.#met.get(key) ?? 0;
    if (met >= fault.first) {
      this.#met.delete(key);
      return undefined;
    }
    this.#met.set(key, met + 1);
    return fault;
  }
}

export async function send(response: ServerResponse, sending: Sending): Promise<void> {
  switch (sending.fault?.kind) {
    case "status":
      return sendJson(
        response,
        sending.fault.status,
        errorJson("scripted_fault", sending.fault.errorCode ?? null, "a scripted fault"),
        sending.fault.headers,
      );
    case "html":
      return sendText(
        response,
        sending.fault.status,
        "text/html",
        "<!doctype html><title>Bad gateway</title><h1>Bad gateway</h1>",
      );
    case "disconnect":
      response.destroy();
      return;
    case "hang":
      return;
    case "malformed_json":
    case "empty_choices":
    case "missing_usage":
    case "truncated":
    case "oversized":
    case undefined:
      return sending.request.stream === true ? sendStream(response, sending) : sendWhole(response, sending);
  }
}

export function sendJson(
  response: ServerResponse,
  status: number,
  body: object,
  headers: Readonly<Record<string, string>> = {},
): void {
  sendText(response, status, "application/json", JSON.stringify(body), headers);
}

function sendText(
  response: ServerResponse,
  status: number,
  type: string,
  body: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, {
    "content-type": `${type}; charset=utf-8`,
    "content-length": Buffer.byteLength(body),
    ...headers,
  });
  response.end(body);
}

function distorted(sending: Sending): WireAnswer {
  return sending.fault?.kind === "oversized"
    ? { ...sending.answer, content: "x".repeat(sending.fault.bytes), calls: [], finishReason: "stop" }
    : sending.answer;
}

async function sendWhole(response: ServerResponse, sending: Sending): Promise<void> {
  const answer = distorted(sending);
  if (sending.delayMs > 0) await pause(sending.delayMs * chunksJson(answer, false).length, response);
  const { usage, choices, ...rest } = completionJson(answer);
  const body = JSON.stringify({
    ...rest,
    choices: sending.fault?.kind === "empty_choices" ? [] : choices,
    ...(sending.fault?.kind === "missing_usage" ? {} : { usage }),
  });
  const half = body.slice(0, Math.floor(body.length / 2));
  if (sending.fault?.kind === "malformed_json") return sendText(response, 200, "application/json", half);
  if (sending.fault?.kind !== "truncated") return sendText(response, 200, "application/json", body);
  response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
  response.write(half, () => response.destroy());
}

async function sendStream(response: ServerResponse, sending: Sending): Promise<void> {
  const { request, delayMs, fault } = sending;
  const includeUsage = request.stream_options?.include_usage === true && fault?.kind !== "missing_usage";
  const all = chunksJson(distorted(sending), includeUsage).map((chunk) =>
    fault?.kind === "empty_choices" ? { ...chunk, choices: [] } : chunk,
  );
  response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" });
  const count =
    fault?.kind === "truncated" || fault?.kind === "malformed_json" ? Math.ceil(all.length / 2) : all.length;
  for (const chunk of all.slice(0, count)) {
    if (delayMs > 0) await pause(delayMs, response);
    if (response.destroyed) return;
    response.write(`data: ${JSON.stringify(chunk)}\n\n`);
  }
  if (fault?.kind === "malformed_json") response.write('data: {"id": "chatcmpl-\n\n');
  response.end(fault?.kind === "truncated" ? undefined : "data: [DONE]\n\n");
}

/** Ends early where the client leaves. */
function pause(ms: number, response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const finish = () => {
      clearTimeout(timer);
      response.off("close", finish);
      resolve();
    };
    const timer = setTimeout(finish, ms);
    response.once("close", finish);
  });
}
