import { health, whoAmI } from "../health.schema.ts";
import { everyone } from "./route.ts";
import type { Route } from "./route.ts";

export const healthRoutes = {
  health: {
    method: "GET",
    path: "/v1/health",
    summary: "Whether Postgres and Temporal can be reached",
    access: "public",
    status: 200,
    unwell: 503,
    response: health,
  },
  whoAmI: {
    method: "GET",
    path: "/v1/me",
    summary: "The caller's principal",
    access: everyone,
    status: 200,
    response: whoAmI,
  },
} as const satisfies Record<string, Route>;
