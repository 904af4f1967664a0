import type { FastifyRequest } from "fastify";

import { ApiError } from "../api/index.ts";

const loopback = ["localhost", "127.0.0.1", "[::1]"];

/**
 * Refuses requests that address the server by a name that is not its own: a page in a browser can make its own name point here
 * (DNS rebinding), and would then be on the same origin. `allowed` are names without port.
 */
export function createHostCheck(allowed: readonly string[]): (request: FastifyRequest) => Promise<void> {
  const names = new Set([...loopback, ...allowed].map((name) => name.toLowerCase()));
  return async (request) => {
    const host = (request.headers.host ?? "").toLowerCase().replace(/:\d+$/, "");
    if (names.has(host)) return;
    throw new ApiError("host_not_allowed", "the request names a host that is not this server's", {
      hint: "use 127.0.0.1 or localhost, or add the name to COUNTERSIGN_ALLOWED_HOSTS",
    });
  };
}
