import {
  listOutcomesQuery,
  outcomeDetail,
  outcomePage,
  outcomeParams,
  resolveBody,
  resolvedOutcome,
} from "../unknown-outcomes.schema.ts";
import { everyone } from "./route.ts";
import type { Route } from "./route.ts";

export const unknownOutcomesRoutes = {
  listOutcomes: {
    method: "GET",
    path: "/v1/unknown-outcomes",
    summary: "Calls that may or may not have happened, newest first",
    access: everyone,
    query: listOutcomesQuery,
    status: 200,
    response: outcomePage,
  },
  showOutcome: {
    method: "GET",
    path: "/v1/runs/:run/steps/:seq/outcome",
    summary: "A call whose outcome is unknown, with what a reviewer signs",
    access: everyone,
    params: outcomeParams,
    status: 200,
    response: outcomeDetail,
  },
  resolveOutcome: {
    method: "POST",
    path: "/v1/runs/:run/steps/:seq/outcome",
    summary: "Say with a signed statement whether the call happened",
    access: ["reviewer"],
    params: outcomeParams,
    body: resolveBody,
    status: 201,
    response: resolvedOutcome,
  },
} as const satisfies Record<string, Route>;
