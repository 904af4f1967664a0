import { z } from "zod";

import { historyScopes } from "../core/decision.ts";
import type { HistoryFact, HistoryScope } from "../core/decision.ts";
import { parseYaml } from "../core/yaml-document.schema.ts";
import { yamlProblems } from "./errors.ts";
import type { PolicyProblem } from "./errors.ts";
import { countableAction, placeName, placesOfKeys, window, windowMs } from "./history-facts.ts";
import type { PolicySources } from "./policy-set.ts";
import { groupNamePattern } from "./schema.ts";

const rate = z.strictObject({
  /** Calls in the window; one more is denied. */
  at_most: z.int().min(0).max(1_000_000_000),
  within: window,
  per: z.enum(historyScopes),
  /** A group whose members may let a call go beyond it; without one, nobody can. */
  ask: z.string().regex(groupNamePattern, "expected a group: lower-case letters, digits, _ and -").optional(),
});

const ratesFile = z.strictObject({
  v: z.literal(1),
  rates: z.record(z.string(), rate).superRefine((rates, context) => {
    // A key's own message would be lost.
    for (const action of Object.keys(rates)) {
      const message = countableAction.safeParse(action).error?.issues[0]?.message;
      if (message !== undefined) context.addIssue({ code: "custom", path: [action], message });
    }
  }),
});
type Rate = z.output<typeof rate>;

export type RatesFile = {
  /** One policy for each rate, as Cedar: they are policies like any others from here on. */
  readonly policies: readonly { readonly id: string; readonly text: string }[];
  /** What they count, one fact each. */
  readonly facts: readonly HistoryFact[];
  readonly problems: readonly PolicyProblem[];
};

/**
 * Reads the text of a `rates.yaml` (its format: policies/README.md): how often an action may be taken, without writing the fact and the forbid
 * that say so. Problems are at file and line; with any, there are no rates.
 */
export function parseRates(yaml: string, file = "rates.yaml"): RatesFile {
  const parsed = parseYaml(yaml, ratesFile);
  if (!parsed.ok) {
    return { policies: [], facts: [], problems: yamlProblems(file, parsed.problems) };
  }
  const rates = Object.entries(parsed.value.rates).sort(([a], [b]) => (a < b ? -1 : 1));
  const facts = rates.map(([action, { within, per }]): HistoryFact => {
    return { name: factOf(action), measure: "count", actions: [action], per, withinMs: windowMs(within) };
  });
  const twin = rates.find(([action], index) => facts.findIndex(({ name }) => name === factOf(action)) !== index);
  if (twin !== undefined) {
    const message = `${twin[0]}: another action is named alike but for its punctuation; write a fact and a forbid for it`;
    return { policies: [], facts: [], problems: [{ severity: "error", file, message }] };
  }
  return {
    policies: rates.map(([action, given]) => ({ id: `rate/${action}`, text: policyOf(action, given) })),
    facts,
    problems: [],
  };
}

/** Where each rate is written, for what is said of its policy and its fact. */
export function placesOfRates(yaml: string, file = "rates.yaml"): PolicySources {
  return new Map(
    [...placesOfKeys(yaml, "rates")].flatMap(([action, place]) => {
      const source = { file, ...place, isWritten: true as const };
      return [[`rate/${action}`, source] as const, [placeName(factOf(action)), source] as const];
    }),
  );
}

/** `tool/send-mail`: `rate_tool_send_mail`. */
function factOf(action: string): string {
  return `rate_${action.replaceAll(/[^a-zA-Z0-9]/g, "_")}`.slice(0, 63);
}

const whose: Readonly<Record<HistoryScope, string>> = {
  run: "in this run",
  agent: "for this agent",
  team: "for this team",
  requester: "for whoever asked for the run",
  subject: "on this subject's behalf",
};

function policyOf(action: string, { at_most: most, within, per, ask }: Rate): string {
  const lifted = ask === undefined ? "" : `@decision("require_approval")\n@group("${ask}")\n`;
  const named = action.startsWith("tool/") || action === "model" ? "==" : "in";
  return `@id("rate/${action}")
${lifted}@reason("at most ${most} times in ${within} ${whose[per]}")
forbid (principal, action ${named} Action::"${action}", resource)
when { context.history.${factOf(action)} >= ${most} };`;
}
