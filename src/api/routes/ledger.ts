import { z } from "zod";

import { name } from "../common.schema.ts";
import {
  checkpointQuery,
  checkpointView,
  consistencyQuery,
  entriesQuery,
  entryPage,
  inclusionQuery,
  proofView,
  logPage,
  verifierKeyView,
} from "../ledger.schema.ts";
import { readers } from "./route.ts";
import type { Route } from "./route.ts";

const logParams = z.object({ log: name });

export const ledgerRoutes = {
  listLogs: {
    method: "GET",
    path: "/v1/ledger",
    summary: "The logs that this server has, and whether they are signed",
    access: readers,
    status: 200,
    response: logPage,
  },
  checkpoint: {
    method: "GET",
    path: "/v1/ledger/:log/checkpoint",
    summary: "The latest signed checkpoint of a team's log",
    access: readers,
    params: logParams,
    query: checkpointQuery,
    status: 200,
    response: checkpointView,
  },
  entries: {
    method: "GET",
    path: "/v1/ledger/:log/entries",
    summary: "Entries of a log in their order",
    access: ["auditor"],
    params: logParams,
    query: entriesQuery,
    status: 200,
    response: entryPage,
  },
  inclusionProof: {
    method: "GET",
    path: "/v1/ledger/:log/proof/inclusion",
    summary: "That the tree of `size` has the entry at `index` (RFC 6962 §2.1.1)",
    access: ["auditor"],
    params: logParams,
    query: inclusionQuery,
    status: 200,
    response: proofView,
  },
  consistencyProof: {
    method: "GET",
    path: "/v1/ledger/:log/proof/consistency",
    summary: "That the tree of size `to` begins with the tree of size `from` (RFC 6962 §2.1.2)",
    access: readers,
    params: logParams,
    query: consistencyQuery,
    status: 200,
    response: proofView,
  },
  verifierKey: {
    method: "GET",
    path: "/v1/ledger/:log/verifier-key",
    summary: "The key that checkpoints of a log are verified with",
    access: readers,
    params: logParams,
    status: 200,
    response: verifierKeyView,
  },
} as const satisfies Record<string, Route>;
