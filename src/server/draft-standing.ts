import { ApiError } from "../api/index.ts";
import type { CallOf } from "../api/index.ts";
import { ordered, readTerms, requestById, requirementsFault, termsFault, toolDigest } from "../approvals/index.ts";
import type { ApprovalRequirement } from "../core/decision.ts";
import type { ApprovalId, Digest } from "../core/ids.ts";
import type { ReleaseDocument, ToolDefinition } from "../core/release.ts";
import { callablesOf } from "../core/retrieval.ts";
import type { StandingTerms } from "../core/standing-grant.ts";
import { compileInTurns } from "../policy/index.ts";
import { activePolicySet, releaseByDigest, resolveChannel } from "../registry/index.ts";
import { runById } from "../store/index.ts";
import type { Tx } from "../store/index.ts";
import { asPolicySet } from "./policy-checks.ts";

type Draft = CallOf<"draftStanding">["body"];
type About = {
  readonly team: string;
  readonly agent: string;
  readonly tool: string;
  readonly policies: readonly string[];
};

/**
 * The terms of a standing grant, whole: the tool as its release pins it, and what the policies in force ask for. Throws
 * `standing_grant_invalid`.
 */
export async function draftTerms(tx: Tx, draft: Draft, now: Date): Promise<StandingTerms> {
  const { targets, unconstrained = [], uses, sum, from, until, reason } = draft;
  const about = "request" in draft ? await aboutRequest(tx, draft.request) : draft;
  const release = await releaseFor(tx, about, "request" in draft ? draft.request : undefined);
  const tool = toolOf(release, about.tool);
  const { team, agent } = about;
  const terms: StandingTerms = {
    v: 1,
    team,
    agent,
    tool: about.tool,
    toolDigest: toolDigest(tool),
    requirements: await requirementsOf(tx, release, about),
    targets: targets.toSorted((a, b) => (a.argument < b.argument ? -1 : 1)),
    unconstrained: unconstrained.toSorted(),
    uses,
    ...(sum === undefined ? {} : { sum }),
    from: new Date(from ?? now).toISOString(),
    until: new Date(until).toISOString(),
    reason,
  };
  assertTerms(terms, tool);
  return terms;
}

/**
 * Terms that a client sends back: they have to be what would be drawn up now, so that nobody proposes a tool that no release has or an
 * approval that no policy asks for. Returns the tool too.
 */
export async function checkedTerms(
  tx: Tx,
  document: unknown,
  request: ApprovalId | undefined,
): Promise<{ readonly terms: StandingTerms; readonly tool: ToolDefinition }> {
  const terms = readTerms(document);
  if (terms === undefined) throw invalid("its terms are not of version 1");
  const policies = [...new Set(terms.requirements.map(({ policy }) => policy))];
  const about = { team: terms.team, agent: terms.agent, tool: terms.tool, policies };
  const release = await releaseFor(tx, about, request);
  const tool = toolOf(release, terms.tool);
  if (toolDigest(tool) !== terms.toolDigest) throw invalid("the tool has changed since it was drawn up");
  const now = await requirementsOf(tx, release, about);
  if (JSON.stringify(sorted(now)) !== JSON.stringify(sorted(terms.requirements)))
    throw invalid("the policies have changed since it was drawn up");
  assertTerms(terms, tool);
  return { terms, tool };
}

function sorted(requirements: readonly ApprovalRequirement[]) {
  return requirements.map((one) => Object.entries(one).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

function assertTerms(terms: StandingTerms, tool: ToolDefinition): void {
  const fault = termsFault(terms, tool);
  if (fault !== undefined) throw invalid(fault);
}

async function aboutRequest(tx: Tx, id: ApprovalId): Promise<About> {
  const request = await requestById(tx, id);
  const run = request === undefined ? undefined : await runById(tx, request.run);
  if (request === undefined || run === undefined)
    throw new ApiError("approval_not_found", `no approval request \`${id}\``, {
      hint: "see `countersign approvals list`",
    });
  const policies = [...new Set(request.requirements.map(({ policy }) => policy))];
  return { team: request.team, agent: run.agent, tool: request.name, policies };
}

/** The release that the request's run is of, else the one in production. */
async function releaseFor(tx: Tx, { team, agent }: About, request: ApprovalId | undefined): Promise<ReleaseDocument> {
  const digest =
    request === undefined ? await resolveChannel(tx, team, agent, "production") : await ofRequest(tx, request);
  const release = digest === undefined ? undefined : (await releaseByDigest(tx, digest)).document;
  if (release !== undefined && release.team === team && release.agent === agent) return release;
  throw invalid(`agent \`${team}/${agent}\` has no release in production`, "see `countersign agent list`");
}

async function ofRequest(tx: Tx, id: ApprovalId): Promise<Digest | undefined> {
  const request = await requestById(tx, id);
  return request === undefined ? undefined : (await runById(tx, request.run))?.release;
}

function toolOf({ tools, agent }: ReleaseDocument, name: string): ToolDefinition {
  const tool = tools.find((one) => one.name === name);
  if (tool !== undefined) return tool;
  throw invalid(`agent \`${agent}\` has no tool \`${name}\`: only calls of tools can be granted ahead`);
}

/** What the policies in force ask for. */
async function requirementsOf(
  tx: Tx,
  release: ReleaseDocument,
  { team, policies }: About,
): Promise<readonly ApprovalRequirement[]> {
  const active = await activePolicySet(tx, team);
  if (active === undefined) throw invalid(`team \`${team}\` has no policies in force`);
  const compiled = await compileInTurns(asPolicySet(active.document), callablesOf(release));
  const requirements = policies.flatMap((id) => {
    const asked = compiled.policies.get(id)?.approval;
    if (asked !== undefined) return asked;
    throw invalid(`no policy \`${id}\` in force asks for an approval`, "see `countersign policy show`");
  });
  const fault = requirementsFault(requirements);
  if (fault !== undefined) throw invalid(`it cannot be given ahead: ${fault}`, "people decide on each such call");
  return ordered(requirements);
}

function invalid(message: string, hint?: string): ApiError {
  return new ApiError("standing_grant_invalid", message, hint === undefined ? {} : { hint });
}
