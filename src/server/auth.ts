import type { FastifyReply, FastifyRequest } from "fastify";

import { ApiError } from "../api/index.ts";
import type { Role, Route } from "../api/index.ts";
import { hashToken, principalByToken } from "../registry/index.ts";
import type { Principal } from "../registry/index.ts";
import type { Pool } from "../store/index.ts";

/** Who calls, as the database knows them. */
export type Caller = Principal;

declare module "fastify" {
  interface FastifyRequest {
    caller: Caller | undefined;
  }
  interface FastifyContextConfig {
    access?: Route["access"];
  }
}

/** What is looked up for a request without a usable token, so that it costs the same. */
const noToken = "";

/**
 * Lets a request through where its route is public, or its bearer token belongs to a principal with one of the route's roles.
 * Every other route is refused, one that says nothing of access included. Only hashes of tokens are compared, by the database's
 * index: what time that takes tells nothing of a token.
 */
export function createGuard(pool: Pool): (request: FastifyRequest, reply: FastifyReply) => Promise<void> {
  return async (request) => {
    if (request.is404) return;
    const { access } = request.routeOptions.config;
    if (access === "public") return;
    const caller = await callerOf(pool, request.headers.authorization);
    if (caller === undefined) {
      throw new ApiError("unauthenticated", "a valid bearer token is needed", {
        hint: "set COUNTERSIGN_TOKEN, or use the client.json that `countersign dev` writes",
      });
    }
    if (access === undefined || !mayCall(caller, access)) {
      const wanted =
        access === undefined
          ? ""
          : `: it takes the role ${[...access, "admin"].map((role) => `\`${role}\``).join(" or ")}`;
      throw new ApiError("forbidden", `\`${caller.id}\` may not call this${wanted}`, {
        hint: "ask an admin for the role",
      });
    }
    request.caller = caller;
  };
}

function mayCall(caller: Caller, access: readonly Role[]): boolean {
  return caller.roles.includes("admin") || access.some((role) => caller.roles.includes(role));
}

async function callerOf(pool: Pool, header: string | undefined): Promise<Caller | undefined> {
  const token = /^Bearer +([\x21-\x7e]{8,512})$/i.exec(header ?? "")?.[1] ?? noToken;
  const caller = await principalByToken(pool, hashToken(token));
  return token === noToken ? undefined : caller;
}

/** The caller of a request that the guard let through. */
export function callerIn(request: FastifyRequest): Caller {
  if (request.caller === undefined) throw new ApiError("unauthenticated", "a valid bearer token is needed");
  return request.caller;
}
