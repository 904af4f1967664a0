import {
  delegateBody,
  delegationChanged,
  delegationPage,
  delegationParams,
  delegationsQuery,
} from "../delegations.schema.ts";
import { everyone } from "./route.ts";
import type { Route } from "./route.ts";

export const delegationsRoutes = {
  delegate: {
    method: "POST",
    path: "/v1/delegations",
    summary: "Let somebody decide where the caller may, for a time; they do so under their own identity",
    access: ["reviewer"],
    body: delegateBody,
    status: 201,
    response: delegationChanged,
  },
  listDelegations: {
    method: "GET",
    path: "/v1/delegations",
    summary: "Who decides for whom, newest first",
    access: everyone,
    query: delegationsQuery,
    status: 200,
    response: delegationPage,
  },
  undelegate: {
    method: "POST",
    path: "/v1/delegations/:delegation/revoke",
    summary: "End a delegation for decisions to come; its delegator's, its delegate's or an admin's to do",
    access: ["reviewer"],
    params: delegationParams,
    status: 200,
    response: delegationChanged,
  },
} as const satisfies Record<string, Route>;
