import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

import type { FastifyInstance } from "fastify";

import { CodedError, codeOf } from "../core/errors.ts";
import { notifyOptionsOf } from "../notify/index.ts";
import { createDeltaHub } from "./delta-hub.ts";
import { deliverDecisions } from "./deliver-decisions.ts";
import { deliverNotices } from "./deliver-notices.ts";
import { retainContents } from "./retain-contents.ts";
import { sealHistories } from "./seal-histories.ts";
import type { Services, ServerOptions } from "./dependencies.ts";
import { buildHttp } from "./http.ts";
import { keepTime } from "./keep-time.ts";
import type { RunEngine } from "./run-engine.ts";
import { temporalEngine } from "./run-engine.ts";
import { siteOf } from "./site.ts";

export class ServerError extends CodedError<"port_taken" | "address_unusable"> {}

const streamsEndWithinMs = 2_000;

export type ServerAddress = { readonly url: string; readonly port: number };

export type Server = {
  /** Listens on `port` (0: any free one) of `host`, by default loopback only. Throws `port_taken` or `address_unusable`. */
  start(port: number, host?: string): Promise<ServerAddress>;
  /** Ends watches, finishes requests under way, and stops listening. What was given to the server stays open. */
  stop(): Promise<void>;
  /** The application without a port, for tests. */
  http(): Promise<FastifyInstance>;
};

/** The HTTP API over what it is given. `engine` replaces Temporal in tests of what happens when it fails. */
export function createServer(
  options: ServerOptions,
  engine: RunEngine = temporalEngine(options.temporal, options.taskQueue),
): Server {
  const { pool, keys, ledger, logger } = options;
  const stopping = new AbortController();
  const deltas = createDeltaHub(options.databaseUrl, (error) =>
    logger.warn({ err: error }, "tokens cannot be listened for"),
  );
  const now = options.now ?? (() => new Date());
  const notify = options.notify ?? notifyOptionsOf({});
  const services: Services = {
    pool,
    keys,
    ledger,
    logger,
    now,
    site: () => site,
    runs: engine,
    notify,
    deltas,
    stopping: stopping.signal,
    streams: new Set(),
  };
  let site = siteOf(options.origin ?? "http://localhost", options.virtualAuthenticators === true);
  let built: Promise<FastifyInstance> | undefined;
  let working: Promise<unknown> | undefined;
  const http = () => (built ??= buildHttp(services, options));

  return {
    http,
    async start(port, host = "127.0.0.1") {
      const app = await http();
      await listen(app, host, port);
      const bound = (app.server.address() as AddressInfo).port;
      const url = `http://${host.includes(":") ? `[${host}]` : host}:${bound}`;
      if (options.origin === undefined) site = siteOf(`http://localhost:${bound}`, site.virtualAuthenticators);
      working = Promise.all([
        deliverDecisions(services),
        deliverNotices(services),
        keepTime(services),
        sealHistories(services),
        retainContents(services),
      ]);
      return { url, port: bound };
    },
    async stop() {
      stopping.abort();
      // Closing cuts connections: watches get their last words out first.
      await Promise.race([Promise.allSettled(services.streams), sleep(streamsEndWithinMs, undefined, { ref: false })]);
      await (await built)?.close();
      await working;
      await deltas.stop();
    },
  };
}

async function listen(app: FastifyInstance, host: string, port: number): Promise<void> {
  try {
    await app.listen({ host, port });
  } catch (cause) {
    if (codeOf(cause) === "EADDRINUSE") {
      throw new ServerError("port_taken", `port ${port} of ${host} is taken`, {
        cause,
        hint: "stop what listens there, or choose another port with --port or COUNTERSIGN_PORT",
      });
    }
    if (codeOf(cause) === undefined) throw cause;
    throw new ServerError("address_unusable", `the server cannot listen on ${host}:${port}`, { cause });
  }
}
