import type { FastifyReply, FastifyRequest } from "fastify";

import { ApiError } from "../api/index.ts";
import type { BacktestEvent, RequestOf } from "../api/index.ts";
import { backtest } from "../audit/index.ts";
import { parsePolicySet } from "../policy/index.ts";
import type { Services } from "./dependencies.ts";
import { assertTeam } from "./known-team.ts";
import { sendEvents } from "./server-sent-events.ts";

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
  await assertTeam(services.pool, params.team);
  if (busy.has(services)) {
    throw new ApiError("backtest_running", "this server is at another backtest", { hint: "try again when it is done" });
  }
  busy.add(services);
  await sendEvents<BacktestEvent>(services, request, reply, async (send, signal) => {
    let told = 0;
    const report = await backtest(asked, {
      tx: services.pool,
      keys: services.keys,
      signal,
      onProgress(done, total) {
        if (performance.now() - told < progressMs) return;
        told = performance.now();
        void send({ type: "progress", done, total });
      },
    });
    await send({ type: "report", report: report as Extract<BacktestEvent, { type: "report" }>["report"] });
  }).finally(() => busy.delete(services));
}
