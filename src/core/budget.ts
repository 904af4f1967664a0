import type { ApprovalRequirement, PolicyReason } from "./decision.ts";
import { formatUsd } from "./money.ts";

export const budgetPeriods = ["month", "total"] as const;
/** A calendar month of UTC, or all time. A step belongs to the month it was decided in. */
export type BudgetPeriod = (typeof budgetPeriods)[number];

/** Whole numbers: micro-USD, tokens (input and output together), and calls of models and tools. */
export type Amounts = { readonly microUsd: number; readonly tokens: number; readonly calls: number };
/** Null: no limit. */
export type Limits = { readonly [Unit in keyof Amounts]: number | null };

export const noAmounts: Amounts = { microUsd: 0, tokens: 0, calls: 0 };
const units = ["microUsd", "tokens", "calls"] as const satisfies readonly (keyof Amounts)[];

export const budgetNames = ["run", "team/total", "team/month", "agent/total", "agent/month"] as const;
export type BudgetName = (typeof budgetNames)[number];

/** A budget as it stood when a step was decided on. Its limits with what it was extended by are what counts. */
export type BudgetState = {
  readonly name: BudgetName;
  /** The group whose members may extend it. */
  readonly approvers: string;
  readonly limits: Limits;
  readonly extended: Amounts;
  readonly spent: Amounts;
  readonly held: Amounts;
};

/** What a decision went by where a budget was exhausted: an auditor works `exhausted` out again from it. */
export type BudgetFacts = { readonly hold: Amounts; readonly budgets: readonly BudgetState[] };

/** Milliseconds in which somebody must decide on going beyond a budget. */
export const budgetRequestMs = 24 * 60 * 60 * 1_000;
/** Who decides about the run's own limit. */
export const defaultApprovers = "budget";

export type Exhausted = {
  readonly name: BudgetName;
  /** The least that lets the step go on: 0 for what has room. */
  readonly missing: Amounts;
  readonly reason: PolicyReason;
  readonly requirement: ApprovalRequirement;
};

/** The budgets that have no room for the step's hold, in the order given. What a step does not hold any of cannot stop it. */
export function exhausted({ hold, budgets }: BudgetFacts): readonly Exhausted[] {
  return budgets.flatMap((budget) => {
    const missing = missingIn(budget, hold);
    if (units.every((unit) => missing[unit] === 0)) return [];
    const policy = budgetPolicy(budget.name);
    const text = `${titles[budget.name]} is used up: ${units.flatMap((unit) => shortage(budget, hold, missing, unit)).join("; ")}`;
    const requirement = { policy, group: budget.approvers, quorum: 1, expiresMs: budgetRequestMs };
    return [{ name: budget.name, missing, reason: { policy, text }, requirement }];
  });
}

export function missingIn({ limits, extended, spent, held }: BudgetState, hold: Amounts): Amounts {
  const missing = (unit: keyof Amounts): number => {
    const limit = limits[unit];
    if (limit === null || hold[unit] === 0) return 0;
    return Math.max(0, spent[unit] + held[unit] + hold[unit] - limit - extended[unit]);
  };
  return { microUsd: missing("microUsd"), tokens: missing("tokens"), calls: missing("calls") };
}

/** How budgets are named beside the ids of Cedar policies, which have no `:`. */
export const budgetPolicies = "budget:";

/** As it stands in decisions, requirements and the ledger. */
export function budgetPolicy(name: BudgetName): string {
  return `${budgetPolicies}${name}`;
}

/** Whether a policy that a decision names is a budget. */
export function isBudgetPolicy(policy: string): boolean {
  return budgetNames.some((name) => budgetPolicy(name) === policy);
}

/** When the period that `now` lies in began. */
export function periodStart(period: BudgetPeriod, now: Date): Date {
  return period === "total" ? new Date(0) : new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), 1));
}

const titles: Readonly<Record<BudgetName, string>> = {
  run: "the run's limit",
  "team/total": "the team's budget",
  "team/month": "the team's budget for the month",
  "agent/total": "the agent's budget",
  "agent/month": "the agent's budget for the month",
};

/** `$0.50, 1000 tokens`: what is not nought. */
export function amountsText(amounts: Amounts): string {
  return units
    .filter((unit) => amounts[unit] > 0)
    .map((unit) => (unit === "microUsd" ? formatUsd(amounts.microUsd) : `${amounts[unit]} ${unit}`))
    .join(", ");
}

function shortage(budget: BudgetState, hold: Amounts, missing: Amounts, unit: keyof Amounts): readonly string[] {
  if (missing[unit] === 0) return [];
  const shown = (amount: number): string => (unit === "microUsd" ? formatUsd(amount) : `${amount} ${unit}`);
  const limit = (budget.limits[unit] ?? 0) + budget.extended[unit];
  return [
    `the step may take ${shown(hold[unit])}; of ${shown(limit)}, ${shown(budget.spent[unit])} are spent and ${shown(budget.held[unit])} held`,
  ];
}
