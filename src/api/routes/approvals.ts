import { z } from "zod";

import {
  approvalDetail,
  approvalPage,
  decideBody,
  decidedApproval,
  editBody,
  editedApproval,
  listApprovalsQuery,
  messageBody,
  messagePage,
} from "../approvals.schema.ts";
import { approvalId } from "../common.schema.ts";
import { approvalReport, reportQuery } from "../report.schema.ts";
import { everyone } from "./route.ts";
import type { Route } from "./route.ts";

const approvalParams = z.object({ approval: approvalId });

export const approvalsRoutes = {
  listApprovals: {
    method: "GET",
    path: "/v1/approvals",
    summary: "Approval requests, newest first",
    access: everyone,
    query: listApprovalsQuery,
    status: 200,
    response: approvalPage,
  },
  showApproval: {
    method: "GET",
    path: "/v1/approvals/:approval",
    summary: "An approval request, with what a reviewer reads and signs",
    access: everyone,
    params: approvalParams,
    status: 200,
    response: approvalDetail,
  },
  decideApproval: {
    method: "POST",
    path: "/v1/approvals/:approval/decisions",
    summary: "Decide on a request with a signed statement",
    access: ["reviewer"],
    params: approvalParams,
    body: decideBody,
    status: 201,
    response: decidedApproval,
  },
  editApproval: {
    method: "POST",
    path: "/v1/approvals/:approval/edits",
    summary: "Change a call's arguments: the new call is decided on anew",
    access: ["reviewer"],
    params: approvalParams,
    body: editBody,
    status: 201,
    response: editedApproval,
  },
  askApproval: {
    method: "POST",
    path: "/v1/approvals/:approval/questions",
    summary: "Ask who started the run, before deciding",
    access: ["reviewer"],
    params: approvalParams,
    body: messageBody,
    status: 201,
    response: messagePage,
  },
  answerApproval: {
    method: "POST",
    path: "/v1/approvals/:approval/answers",
    summary: "Answer what a reviewer asked: who started the run, or an operator",
    access: everyone,
    params: approvalParams,
    body: messageBody,
    status: 201,
    response: messagePage,
  },
  reportApprovals: {
    method: "GET",
    path: "/v1/approvals/report",
    summary: "What asking people costs a team: how often, how long, and what was asked in vain",
    access: everyone,
    query: reportQuery,
    status: 200,
    response: approvalReport,
  },
} as const satisfies Record<string, Route>;
