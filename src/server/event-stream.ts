import { finished } from "node:stream/promises";

import type { FastifyReply, FastifyRequest } from "fastify";

import type { WatchEvent } from "../api/index.ts";
import type { RunId } from "../core/ids.ts";
import { bodyOf } from "../api/index.ts";
import type { Services } from "./dependencies.ts";
import { asApiError } from "./errors.ts";
import { existingRun } from "./handlers/runs.ts";
import { callerIn } from "./auth.ts";
import { noteAuditorsRead } from "./note-read.ts";
import { watchRun } from "./watch-run.ts";

const heartbeatMs = 10_000;
/** A reader that is further behind is let go: it can come back, and starts from the record. */
const maxBacklogBytes = 4 * 1024 * 1024;

/** Answers with the run's events. A run that does not exist is refused before the stream begins. */
export async function streamRunEvents(
  services: Services,
  run: RunId,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  await noteAuditorsRead(services, await existingRun(services.pool, run), "events", callerIn(request));
  reply.hijack();
  const stream = sendEvents(services, run, request, reply);
  services.streams.add(stream);
  await stream.finally(() => services.streams.delete(stream));
}

async function sendEvents(
  services: Services,
  run: RunId,
  request: FastifyRequest,
  { raw }: FastifyReply,
): Promise<void> {
  raw.writeHead(200, {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
  });
  const gone = new AbortController();
  raw.once("close", () => gone.abort());
  raw.once("error", () => gone.abort());
  const write = (text: string) => {
    if (gone.signal.aborted) return;
    raw.write(text);
    if (raw.writableLength > maxBacklogBytes) gone.abort();
  };
  const heartbeat = setInterval(() => write(": still here\n\n"), heartbeatMs);
  const send = (event: WatchEvent) => write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
  write(": hello\n\n");
  try {
    await watchRun(services, run, send, AbortSignal.any([gone.signal, services.stopping]));
  } catch (error) {
    services.logger.warn({ err: error, run }, "a watch broke off");
    write(`event: error\ndata: ${JSON.stringify(bodyOf(asApiError(error, request.id)))}\n\n`);
  } finally {
    clearInterval(heartbeat);
    raw.end();
    await finished(raw).catch(() => undefined);
  }
}
