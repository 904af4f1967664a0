import type { FastifyReply, FastifyRequest } from "fastify";

import { ApiError } from "../api/index.ts";
import type { Route } from "../api/index.ts";
import { hashToken, principalByToken } from "../registry/index.ts";
import type { Principal } from "../registry/index.ts";
import type { Pool } from "../store/index.ts";
import { callerFor, hasRole } from "./scope.ts";
import type { Caller, ScopeOf } from "./scope.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** Who calls, as the database knows them. */
    principal: Principal | undefined;
    caller: Caller | undefined;
  }
  interface FastifyContextConfig {
    access?: Route["access"];
    /** What is asked about, as roles are held for teams. A route that does not say is refused. */
    scope?: ScopeOf;
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
    if (access === undefined || !hasRole(caller, access)) {
      const wanted =
        access === undefined
          ? ""
          : `: it takes the role ${[...access, "admin"].map((role) => `\`${role}\``).join(" or ")}`;
      throw new ApiError("forbidden", `\`${caller.id}\` may not call this${wanted}`, {
        hint: "ask an admin for the role",
      });
    }
    request.principal = caller;
  };
}

/**
 * Lets a request through where its caller has one of the route's roles for the team that it is about: once its body has been read, since
 * that may say which. A route that does not say what it is about is refused.
 */
export async function guardScope(request: FastifyRequest): Promise<void> {
  if (request.is404) return;
  const { access, scope } = request.routeOptions.config;
  if (access === "public") return;
  const { principal } = request;
  if (access === undefined || scope === undefined || principal === undefined)
    throw new ApiError("forbidden", "nobody may call this");
  request.caller = callerFor(principal, access, await scope(request));
}

async function callerOf(pool: Pool, header: string | undefined): Promise<Principal | undefined> {
  const token = /^Bearer +([\x21-\x7e]{8,512})$/i.exec(header ?? "")?.[1] ?? noToken;
  const caller = await principalByToken(pool, hashToken(token));
  return token === noToken ? undefined : caller;
}

/** Who calls, with all of their roles. */
export function principalIn(request: FastifyRequest): Principal {
  if (request.principal === undefined) throw new ApiError("unauthenticated", "a valid bearer token is needed");
  return request.principal;
}

/** The caller of a request that the guards let through. */
export function callerIn(request: FastifyRequest): Caller {
  if (request.caller === undefined) throw new ApiError("unauthenticated", "a valid bearer token is needed");
  return request.caller;
}
