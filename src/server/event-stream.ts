import type { FastifyReply, FastifyRequest } from "fastify";

import type { WatchEvent } from "../api/index.ts";
import type { RunId } from "../core/ids.ts";
import { callerIn } from "./auth.ts";
import type { Services } from "./dependencies.ts";
import { existingRun } from "./handlers/runs.ts";
import { noteAuditorsRead } from "./note-read.ts";
import { sendEvents } from "./server-sent-events.ts";
import { watchRun } from "./watch-run.ts";

/** Answers with the run's events. A run that does not exist is refused before the stream begins. */
export async function streamRunEvents(
  services: Services,
  run: RunId,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  await noteAuditorsRead(services, await existingRun(services.pool, run), "events", callerIn(request));
  await sendEvents<WatchEvent>(services, request, reply, (send, signal) => watchRun(services, run, send, signal));
}
