import type { z } from "zod";

import { accessRoutes } from "./routes/access.ts";
import { agentsRoutes } from "./routes/agents.ts";
import { approvalsRoutes } from "./routes/approvals.ts";
import { delegationsRoutes } from "./routes/delegations.ts";
import { erasureRoutes } from "./routes/erasure.ts";
import { healthRoutes } from "./routes/health.ts";
import { keysRoutes } from "./routes/keys.ts";
import { ledgerRoutes } from "./routes/ledger.ts";
import { limitsRoutes } from "./routes/limits.ts";
import { policiesRoutes } from "./routes/policies.ts";
import { receiversRoutes } from "./routes/receivers.ts";
import { runsRoutes } from "./routes/runs.ts";
import { standingGrantsRoutes } from "./routes/standing-grants.ts";
import { unknownOutcomesRoutes } from "./routes/unknown-outcomes.ts";

export type { Route } from "./routes/route.ts";

/** Every route of the API, by the name of the function that the client has for it. */
export const routes = {
  ...healthRoutes,
  ...agentsRoutes,
  ...runsRoutes,
  ...approvalsRoutes,
  ...unknownOutcomesRoutes,
  ...delegationsRoutes,
  ...standingGrantsRoutes,
  ...accessRoutes,
  ...receiversRoutes,
  ...keysRoutes,
  ...policiesRoutes,
  ...limitsRoutes,
  ...erasureRoutes,
  ...ledgerRoutes,
};

export type RouteName = keyof typeof routes;
export type RouteOf<Name extends RouteName> = (typeof routes)[Name];

type Part<R, Key extends string> = R extends { readonly [K in Key]: z.ZodType } ? R[Key] : never;
type Given<R, Key extends string, Direction extends "input" | "output"> = [Part<R, Key>] extends [never]
  ? unknown
  : { readonly [K in Key]: Direction extends "input" ? z.input<Part<R, Key>> : z.output<Part<R, Key>> };

/** What a caller gives: the parts that the route has, `query` being optional where all of it is. */
export type CallOf<Name extends RouteName> = Given<RouteOf<Name>, "params", "input"> &
  Given<RouteOf<Name>, "body", "input"> &
  ([Part<RouteOf<Name>, "query">] extends [never]
    ? unknown
    : { readonly query?: z.input<Part<RouteOf<Name>, "query">> }) &
  ([Part<RouteOf<Name>, "headers">] extends [never]
    ? unknown
    : { readonly headers?: z.input<Part<RouteOf<Name>, "headers">> });

/** What a handler gets: the same, parsed. */
export type RequestOf<Name extends RouteName> = Given<RouteOf<Name>, "params", "output"> &
  Given<RouteOf<Name>, "body", "output"> &
  Given<RouteOf<Name>, "query", "output"> &
  Given<RouteOf<Name>, "headers", "output">;

export type ResponseOf<Name extends RouteName> = z.output<RouteOf<Name>["response"]>;
