import type { FastifyRequest } from "fastify";

import { ApiError } from "../api/index.ts";
import { isCodecPath } from "./codec-endpoint.ts";
import type { Site } from "./site.ts";

/**
 * Refuses what a page of another origin asks to be done, in a browser that says so. A bearer token is never sent by itself, so this is a
 * second lock: it also stops a page that has got hold of a token. Programs send neither header. Pages of `temporalUi` may ask the codec
 * endpoint, and nothing else; a preflight does nothing.
 */
export function createOriginCheck(
  site: () => Site,
  temporalUi: string | undefined,
): (request: FastifyRequest) => Promise<void> {
  return async ({ method, headers, url }) => {
    if (method === "GET" || method === "HEAD" || method === "OPTIONS") return;
    const { origin } = headers;
    if (temporalUi !== undefined && origin === temporalUi && isCodecPath(url)) return;
    const elsewhere = headers["sec-fetch-site"] === "cross-site" || headers["sec-fetch-site"] === "same-site";
    const isOwn = origin === site().origin || isSameHost(origin, headers.host);
    if (!elsewhere && (origin === undefined || isOwn)) return;
    throw new ApiError("origin_not_allowed", "the request comes from a page of another origin", {
      hint: `open ${site().origin} itself; if that is not this server's address, set COUNTERSIGN_ORIGIN`,
    });
  };
}

/** The host check has been made: `host` is a name of this server's. */
function isSameHost(origin: string | undefined, host: string | undefined): boolean {
  return origin !== undefined && URL.canParse(origin) && new URL(origin).host === host?.toLowerCase();
}
