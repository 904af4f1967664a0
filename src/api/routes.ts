import { z } from "zod";

import {
  accessMetadata,
  accessRequestBody,
  accessTask,
  evaluationAnswer,
  evaluationBody,
  evaluationHeaders,
} from "./access.schema.ts";
import { agentDetail, agentSummary, registerAgentBody, registeredAgent } from "./agents.schema.ts";
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
} from "./approvals.schema.ts";
import { approvalId, digest, name, runId } from "./common.schema.ts";
import type { Role } from "./common.schema.ts";
import {
  delegateBody,
  delegationChanged,
  delegationPage,
  delegationParams,
  delegationsQuery,
} from "./delegations.schema.ts";
import {
  confirmedKey,
  enrolPasskeyBody,
  enrolmentOptions,
  keyPage,
  keyParams,
  listKeysQuery,
  proposeKeyBody,
  proposedKey,
  revokedKey,
} from "./keys.schema.ts";
import { health, whoAmI } from "./health.schema.ts";
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
} from "./ledger.schema.ts";
import {
  approveStandingBody,
  draftedStanding,
  draftStandingBody,
  proposeStandingBody,
  revokedStanding,
  standingDetail,
  standingPage,
  standingParams,
  standingQuery,
} from "./standing-grants.schema.ts";
import { budgetPage, budgetSet, budgetsQuery, setBudgetBody } from "./budgets.schema.ts";
import {
  eraseBody,
  erasure,
  holdPage,
  liftHoldBody,
  listHoldsBody,
  placeHoldBody,
  placedHold,
  retentionBody,
  retentionPage,
  retentionSet,
} from "./erasure.schema.ts";
import { freezeBody, freezeChanged, freezePage, freezesQuery } from "./freezes.schema.ts";
import {
  activatePolicyBody,
  activatedPolicy,
  activePolicy,
  approvedProposal,
  backtestBody,
  backtestEvent,
  guardBody,
  guardView,
  policyHistory,
  proposalParams,
  shadowBody,
  shadowView,
  storedPolicySet,
  teamParams,
} from "./policies.schema.ts";
import {
  addedReceiver,
  addReceiverBody,
  receiverPage,
  receiverParams,
  receiversQuery,
  removedReceiver,
  testedReceiver,
} from "./receivers.schema.ts";
import {
  listOutcomesQuery,
  outcomeDetail,
  outcomePage,
  outcomeParams,
  resolveBody,
  resolvedOutcome,
} from "./unknown-outcomes.schema.ts";
import { bundleView, runEvidence, runEvidenceQuery, runRecord } from "./record.schema.ts";
import { approvalReport, reportQuery } from "./report.schema.ts";
import {
  listRunsQuery,
  runDetail,
  runPage,
  runView,
  startRunBody,
  startRunHeaders,
  watchEvent,
} from "./runs.schema.ts";

/** One route: server, client and OpenAPI document are all made from it. */
export type Route = {
  readonly method: "GET" | "POST";
  /** Parameters as `:name`. */
  readonly path: string;
  readonly summary: string;
  /** Who may call it, beside `admin`. `public` needs no token. */
  readonly access: "public" | readonly Exclude<Role, "admin">[];
  readonly params?: z.ZodObject;
  readonly query?: z.ZodType;
  readonly headers?: z.ZodType;
  readonly body?: z.ZodType;
  /** The status of success. */
  readonly status: 200 | 201 | 202;
  /** The status of the same response where it says that something is wrong. */
  readonly unwell?: 503;
  readonly response: z.ZodType;
  /** The response is a stream of server-sent events, each with one `response` as its data. */
  readonly stream?: true;
};

const everyone = ["operator", "reviewer", "auditor"] as const;
const readers = ["operator", "auditor"] as const;
const agentParams = z.object({ team: name, agent: name });
const runParams = z.object({ run: runId });
const logParams = z.object({ log: name });

