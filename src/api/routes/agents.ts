import { z } from "zod";

import { agentDetail, agentSummary, registerAgentBody, registeredAgent } from "../agents.schema.ts";
import { name } from "../common.schema.ts";
import { everyone } from "./route.ts";
import type { Route } from "./route.ts";

const agentParams = z.object({ team: name, agent: name });

export const agentsRoutes = {
  registerAgent: {
    method: "POST",
    path: "/v1/agents",
    summary: "Register a release of an agent, and put it into production",
    access: ["operator"],
    body: registerAgentBody,
    status: 201,
    response: registeredAgent,
  },
  listAgents: {
    method: "GET",
    path: "/v1/agents",
    summary: "Every agent",
    access: everyone,
    status: 200,
    response: z.object({ agents: z.array(agentSummary) }),
  },
  showAgent: {
    method: "GET",
    path: "/v1/agents/:team/:agent",
    summary: "An agent, its production release and how its channels moved",
    access: everyone,
    params: agentParams,
    status: 200,
    response: agentDetail,
  },
} as const satisfies Record<string, Route>;
