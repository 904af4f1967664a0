import { stat } from "node:fs/promises";

import { codeOf } from "../core/errors.ts";
import type { Digest } from "../core/ids.ts";
import { digestPattern, namePattern } from "../core/ids.ts";
import { callablesOf, kindOf } from "../core/retrieval.ts";
import type { Callable } from "../core/retrieval.ts";
import type { PolicyDirectory, PolicySetDocument, PolicyTeam } from "../policy/index.ts";
import type { Cli } from "./cli.ts";
import { CliError } from "./cli-error.ts";
import { shortDigest } from "./terminal.ts";

/** A policy set as a person names it. */
export type NamedSet = {
  readonly label: string;
  readonly document: PolicySetDocument;
  /** Where it is a directory: its tools and cases. */
  readonly pack?: PolicyDirectory;
  /** Where it is what a team has in force. */
  readonly team?: string;
};

/** The set in a directory, of a digest, or in force for a team. A digest may be cut to 8 digits where `team` had it in force. */
export async function policySetNamed({ client }: Cli, name: string, team: string | undefined): Promise<NamedSet> {
  const isDirectory = await stat(name).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (isDirectory) {
    const { loadPolicyDirectory } = await import("../policy/index.ts");
    const pack = await loadPolicyDirectory(name);
    return { label: name, document: pack.document, pack };
  }
  if (/^[0-9a-f]{8,64}$/.test(name)) {
    const digest = digestPattern.test(name) ? (name as Digest) : await wholeDigest(client, name, team);
    const { policySet, document } = await client.policySet({ params: { digest } });
    return { label: shortDigest(policySet), document };
  }
  if (!namePattern.test(name)) {
    throw new CliError("usage", `\`${name}\` is no directory, digest or team`, {
      hint: "give a pack's directory, a digest of `countersign policy history TEAM`, or a team's name",
    });
  }
  const { document } = await client.showPolicies({ params: { team: name } });
  return { label: `in force for ${name}`, document, team: name };
}

export async function wholeDigest(client: Cli["client"], start: string, team: string | undefined): Promise<Digest> {
  if (digestPattern.test(start)) return start as Digest;
  if (team === undefined) throw new CliError("usage", "a digest that is cut needs --team");
  if (!/^[0-9a-f]{8,64}$/.test(start))
    throw new CliError("usage", `\`${start}\` is no digest: at least 8 of its hexadecimal digits are needed`, {
      hint: `see \`countersign policy history ${team}\``,
    });
  const { activations, proposals } = await client.policyHistory({ params: { team } });
  const known = [...activations, ...proposals].map(({ policySet }) => policySet);
  const fitting = [...new Set(known)].filter((one) => one.startsWith(start));
  const [found] = fitting;
  if (found !== undefined && fitting.length === 1) return found;
  throw new CliError("usage", `${fitting.length} policy sets of team \`${team}\` begin with ${start}`, {
    hint: `see \`countersign policy history ${team}\``,
  });
}

/** Tools and sources of the team's agents in production; one of each kind and name. */
export async function toolsOf(cli: Cli, team: string): Promise<readonly Callable[]> {
  return (await agentsOf(cli, team)).tools;
}

/** The team's agents as `TEAM/NAME`, and what they can call. */
export async function agentsOf(
  { client }: Cli,
  team: string,
): Promise<PolicyTeam & { readonly tools: readonly Callable[] }> {
  const { agents } = await client.listAgents({});
  const own = agents.filter((agent) => agent.team === team);
  if (own.length === 0)
    throw new CliError("usage", `team \`${team}\` has no agents`, { hint: "see `countersign agent list`" });
  const details = await Promise.all(own.map((agent) => client.showAgent({ params: agent })));
  const tools = details.flatMap(({ production }) => (production === null ? [] : callablesOf(production.document)));
  return { name: team, agents: own.map(({ agent }) => `${team}/${agent}`), tools: distinctTools(tools) };
}

/** One of each kind and name: a source may have the name of a tool. */
export function distinctTools<Tool extends Parameters<typeof kindOf>[0] & { readonly name: string }>(
  tools: readonly Tool[],
): readonly Tool[] {
  return [...new Map(tools.map((tool) => [`${kindOf(tool)}/${tool.name}`, tool])).values()];
}

/** A server knows no files: where it refused a pack for the team's tools, the error has the place at which the pack says so. */
export async function refusedAtItsPlace(
  cli: Cli,
  error: unknown,
  pack: PolicyDirectory | undefined,
  team: string,
): Promise<unknown> {
  if (pack === undefined || codeOf(error) !== "policies_invalid") return error;
  const { checkPolicySet, formatProblem, inReadingOrder, PolicyError } = await import("../policy/index.ts");
  const tools = await toolsOf(cli, team).catch(() => []);
  const problems = inReadingOrder(checkPolicySet(pack.document, tools, pack.sources));
  const [first, ...others] = problems.filter(({ severity }) => severity === "error");
  if (first === undefined) return error;
  const more = others.length === 0 ? "" : ` (and ${others.length} more)`;
  return new PolicyError("policies_invalid", `${formatProblem(first)}${more}`, {
    hint: `run \`countersign policy check DIR --team ${team}\`, which shows every problem; a tool that policies name must belong to a registered agent of the team`,
  });
}

export function setLine(policySet: string, policies: number): string {
  return `${policies} ${policies === 1 ? "policy" : "policies"} (${shortDigest(policySet)})`;
}
