import { fileURLToPath } from "node:url";

import { ApiError } from "../api/index.ts";
import type { Json } from "../core/json.ts";
import type { ReleaseDocument } from "../core/release.ts";
import { callablesOf } from "../core/retrieval.ts";
import type { Callable } from "../core/retrieval.ts";
import {
  actionOfTool,
  checkPolicySet,
  compilePolicies,
  formatProblem,
  lintPolicies,
  loadPolicyDirectory,
  PolicyError,
} from "../policy/index.ts";
import type { PolicySetDocument } from "../policy/index.ts";
import { newestReleases } from "../registry/index.ts";
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
export function assertPoliciesFit(
  document: PolicySetDocument,
  releases: readonly ReleaseDocument[],
  code: "policies_invalid" | "policies_do_not_fit",
): readonly string[] {
  const problems = checkPolicySet(document, distinctTools(releases));
  const [first, ...others] = problems.filter((problem) => problem.severity === "error");
  if (first !== undefined) throw refusal(code, formatProblem(first), others.length);
  for (const release of releases) {
    try {
      compilePolicies(document, callablesOf(release));
    } catch (error) {
      if (!(error instanceof PolicyError) || error.code !== "policies_invalid") throw error;
      throw refusal(code, `agent ${release.agent}: ${error.message}`, 0);
    }
  }
  return problems.map(formatProblem);
}

/** What looks wrong in policies that fit, one line each with what to do. */
export function lintFor(document: PolicySetDocument, releases: readonly ReleaseDocument[]): readonly string[] {
  return lintPolicies(document, distinctTools(releases)).map((warning) => `${formatProblem(warning)}; ${warning.hint}`);
}

function refusal(code: "policies_invalid" | "policies_do_not_fit", problem: string, others: number): ApiError {
  const more = others === 0 ? "" : ` (and ${others} more)`;
  return code === "policies_invalid"
    ? new ApiError(code, `${problem}${more}`, {
        hint: "run `countersign policy check DIR`; a tool that policies name must belong to a registered agent of the team",
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
