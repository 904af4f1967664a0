import { budgetPage, budgetSet, budgetsQuery, setBudgetBody } from "../budgets.schema.ts";
import { freezeBody, freezeChanged, freezePage, freezesQuery } from "../freezes.schema.ts";
import { everyone } from "./route.ts";
import type { Route } from "./route.ts";

export const limitsRoutes = {
  setBudget: {
    method: "POST",
    path: "/v1/budgets",
    summary: "Set what a team or an agent may spend",
    access: ["operator"],
    body: setBudgetBody,
    status: 200,
    response: budgetSet,
  },
  listBudgets: {
    method: "GET",
    path: "/v1/budgets",
    summary: "Budgets in force, with what is spent and held of them",
    access: everyone,
    query: budgetsQuery,
    status: 200,
    response: budgetPage,
  },
  freeze: {
    method: "POST",
    path: "/v1/freezes",
    summary: "Stop the steps of a team, an agent, a tool, or all",
    access: ["operator"],
    body: freezeBody,
    status: 200,
    response: freezeChanged,
  },
  liftFreeze: {
    method: "POST",
    path: "/v1/freezes/lift",
    summary: "Lift the freeze of this very target",
    access: ["operator"],
    body: freezeBody,
    status: 200,
    response: freezeChanged,
  },
  listFreezes: {
    method: "GET",
    path: "/v1/freezes",
    summary: "What is frozen",
    access: everyone,
    query: freezesQuery,
    status: 200,
    response: freezePage,
  },
} as const satisfies Record<string, Route>;
