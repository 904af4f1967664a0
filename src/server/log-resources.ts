import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";

import { ApiError } from "../api/index.ts";
import type { Route } from "../api/index.ts";
import { peopleLog } from "../core/ids.ts";
import { parseTilePath, publishedCheckpoint, publishedTile } from "../ledger/index.ts";
import type { Services } from "./dependencies.ts";
import type { Scope } from "./scope.ts";

const year = 365 * 24 * 3_600;

/**
 * The logs as C2SP tlog-tiles wants them, so that existing tools, monitors and witnesses read them: `/ledger/LOG/checkpoint`,
 * `/ledger/LOG/tile/LEVEL/N[.p/WIDTH]` and `/ledger/LOG/tile/entries/N[.p/WIDTH]`. Entries hold no contents, but names and times: they are for
 * auditors, unless the operator opens them.
 */
export function addLogResources(http: FastifyInstance, services: Services): void {
  const { witnesses = [], quorum = 0, open = false } = services.ledger;
  const access: Route["access"] = open ? "public" : ["auditor"];
  const scope = ({ params }: FastifyRequest): Scope => {
    const { log } = params as { readonly log: string };
    return log === peopleLog ? "no team" : { team: log };
  };
  const options = { config: { access, scope }, schema: { hide: true } as object };

  http.get<{ Params: { log: string } }>("/ledger/:log/checkpoint", options, async ({ params: { log } }, reply) => {
    const published = await publishedCheckpoint(services.pool, log, witnesses, quorum);
    if (published === undefined) throw new ApiError("not_signed_yet", `nothing of log \`${log}\` has been signed yet`);
    return reply.type("text/plain; charset=utf-8").header("cache-control", "no-cache").send(published.note);
  });

  http.get<{ Params: { log: string; "*": string } }>("/ledger/:log/tile/*", options, async ({ params }, reply) => {
    const { log, "*": path } = params;
    const resource = parseTilePath(path);
    const tile = resource === undefined ? undefined : await publishedTile(services.pool, log, resource);
    if (tile === undefined) {
      throw new ApiError("not_found", `no checkpoint of log \`${log}\` has tile \`${path}\``, {
        hint: "paths are those of c2sp.org/tlog-tiles, for the tree of the latest checkpoint",
      });
    }
    return cached(reply, open).type("application/octet-stream").send(tile.bytes);
  });
}

/** What a path names never changes. */
function cached(reply: FastifyReply, open: boolean): FastifyReply {
  return reply.header("cache-control", `${open ? "public" : "private"}, max-age=${year}, immutable`);
}
