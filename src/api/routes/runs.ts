import { z } from "zod";

import { digest, runId } from "../common.schema.ts";
import { bundleView, runEvidence, runEvidenceQuery, runRecord } from "../record.schema.ts";
import {
  listRunsQuery,
  runDetail,
  runPage,
  runView,
  startRunBody,
  startRunHeaders,
  watchEvent,
} from "../runs.schema.ts";
import { everyone } from "./route.ts";
import type { Route } from "./route.ts";

const runParams = z.object({ run: runId });

export const runsRoutes = {
  startRun: {
    method: "POST",
    path: "/v1/runs",
    summary: "Start a run of an agent",
    access: ["operator"],
    headers: startRunHeaders,
    body: startRunBody,
    status: 201,
    response: z.object({ run: runView }),
  },
  listRuns: {
    method: "GET",
    path: "/v1/runs",
    summary: "Runs, newest first",
    access: everyone,
    query: listRunsQuery,
    status: 200,
    response: runPage,
  },
  showRun: {
    method: "GET",
    path: "/v1/runs/:run",
    summary: "A run with its steps, decisions and approvals",
    access: everyone,
    params: runParams,
    status: 200,
    response: runDetail,
  },
  cancelRun: {
    method: "POST",
    path: "/v1/runs/:run/cancel",
    summary: "Ask a run to stop",
    access: ["operator"],
    params: runParams,
    status: 202,
    response: z.object({ run: runView }),
  },
  watchRun: {
    method: "GET",
    path: "/v1/runs/:run/events",
    summary: "What happens in a run, as server-sent events until it closes",
    access: everyone,
    params: runParams,
    status: 200,
    response: watchEvent,
    stream: true,
  },
  runRecord: {
    method: "GET",
    path: "/v1/runs/:run/record",
    summary: "Everything that is recorded of a run, to replay and verify offline",
    access: ["auditor"],
    params: runParams,
    status: 200,
    response: runRecord,
  },
  runEvidence: {
    method: "GET",
    path: "/v1/runs/:run/evidence",
    summary: "What is recorded of a run without contents, with proofs to one checkpoint and a signed statement",
    access: ["auditor"],
    params: runParams,
    query: runEvidenceQuery,
    status: 200,
    response: runEvidence,
  },
  bundle: {
    method: "GET",
    path: "/v1/bundles/:digest",
    summary: "The workflow code that runs were executed with",
    access: ["auditor"],
    params: z.object({ digest }),
    status: 200,
    response: bundleView,
  },
} as const satisfies Record<string, Route>;
