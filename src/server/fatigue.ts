import { alwaysApproved, approvedCalls } from "../approvals/index.ts";
import type { CallRecord, ReportScope } from "../approvals/index.ts";
import { isBudgetPolicy } from "../core/budget.ts";
import type { Digest } from "../core/ids.ts";
import type { Release, ReleaseDocument } from "../core/release.ts";
import type { ModelResult } from "../core/transcript.ts";
import { checkInTurns, formatProblem, narrowPolicy } from "../policy/index.ts";
import type { ApprovedCall, Narrowing, PolicySetDocument } from "../policy/index.ts";
import { activePolicySet, releaseByDigest } from "../registry/index.ts";
import { contentDigest, getContents } from "../store/index.ts";
import type { PayloadKeys, Tx } from "../store/index.ts";
import { parseArguments } from "../tools/index.ts";
import { asPolicySet, productionReleases } from "./policy-checks.ts";

/** A policy that asked about a tool's calls, and was told yes every time; with how it could ask less. */
export type Candidate = {
  readonly policy: string;
  readonly tool: string;
  readonly approved: number;
  readonly narrowing: Narrowing;
};

const mostCandidates = 20;
/** The newest approved calls that a proposal goes by. */
const mostCalls = 200;
/** Model answers that are opened at once. */
const openedAtOnce = 20;

/** What `team` asks people in vain. A proposal is checked against the policies in force and the agents in production, and put nowhere. */
export async function candidates(
  tx: Tx,
  keys: PayloadKeys,
  scope: ReportScope,
  samples: number,
): Promise<readonly Candidate[]> {
  const found = await alwaysApproved(tx, scope, samples, mostCandidates);
  if (found.length === 0) return [];
  const active = await activePolicySet(tx, scope.team);
  const releases = await productionReleases(tx, scope.team);
  const made: Candidate[] = [];
  for (const one of found) {
    const narrowing =
      active === undefined
        ? none("the team has no policies in force")
        : await propose(tx, keys, scope, one, asPolicySet(active.document), releases);
    made.push({ ...one, narrowing });
  }
  return made;
}

async function propose(
  tx: Tx,
  keys: PayloadKeys,
  scope: ReportScope,
  of: { readonly policy: string; readonly tool: string },
  document: PolicySetDocument,
  releases: readonly ReleaseDocument[],
): Promise<Narrowing> {
  if (isBudgetPolicy(of.policy)) return none("a budget asks: see `countersign budget set`");
  const policy = document.policies.find(({ id }) => id === of.policy);
  if (policy === undefined) return none("the policy is not in force any more");
  const tools = releases.flatMap((release) => release.tools);
  const tool = tools.find(({ name }) => name === of.tool);
  if (tool === undefined) return none("no agent in production has the tool any more");
  const records = await approvedCalls(tx, scope, of, mostCalls);
  const calls = await readCalls(tx, keys, scope.team, of.tool, records);
  if (calls === undefined) return none("the arguments of some of the calls cannot be read");
  const narrowing = narrowPolicy(policy, tool, calls);
  return narrowing.status === "none" ? narrowing : checked(narrowing, of.policy, document, tools);
}

/** Undefined where any cannot be read: a range must not be narrower than what people saw. */
async function readCalls(
  tx: Tx,
  keys: PayloadKeys,
  team: string,
  tool: string,
  records: readonly CallRecord[],
): Promise<readonly ApprovedCall[] | undefined> {
  const releases = new Map<Digest, Release>();
  const calls: ApprovedCall[] = [];
  for (let from = 0; from < records.length; from += openedAtOnce) {
    const page = records.slice(from, from + openedAtOnce);
    const asked = page.map((record) => record.asked).filter((digest) => digest !== null);
    const payloads = await getContents(tx, keys, asked);
    for (const record of page) {
      const release = releases.get(record.release) ?? (await releaseByDigest(tx, record.release));
      releases.set(record.release, release);
      const answer = record.asked === null ? undefined : payloads.get(record.asked);
      const text = (answer?.value as ModelResult | undefined)?.toolCalls[record.callIndex ?? -1]?.arguments;
      const parameters = release.document.tools.find(({ name }) => name === tool)?.parameters;
      if (text === undefined || parameters === undefined) return undefined;
      const parsed = parseArguments(text, parameters);
      if (!parsed.ok || contentDigest(answer?.salt, parsed.value) !== record.arguments) return undefined;
      calls.push({ agent: `${team}/${record.agent}`, arguments: parsed.value });
    }
  }
  return calls;
}

/** The same check as before an activation: with the proposal in the policy's place, the whole set must hold. */
async function checked(
  narrowing: Extract<Narrowing, { status: "proposed" }>,
  policy: string,
  document: PolicySetDocument,
  tools: ReleaseDocument["tools"],
): Promise<Narrowing> {
  const policies = document.policies.map((one) => (one.id === policy ? { ...one, text: narrowing.text } : one));
  const distinct = [...new Map(tools.map((tool) => [tool.name, tool])).values()];
  const problems = await checkInTurns({ ...document, policies }, distinct);
  const problem = problems.find(({ severity }) => severity === "error");
  return problem === undefined ? narrowing : none(`a narrower policy does not check: ${formatProblem(problem)}`);
}

function none(reason: string): Narrowing {
  return { status: "none", reason };
}
