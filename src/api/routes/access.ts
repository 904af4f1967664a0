import { z } from "zod";

import {
  accessMetadata,
  accessRequestBody,
  accessRequestHeaders,
  accessTask,
  evaluationAnswer,
  evaluationBody,
  evaluationHeaders,
} from "../access.schema.ts";
import { approvalId } from "../common.schema.ts";
import { everyone } from "./route.ts";
import type { Route } from "./route.ts";

export const accessRoutes = {
  accessMetadata: {
    method: "GET",
    path: "/.well-known/authzen-configuration",
    summary: "OpenID AuthZEN: where what is",
    access: "public",
    status: 200,
    response: accessMetadata,
  },
  evaluateAccess: {
    method: "POST",
    path: "/access/v1/evaluation",
    summary: "OpenID AuthZEN 1.0: whether the gate lets a run's call through now",
    access: everyone,
    headers: evaluationHeaders,
    body: evaluationBody,
    status: 200,
    response: evaluationAnswer,
  },
  requestAccess: {
    method: "POST",
    path: "/access/v1/requests",
    summary: "AuthZEN access request: the task that follows the approval request that the run has opened",
    access: everyone,
    headers: accessRequestHeaders,
    body: accessRequestBody,
    status: 202,
    response: accessTask,
  },
  showAccessTask: {
    method: "GET",
    path: "/access/v1/requests/:approval",
    summary: "AuthZEN access request: what has become of it",
    access: everyone,
    params: z.object({ approval: approvalId }),
    status: 200,
    response: accessTask,
  },
} as const satisfies Record<string, Route>;
