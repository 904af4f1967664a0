import { ApiError } from "../api/index.ts";
import type { RequestOf, RouteName } from "../api/index.ts";
import { requestById, standingById } from "../approvals/index.ts";
import { peopleLog } from "../core/ids.ts";
import type { ApprovalId, RunId } from "../core/ids.ts";
import { receiverById } from "../notify/index.ts";
import { teamsOfPolicySet } from "../registry/index.ts";
import { holdById, runById } from "../store/index.ts";
import type { Services } from "./dependencies.ts";
import type { Scope } from "./scope.ts";

type About = {
  readonly [Name in RouteName]: (request: RequestOf<Name>, services: Services) => Scope | Promise<Scope>;
};

const noTeam = (): Scope => "no team";
const ofTeam = (team: string): Scope => ({ team });
const listed = (team: string | undefined): Scope => (team === undefined ? "a list" : { team });
const maybeAll = (team: string | undefined): Scope => (team === undefined ? "all teams" : { team });
const inPath = ({ params }: { readonly params: { readonly team: string } }): Scope => ofTeam(params.team);
const inBody = ({ body }: { readonly body: { readonly team: string } }): Scope => ofTeam(body.team);
const inQuery = ({ query }: { readonly query: { readonly team?: string | undefined } }): Scope => listed(query.team);
/** The log of people belongs to no team: whoever verifies a team's records needs it. */
const ofLog = ({ params: { log } }: { readonly params: { readonly log: string } }): Scope =>
  log === peopleLog ? "no team" : ofTeam(log);

const ofRun = async ({ params }: { readonly params: { readonly run: RunId } }, { pool }: Services): Promise<Scope> =>
  runScope(params.run, pool);

async function runScope(run: RunId, pool: Services["pool"]): Promise<Scope> {
  const row = await runById(pool, run);
  // What is not there is nobody's: the handler says so, and has nothing to show.
  return row === undefined ? "no team" : ofTeam(row.team);
}

const ofApproval = async (
  { params }: { readonly params: { readonly approval: ApprovalId } },
  { pool }: Services,
): Promise<Scope> => approvalScope(params.approval, pool);

async function approvalScope(approval: ApprovalId, pool: Services["pool"]): Promise<Scope> {
  const request = await requestById(pool, approval);
  return request === undefined ? "no team" : ofTeam(request.team);
}

const ofGrant = async ({ params }: { readonly params: { readonly grant: string } }, { pool }: Services) =>
  ofTeam((await standingById(pool, params.grant)).team);

const ofReceiver = async ({ params }: { readonly params: { readonly receiver: string } }, { pool }: Services) =>
  ofTeam((await receiverById(pool, params.receiver)).team);

/** Contents are of a run, or of somebody for whom runs of any team act. */
const ofContents = async (
  { body }: { readonly body: { readonly run?: RunId | undefined } },
  { pool }: Services,
): Promise<Scope> => (body.run === undefined ? "all teams" : runScope(body.run, pool));

/** AuthZEN's resource is a run; what is no run's id is about nothing that there is. */
const ofResource = async (
  { body }: { readonly body: { readonly resource: { readonly id: string } } },
  { pool }: Services,
): Promise<Scope> => runScope(body.resource.id as RunId, pool);

/**
 * What each request is about, beside the table of routes that says which roles may call it: roles are held for all teams, or for some. Every
 * route is here; what a request concerns is found in the database by the ids that it gives, never by what it says of them.
 */
export const routeScopes: About = {
  health: noTeam,
  accessMetadata: noTeam,
  whoAmI: noTeam,
  registerAgent: ({ body }) => ofTeam(body.document.team),
  listAgents: () => "a list",
  showAgent: inPath,
  startRun: inBody,
  listRuns: inQuery,
  showRun: ofRun,
  cancelRun: ofRun,
  watchRun: ofRun,
  runRecord: ofRun,
  runEvidence: ofRun,
  // Countersign's own code, which teams do not write.
  bundle: noTeam,
  listApprovals: inQuery,
  showApproval: ofApproval,
  decideApproval: ofApproval,
  editApproval: ofApproval,
  askApproval: ofApproval,
  answerApproval: ofApproval,
  listOutcomes: inQuery,
  showOutcome: ofRun,
  resolveOutcome: ofRun,
  // Between people; what a delegate may decide goes by both one's roles for the request's team.
  delegate: noTeam,
  listDelegations: noTeam,
  undelegate: noTeam,
  draftStanding: async ({ body }, { pool }) =>
    "request" in body ? approvalScope(body.request, pool) : ofTeam(body.team),
  proposeStanding: ({ body: { terms } }) => {
    const team = typeof terms === "object" && terms !== null && "team" in terms ? terms["team"] : undefined;
    if (typeof team === "string") return ofTeam(team);
    throw new ApiError("standing_grant_invalid", "its terms are not of version 1");
  },
  listStanding: inQuery,
  showStanding: ofGrant,
  approveStanding: ofGrant,
  revokeStanding: ofGrant,
  reportApprovals: inQuery,
  evaluateAccess: ofResource,
  requestAccess: ofResource,
  showAccessTask: ofApproval,
  addReceiver: inBody,
  listReceivers: inQuery,
  testReceiver: ofReceiver,
  changeReceiver: ofReceiver,
  removeReceiver: ofReceiver,
  // People belong to no team: others' keys take an admin of all.
  listKeys: noTeam,
  proposeKey: noTeam,
  beginPasskey: noTeam,
  proposePasskey: noTeam,
  confirmKey: () => "all teams",
  revokeKey: noTeam,
  activatePolicies: inPath,
  approveActivation: inPath,
  guardPolicies: inPath,
  showPolicies: inPath,
  policyHistory: inPath,
  policySet: async ({ params: { digest } }, { pool }) => ({ oneOf: await teamsOfPolicySet(pool, digest) }),
  shadowPolicies: inPath,
  showShadow: inPath,
  backtestPolicies: inPath,
  setBudget: inBody,
  listBudgets: inQuery,
  freeze: ({ body }) => maybeAll(body.team),
  liftFreeze: ({ body }) => maybeAll(body.team),
  listFreezes: inQuery,
  erase: ofContents,
  placeHold: ofContents,
  liftHold: async (request, services) => {
    const { hold } = request.body;
    if (hold === undefined) return ofContents(request, services);
    return maybeAll((await holdById(services.pool, hold))?.team ?? undefined);
  },
  listHolds: ofContents,
  setRetention: ({ body }) => maybeAll(body.team),
  listRetentions: () => "a list",
  listLogs: () => "a list",
  checkpoint: ofLog,
  entries: ofLog,
  inclusionProof: ofLog,
  consistencyProof: ofLog,
  verifierKey: ofLog,
};
