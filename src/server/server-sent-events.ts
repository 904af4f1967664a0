import { once } from "node:events";
import { finished } from "node:stream/promises";

import type { FastifyReply, FastifyRequest } from "fastify";

import { bodyOf } from "../api/index.ts";
import type { Services } from "./dependencies.ts";
import { asApiError } from "./errors.ts";

const heartbeatMs = 10_000;
/** A reader that is further behind, or takes nothing for as long, is let go: it can come back, and starts from the record. */
const maxBacklogBytes = 4 * 1024 * 1024;
const maxStallMs = 60_000;

/** Resolves when the caller can take more; who does not wait for it lets what is unread pile up. */
export type Send<Event> = (event: Event) => Promise<void>;
type Produce<Event> = (send: Send<Event>, signal: AbortSignal) => Promise<void>;

/**
 * Answers with what `produce` sends, as server-sent events (WHATWG HTML), until it is done. Its signal is aborted when the caller goes
 * away or the server stops. An error of it is the last event, unless nobody listens any more.
 */
export async function sendEvents<Event extends { readonly type: string }>(
  services: Services,
  request: FastifyRequest,
  reply: FastifyReply,
  produce: Produce<Event>,
): Promise<void> {
  reply.hijack();
  const stream = pour(services, request, reply, produce);
  services.streams.add(stream);
  await stream.finally(() => services.streams.delete(stream));
}

async function pour<Event extends { readonly type: string }>(
  services: Services,
  request: FastifyRequest,
  { raw }: FastifyReply,
  produce: Produce<Event>,
): Promise<void> {
  raw.writeHead(200, {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
  });
  const gone = new AbortController();
  raw.once("close", () => gone.abort());
  raw.once("error", () => gone.abort());
  // Gone before: nothing more is told of it.
  if (isGone(raw)) gone.abort();
  let draining: Promise<void> | undefined;
  const write = async (text: string) => {
    if (gone.signal.aborted) return;
    // Destroyed and not ended: that would wait for a reader who may never read on.
    if (raw.writableLength > maxBacklogBytes) raw.destroy();
    else if (!raw.write(text)) {
      draining ??= drained(raw, gone.signal).finally(() => (draining = undefined));
      await draining;
    }
  };
  const heartbeat = setInterval(() => void write(": still here\n\n"), heartbeatMs);
  const signal = AbortSignal.any([gone.signal, services.stopping]);
  void write(": hello\n\n");
  try {
    await produce((event) => write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`), signal);
  } catch (error) {
    if (!signal.aborted) {
      services.logger.warn({ err: error, path: request.routeOptions.url }, "a stream broke off");
      void write(`event: error\ndata: ${JSON.stringify(bodyOf(asApiError(error, request.id)))}\n\n`);
    }
  } finally {
    clearInterval(heartbeat);
    raw.end();
    if (!isGone(raw)) await finished(raw).catch(() => undefined);
  }
}

function isGone(raw: FastifyReply["raw"]): boolean {
  return raw.closed || raw.destroyed || raw.socket?.destroyed === true;
}

async function drained(raw: FastifyReply["raw"], gone: AbortSignal): Promise<void> {
  const stalled = AbortSignal.timeout(maxStallMs);
  await once(raw, "drain", { signal: AbortSignal.any([gone, stalled]) }).catch(() => undefined);
  if (stalled.aborted) raw.destroy();
}
