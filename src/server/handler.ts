import type { FastifyReply } from "fastify";

import type { RequestOf, ResponseOf, RouteName } from "../api/index.ts";
import type { Principal } from "../registry/index.ts";
import type { Caller } from "./scope.ts";
import type { Services } from "./dependencies.ts";

export type Context = {
  readonly services: Services;
  /** With the roles that they have for what the request is about. Throws `unauthenticated` on a public route. */
  readonly caller: () => Caller;
  /** The same as they are, with all of their roles. */
  readonly principal: () => Principal;
  readonly reply: FastifyReply;
};

/** Answers one route, whose input is parsed and whose caller may call it. */
export type Handler<Name extends RouteName> = (request: RequestOf<Name>, context: Context) => Promise<ResponseOf<Name>>;

/** The routes that answer with one document: all but the streams. */
export type DocumentRoute = Exclude<RouteName, "watchRun" | "backtestPolicies">;
export type Handlers<Names extends DocumentRoute> = { readonly [Name in Names]: Handler<Name> };
