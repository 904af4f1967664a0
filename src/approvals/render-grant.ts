import type { StandingGrant, Target } from "../core/standing-grant.ts";
import { lookalikeNote, quoted, visible } from "./visible.ts";

/** What reviewers read of a standing grant: a function of its document. */
export function renderGrant(grant: StandingGrant): string {
  const names = Object.keys(grant.where).toSorted();
  const lines = [
    `standing grant for tool \`${visible(grant.tool)}\` (definition ${grant.toolDigest.slice(0, 12)})`,
    `of agent ${visible(grant.team)}/${visible(grant.agent)}, proposed by ${quoted(grant.proposedBy)} from ${grant.request}`,
    "stands for:",
    ...grant.requirements.map(
      ({ policy, group, quorum }) => `  ${quorum} of ${visible(group)}, asked for by policy ${visible(policy)}`,
    ),
    "where:",
    ...names.map((name) => `  ${quoted(name)} ${targetText(grant.where[name] as Target)}`),
    "  every other argument: anything",
    `at most ${grant.maxUses} times, until ${grant.expiresAt}`,
    ...(grant.sum === undefined ? [] : [`and ${quoted(grant.sum.argument)} sums up to at most ${grant.sum.max}`]),
  ];
  return `${lines.join("\n")}\n`;
}

function targetText(target: Target): string {
  if ("equals" in target) {
    const { equals } = target;
    return typeof equals === "string" ? `is ${quoted(equals)}${lookalikeNote(equals, true)}` : `is ${String(equals)}`;
  }
  if ("domain" in target) return `is at the domain ${quoted(target.domain)}`;
  return `begins with ${quoted(target.prefix)}${lookalikeNote(target.prefix, true)}, and goes on as it may`;
}
