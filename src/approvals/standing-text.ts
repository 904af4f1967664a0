import { askedOf } from "../core/decision.ts";
import type { StandingTerms, Target } from "../core/standing-grant.ts";
import { fewestPeople } from "./standing-terms.ts";
import { lookalikeNote, quoted } from "./visible.ts";

/** Terms as a person reads them before signing: a function of them alone, which leaves nothing out. */
export function renderTerms(terms: StandingTerms): readonly string[] {
  const { team, agent, tool, toolDigest, requirements, targets, unconstrained, uses, sum, from, until, reason } = terms;
  return [
    `agent ${team}/${agent} may call ${tool} (${toolDigest.slice(0, 12)}) without being asked each time`,
    ...targets.map((target) => `  ${quoted(target.argument)} ${targetText(target)}`),
    ...(sum === undefined
      ? []
      : [`  ${quoted(sum.argument)} adds up to ${sum.max} at the most, in all calls together`]),
    ...(unconstrained.length === 0
      ? ["  no other argument"]
      : unconstrained.map((name) => `  ${quoted(name)} is UNCONSTRAINED: it may be anything`)),
    `for ${uses} ${uses === 1 ? "call" : "calls"} at the most`,
    `from ${from} until just before ${until}`,
    ...requirements.map(
      (one) => `in place of the approval that policy ${quoted(one.policy)} asks for: ${askedOf(one)}`,
    ),
    `with as many approvals, and by ${fewestPeople} people at least`,
    `because: ${quoted(reason)}`,
  ];
}

function targetText(target: Target): string {
  if ("absent" in target) return "is not given";
  if ("like" in target) return `is like ${quoted(target.like)}, or a list of such`;
  const { is } = target;
  return typeof is === "string" ? `is ${quoted(is)}${lookalikeNote(is, true)}` : `is ${String(is)}`;
}
