import { finished } from "node:stream/promises";

import type { FastifyReply, FastifyRequest } from "fastify";

import { ApiError, bodyOf } from "../api/index.ts";
import type { BacktestEvent, RequestOf } from "../api/index.ts";
import { backtest } from "../audit/index.ts";
import { parsePolicySet } from "../policy/index.ts";
import type { Services } from "./dependencies.ts";
import { asApiError } from "./errors.ts";

const heartbeatMs = 10_000;
const progressMs = 250;

/** Servers that are at a backtest. */
const busy = new WeakSet<Services>();

/** Answers with the progress of a backtest and its report, and stops when the caller goes away. One at a time in a server. */
export async function streamBacktest(services: Services, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const { params, body } = request as unknown as RequestOf<"backtestPolicies">;
  const { document, against, since } = body;
  const asked = {
    team: params.team,
    candidate: parsePolicySet(document),
    ...(against === undefined ? {} : { against: parsePolicySet(against) }),
    ...(since === undefined ? {} : { since: new Date(since) }),
  };
  if (busy.has(services)) {
    throw new ApiError("backtest_running", "this server is at another backtest", { hint: "try again when it is done" });
  }
  busy.add(services);
  reply.hijack();
  const stream = run(services, asked, request, reply).finally(() => busy.delete(services));
  services.streams.add(stream);
  await stream.finally(() => services.streams.delete(stream));
}

async function run(
  services: Services,
  asked: Parameters<typeof backtest>[0],
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
    if (!gone.signal.aborted) raw.write(text);
  };
  const send = (event: BacktestEvent) => write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
  const heartbeat = setInterval(() => write(": still here\n\n"), heartbeatMs);
  let told = 0;
  const signal = AbortSignal.any([gone.signal, services.stopping]);
  try {
    const report = await backtest(asked, {
      tx: services.pool,
      keys: services.keys,
      signal,
      onProgress(done, total) {
        if (performance.now() - told < progressMs) return;
        told = performance.now();
        send({ type: "progress", done, total });
      },
    });
    send({ type: "report", report: report as Extract<BacktestEvent, { type: "report" }>["report"] });
  } catch (error) {
    if (!signal.aborted) {
      services.logger.warn({ err: error, team: asked.team }, "a backtest broke off");
      write(`event: error\ndata: ${JSON.stringify(bodyOf(asApiError(error, request.id)))}\n\n`);
    }
  } finally {
    clearInterval(heartbeat);
    raw.end();
    await finished(raw).catch(() => undefined);
  }
}