export const routes = {
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
    params: z.object({ approval: approvalId }),
    status: 200,
    response: approvalDetail,
  },
  decideApproval: {
    method: "POST",
    path: "/v1/approvals/:approval/decisions",
    summary: "Decide on a request with a signed statement",
    access: ["reviewer"],
    params: z.object({ approval: approvalId }),
    body: decideBody,
    status: 201,
    response: decidedApproval,
  },
  editApproval: {
    method: "POST",
    path: "/v1/approvals/:approval/edits",
    summary: "Change a call's arguments: the new call is decided on anew",
    access: ["reviewer"],
    params: z.object({ approval: approvalId }),
    body: editBody,
    status: 201,
    response: editedApproval,
  },
  askApproval: {
    method: "POST",
    path: "/v1/approvals/:approval/questions",
    summary: "Ask who started the run, before deciding",
    access: ["reviewer"],
    params: z.object({ approval: approvalId }),
    body: messageBody,
    status: 201,
    response: messagePage,
  },
  answerApproval: {
    method: "POST",
    path: "/v1/approvals/:approval/answers",
    summary: "Answer what a reviewer asked: who started the run, or an operator",
    access: everyone,
    params: z.object({ approval: approvalId }),
    body: messageBody,
    status: 201,
    response: messagePage,
  },
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

  draftStanding: {
    method: "POST",
    path: "/v1/standing-grants/drafts",
    summary: "Draw up a standing grant, to be read and signed; nothing is kept",
    access: ["reviewer"],
    body: draftStandingBody,
    status: 200,
    response: draftedStanding,
  },
  proposeStanding: {
    method: "POST",
    path: "/v1/standing-grants",
    summary: "Propose a standing grant, with the proposer's own signed approval of it",
    access: ["reviewer"],
    body: proposeStandingBody,
    status: 201,
    response: standingDetail,
  },
  listStanding: {
    method: "GET",
    path: "/v1/standing-grants",
    summary: "Standing grants, newest first",
    access: everyone,
    query: standingQuery,
    status: 200,
    response: standingPage,
  },
  showStanding: {
    method: "GET",
    path: "/v1/standing-grants/:grant",
    summary: "A standing grant, who approved it, and how much of it was used",
    access: everyone,
    params: standingParams,
    status: 200,
    response: standingDetail,
  },
  approveStanding: {
    method: "POST",
    path: "/v1/standing-grants/:grant/approvals",
    summary: "Approve a proposed standing grant with a signed statement",
    access: ["reviewer"],
    params: standingParams,
    body: approveStandingBody,
    status: 201,
    response: standingDetail,
  },
  revokeStanding: {
    method: "POST",
    path: "/v1/standing-grants/:grant/revoke",
    summary: "End a standing grant before the next step; for who proposed, approved or may approve it, or an admin",
    access: ["reviewer"],
    params: standingParams,
    status: 200,
    response: revokedStanding,
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

  addReceiver: {
    method: "POST",
    path: "/v1/receivers",
    summary: "Have a receiver told of a team's approval requests",
    access: ["operator"],
    body: addReceiverBody,
    status: 201,
    response: addedReceiver,
  },
  listReceivers: {
    method: "GET",
    path: "/v1/receivers",
    summary: "Who is told of approval requests, newest first, and how that goes",
    access: everyone,
    query: receiversQuery,
    status: 200,
    response: receiverPage,
  },
  testReceiver: {
    method: "POST",
    path: "/v1/receivers/:receiver/test",
    summary: "Send a receiver a test, once",
    access: ["operator"],
    params: receiverParams,
    status: 200,
    response: testedReceiver,
  },
  removeReceiver: {
    method: "POST",
    path: "/v1/receivers/:receiver/remove",
    summary: "Tell a receiver nothing more, and forget its address",
    access: ["operator"],
    params: receiverParams,
    status: 200,
    response: removedReceiver,
  },

  listKeys: {
    method: "GET",
    path: "/v1/keys",
    summary: "Keys that reviewers sign with, newest first",
    access: everyone,
    query: listKeysQuery,
    status: 200,
    response: keyPage,
  },
  proposeKey: {
    method: "POST",
    path: "/v1/keys",
    summary: "Propose an Ed25519 key; it counts when an admin other than its owner has confirmed it",
    access: ["reviewer"],
    body: proposeKeyBody,
    status: 201,
    response: proposedKey,
  },
  beginPasskey: {
    method: "POST",
    path: "/v1/keys/passkey/options",
    summary: "What a browser needs to make a passkey for the caller",
    access: ["reviewer"],
    status: 200,
    response: enrolmentOptions,
  },
  proposePasskey: {
    method: "POST",
    path: "/v1/keys/passkey",
    summary: "Propose the passkey that the browser made",
    access: ["reviewer"],
    body: enrolPasskeyBody,
    status: 201,
    response: proposedKey,
  },
  confirmKey: {
    method: "POST",
    path: "/v1/keys/:key/confirm",
    summary: "Confirm a proposed key, as an admin who is neither its owner nor who proposed it",
    access: [],
    params: keyParams,
    status: 200,
    response: confirmedKey,
  },
  revokeKey: {
    method: "POST",
    path: "/v1/keys/:key/revoke",
    summary: "Revoke a key for good: one's own, or as an admin anybody's",
    access: everyone,
    params: keyParams,
    status: 200,
    response: revokedKey,
  },

  activatePolicies: {
    method: "POST",
    path: "/v1/policies/:team/activate",
    summary: "Put a policy set in force for a team, or propose it where the team's policies are guarded",
    access: ["operator"],
    params: teamParams,
    body: activatePolicyBody,
    status: 201,
    response: activatedPolicy,
  },
  approveActivation: {
    method: "POST",
    path: "/v1/policies/:team/proposals/:proposal/approve",
    summary: "Approve a proposed activation, as a member of the group that guards the team's policies",
    access: everyone,
    params: proposalParams,
    status: 201,
    response: approvedProposal,
  },
  guardPolicies: {
    method: "POST",
    path: "/v1/policies/:team/guard",
    summary: "Set whose approval an activation needs; an admin's where it is set already",
    access: ["operator"],
    params: teamParams,
    body: guardBody,
    status: 200,
    response: guardView,
  },
  showPolicies: {
    method: "GET",
    path: "/v1/policies/:team",
    summary: "The policy set in force",
    access: everyone,
    params: teamParams,
    status: 200,
    response: activePolicy,
  },
  policyHistory: {
    method: "GET",
    path: "/v1/policies/:team/history",
    summary: "What was put in force for a team, newest first, and what waits for approval",
    access: everyone,
    params: teamParams,
    status: 200,
    response: policyHistory,
  },
  policySet: {
    method: "GET",
    path: "/v1/policy-sets/:digest",
    summary: "A policy set by its digest",
    access: everyone,
    params: z.object({ digest }),
    status: 200,
    response: storedPolicySet,
  },
  shadowPolicies: {
    method: "POST",
    path: "/v1/policies/:team/shadow",
    summary: "Have a candidate decide beside the team's policies, without effect; or none",
    access: ["operator"],
    params: teamParams,
    body: shadowBody,
    status: 200,
    response: shadowView,
  },
  showShadow: {
    method: "GET",
    path: "/v1/policies/:team/shadow",
    summary: "The candidate that decides beside the team's policies, and how often it differs",
    access: everyone,
    params: teamParams,
    status: 200,
    response: shadowView,
  },
  backtestPolicies: {
    method: "POST",
    path: "/v1/policies/:team/backtest",
    summary: "Decide every recorded decision of a team again under another policy set, as server-sent events",
    access: readers,
    params: teamParams,
    body: backtestBody,
    status: 200,
    response: backtestEvent,
    stream: true,
  },

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

  erase: {
    method: "POST",
    path: "/v1/erasures",
    summary: "Erase the contents of a subject's runs, or of one run; the ledger keeps that it was done",
    access: [],
    body: eraseBody,
    status: 200,
    response: erasure,
  },
  placeHold: {
    method: "POST",
    path: "/v1/holds",
    summary: "Keep the contents of a subject's runs, or of one run, from being erased",
    access: ["auditor"],
    body: placeHoldBody,
    status: 201,
    response: placedHold,
  },
  liftHold: {
    method: "POST",
    path: "/v1/holds/lift",
    summary: "Lift a hold",
    access: [],
    body: liftHoldBody,
    status: 200,
    response: placedHold,
  },
  listHolds: {
    method: "POST",
    path: "/v1/holds/search",
    summary: "Holds that stand, newest first; a subject's id is not put into an address",
    access: ["auditor"],
    body: listHoldsBody,
    status: 200,
    response: holdPage,
  },
  setRetention: {
    method: "POST",
    path: "/v1/retention",
    summary: "Set how long a team keeps the contents of its closed runs",
    access: [],
    body: retentionBody,
    status: 200,
    response: retentionSet,
  },
  listRetentions: {
    method: "GET",
    path: "/v1/retention",
    summary: "How long teams keep contents, and how many runs are past it",
    access: readers,
    status: 200,
    response: retentionPage,
  },

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
