import { fileURLToPath } from "node:url";

import { LRUCache } from "lru-cache";

import { ApiError } from "../api/index.ts";
import type { Json } from "../core/json.ts";
import type { Release, ReleaseDocument } from "../core/release.ts";
import { callablesOf } from "../core/retrieval.ts";
import type { Callable } from "../core/retrieval.ts";
import {
  actionOfTool,
  checkInTurns,
  compileInTurns,
  formatProblem,
  lintInTurns,
  loadPolicyDirectory,
  parsePolicySet,
  PolicyError,
} from "../policy/index.ts";
import type { PolicySetDocument } from "../policy/index.ts";
import { activePolicySet, newestReleases } from "../registry/index.ts";
import type { Tx } from "../store/index.ts";

const basePack = fileURLToPath(new URL("../../policies/base", import.meta.url));

/** The policies of a team that has none of its own. */
export async function shippedPolicies(): Promise<PolicySetDocument> {
  return (await loadPolicyDirectory(basePack)).document;
}

/**
 * Whether `document` can be in force for a team with these releases: it names only tools that some of them has, and its types fit
 * those of each. Returns the warnings. Throws `policies_invalid` or, for a release that comes to policies in force, `policies_do_not_fit`.
 */
export async function assertPoliciesFit(
  document: PolicySetDocument,
  releases: readonly ReleaseDocument[],
  code: "policies_invalid" | "policies_do_not_fit",
): Promise<readonly string[]> {
  const problems = await checkInTurns(document, distinctTools(releases));
  const [first, ...others] = problems.filter((problem) => problem.severity === "error");
  if (first !== undefined) throw refusal(code, formatProblem(first), others.length);
  for (const release of releases) {
    try {
      await compileInTurns(document, callablesOf(release));
    } catch (error) {
      if (!(error instanceof PolicyError) || error.code !== "policies_invalid") throw error;
      throw refusal(code, `agent ${release.agent}: ${error.message}`, 0);
    }
  }
  return problems.map(formatProblem);
}

/** What a release cannot run under, and why; undefined where it can. The sets are immutable, and so are the releases. */
const unfit = new LRUCache<string, { readonly problem: string | undefined }>({ max: 1_000, ttl: 60_000 });

/**
 * Refuses a run that could do nothing: its team has no policies in force, or they do not compile for its release. The gate would deny
 * each of its steps. Throws `no_policies` or `policies_do_not_fit`.
 */
export async function assertCovered(tx: Tx, { digest, document }: Release): Promise<void> {
  const { team, agent } = document;
  const active = await activePolicySet(tx, team);
  if (active === undefined) {
    throw new ApiError("no_policies", `team \`${team}\` has no policies in force, so its agents can do nothing`, {
      hint: `activate some: countersign policy activate DIR --team ${team}`,
    });
  }
  const name = `${active.digest}/${digest}`;
  const { problem } = unfit.get(name) ?? { problem: await problemUnder(active.document, document) };
  unfit.set(name, { problem });
  if (problem === undefined) return;
  throw new ApiError(
    "policies_do_not_fit",
    `the policies in force do not fit release \`${digest.slice(0, 12)}\` of agent \`${team}/${agent}\`: ${problem}`,
    {
      hint: "run a newer release, or activate policies that fit this one: countersign policy activate DIR --team TEAM",
    },
  );
}

async function problemUnder(set: Json, release: ReleaseDocument): Promise<string | undefined> {
  try {
    await compileInTurns(parsePolicySet(set), callablesOf(release));
    return undefined;
  } catch (error) {
    if (error instanceof PolicyError) return error.message;
    throw error;
  }
}

/** What looks wrong in policies that fit, one line each with what to do. */
export async function lintFor(
  document: PolicySetDocument,
  releases: readonly ReleaseDocument[],
): Promise<readonly string[]> {
  const agents = releases.map(({ team, agent }) => `${team}/${agent}`);
  const [release] = releases;
  const team = release === undefined ? undefined : { name: release.team, agents };
  const warnings = await lintInTurns(document, distinctTools(releases), team);
  return warnings.map((warning) => `${formatProblem(warning)}; ${warning.hint}`);
}

function refusal(code: "policies_invalid" | "policies_do_not_fit", problem: string, others: number): ApiError {
  const more = others === 0 ? "" : ` (and ${others} more)`;
  return code === "policies_invalid"
    ? new ApiError(code, `${problem}${more}`, {
        hint: "run `countersign policy check DIR --team TEAM`, which shows every problem with its file; a tool that policies name must belong to a registered agent of the team",
      })
    : new ApiError(code, `the team's policies do not fit this agent's tools: ${problem}${more}`, {
        hint: "activate policies that fit the new tools first: countersign policy activate DIR --team TEAM",
      });
}

/** The team's releases in production, with `release` in the place of its agent's. */
export async function releasesWith(tx: Tx, release: ReleaseDocument): Promise<readonly ReleaseDocument[]> {
  const others = await productionReleases(tx, release.team);
  return [...others.filter((other) => other.agent !== release.agent), release];
}

export async function productionReleases(tx: Tx, team: string): Promise<readonly ReleaseDocument[]> {
  return (await newestReleases(tx, team)).map((release) => release.document);
}

/** One of each kind and name: agents of a team may share a tool or a source. That its types fit every one of them is checked for each release. */
function distinctTools(releases: readonly ReleaseDocument[]): readonly Callable[] {
  return [...new Map(releases.flatMap(callablesOf).map((tool) => [actionOfTool(tool), tool])).values()];
}

export function asPolicySet(document: Json): PolicySetDocument {
  return document as unknown as PolicySetDocument;
}
