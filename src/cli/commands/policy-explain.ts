import type { Command } from "commander";

import type { DecisionExplanation } from "../../audit/index.ts";
import type { RunId } from "../../core/ids.ts";
import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../cli-error.ts";
import { brief, localTime, safe, shortDigest } from "../terminal.ts";

export function addPolicyExplainCommand(policy: Command): void {
  policy
    .command("explain <run> <seq>")
    .description("why a step was decided as it was: policies, facts, arguments and where they came from, approvals")
    .option("--n <n>", "which decision on the step, from 0; the last one otherwise", whole)
    .action((run: RunId, seq: string, flags: { n?: number }, command: Command) =>
      explain(cliOf(command), run, whole(seq), flags.n),
    );
}

function whole(text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value)) return value;
  throw new CliError("usage", `\`${text}\` is not a whole number from 0`);
}

async function explain({ client, terminal }: Cli, run: RunId, seq: number, n: number | undefined): Promise<void> {
  const { explainDecision } = await import("../../audit/index.ts");
  const explanation = explainDecision(await client.runRecord({ params: { run } }), seq, n);
  say(terminal, explanation);
  terminal.result(explanation);
}

function say(terminal: Cli["terminal"], found: DecisionExplanation): void {
  const { colors, say: line } = terminal;
  const outcome = found.outcome === "require_approval" ? "needs approval" : found.outcome;
  const paint = found.outcome === "allow" ? colors.green : found.outcome === "deny" ? colors.red : colors.yellow;
  const which = found.of === 1 ? "" : `, decision ${found.n} (of 0 to ${found.of - 1})`;
  line(`step ${found.seq}${which}: ${found.kind} ${safe(found.name)} at ${localTime(found.at)}`);
  line(`${paint(outcome)}${found.code === null ? "" : ` (${found.code})`}`);
  for (const doubt of found.doubts) line(`${colors.red("doubt")}: ${safe(doubt)}`);
  for (const need of found.needed) line(`  would need: ${safe(need)}`);
  for (const obligation of found.obligations) line(`  owes: ${obligationLine(obligation, found.kind)}`);

  line(`\n${colors.bold("policies")} of set ${shortDigest(found.policySet)}`);
  for (const { policy, text } of found.exhausted)
    line(`${colors.bold("determined it")}: ${safe(policy)}, ${safe(text)}`);
  for (const policy of found.policies.filter(({ determined }) => determined)) {
    line(`${colors.bold("determined it")}: ${safe(policy.policy)}, ${safe(policy.reason)}`);
    for (const text of policy.text.split("\n")) line(`    ${safe(text)}`);
    sayLooks(terminal, policy);
  }
  for (const policy of found.policies.filter(({ determined }) => !determined)) {
    line(`${policy.effect} ${safe(policy.policy)}: ${policy.matched ? "matched, and was outvoted" : "did not match"}`);
    sayLooks(terminal, policy);
  }
  if (found.policies.length + found.exhausted.length === 0) line("none was asked");

  if (found.arguments !== null) {
    line(`\n${colors.bold("arguments")}`);
    if (Object.keys(found.arguments).length === 0) line("  (nothing)");
    for (const [name, value] of Object.entries(found.arguments)) {
      const origin = found.facts.flow.origins[name];
      line(
        `  ${safe(name)} ${brief(JSON.stringify(value), 200)}${origin === undefined ? "" : colors.dim(` from ${origin}`)}`,
      );
    }
  }
  line(`\n${colors.bold("facts")}, by their names in policies, at ${found.facts.at}`);
  for (const { path, value } of seenBy(found)) line(`  ${safe(path)} ${brief(JSON.stringify(value), 200)}`);
  for (const { id, state, requirements, decisions } of found.approvals) {
    const wanted = requirements.map(({ quorum, group }) => `${quorum} of ${group}`).join(" and ");
    const said = decisions.map(({ reviewer, decision }) => `${decision} by ${safe(reviewer)}`).join(", ");
    line(`approval ${id}, ${state}: wanted ${wanted}${said === "" ? "" : `; ${said}`}`);
  }
  line(colors.dim(`asked: ${found.request}`));
}

function obligationLine(
  obligation: DecisionExplanation["obligations"][number],
  kind: DecisionExplanation["kind"],
): string {
  switch (obligation.kind) {
    case "redact":
      return "argument" in obligation
        ? `${safe(obligation.argument)} is redacted (${safe(obligation.policy)})`
        : `${obligation.dataClasses.join(", ")} in the answer's text are redacted (${safe(obligation.policy)})`;
    case "cap":
      return `${safe(obligation.argument)} is at most ${obligation.max} (${safe(obligation.policy)})`;
    case "shadow":
      return `it is recorded and ${kind === "response" ? "goes no further" : "not made"} (${safe(obligation.policy)})`;
    case "cosigned":
      return `it is made once ${obligation.witnesses} witnesses have cosigned that, within ${obligation.withinMs / 1_000} s (${safe(obligation.policy)})`;
  }
}

/** What a policy goes by, and the call has: an answer to why it matched, or did not. */
function sayLooks({ colors, say }: Cli["terminal"], { looksAt }: DecisionExplanation["policies"][number]): void {
  for (const { path, value } of looksAt) {
    const shown = value === undefined ? "is absent" : `= ${brief(JSON.stringify(value), 200)}`;
    say(`    ${colors.dim("looks at")} ${safe(path)} ${shown}`);
  }
}

/** The arguments have a part of their own. Where no request can be made of the call, there are only the recorded facts. */
function seenBy({ seen, facts }: DecisionExplanation): readonly { readonly path: string; readonly value?: unknown }[] {
  if (seen.length > 0) return seen.filter(({ path }) => !path.startsWith("context.input."));
  return leaves("", facts);
}

function leaves(path: string, value: unknown): readonly { readonly path: string; readonly value: unknown }[] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return [{ path, value }];
  return Object.entries(value).flatMap(([name, inner]) => leaves(path === "" ? name : `${path}.${name}`, inner));
}
