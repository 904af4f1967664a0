import { InvalidArgumentError } from "commander";
import type { Command } from "commander";

import { budgetPeriods } from "../../core/budget.ts";
import type { BudgetPeriod } from "../../core/budget.ts";
import { formatUsd, microUsdPerUsd } from "../../core/money.ts";
import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../cli-error.ts";

type SetFlags = {
  readonly month?: number;
  readonly total?: number;
  readonly period?: BudgetPeriod;
  readonly tokens?: number;
  readonly calls?: number;
  readonly approvers: string;
};

export function addBudgetCommands(program: Command): void {
  const budget = program.command("budget").description("what a team or one of its agents may spend");
  budget
    .command("set <team>")
    .description(
      "limit a TEAM or an agent (TEAM/NAME) from the next step on, in the place of what was set before; steps beyond it wait for people",
    )
    .option("--month <amount>", "money in a calendar month of UTC, such as '$100'", dollars)
    .option("--total <amount>", "money in all, instead of a month", dollars)
    .option("--period <period>", "what --tokens and --calls are for, without money: month (default) or total", period)
    .option("--tokens <n>", "tokens, in and out together", count)
    .option("--calls <n>", "calls of models and tools", count)
    .option("--approvers <group>", "who may let a step go beyond it", "budget")
    .action((target: string, flags: SetFlags, command: Command) => set(cliOf(command), target, flags));
  budget
    .command("show [team]")
    .description("budgets in force, with what is spent and held of them")
    .action((team: string | undefined, _flags, command: Command) => show(cliOf(command), team));
}

function dollars(text: string): number {
  // A shell makes `00` of "$100".
  if (!/^\$?(?:0|[1-9]\d{0,8})(?:\.\d{1,6})?$/.test(text))
    throw new InvalidArgumentError("Expected an amount such as 100 or '$100', in single quotes.");
  return Math.round(Number(text.replace("$", "")) * microUsdPerUsd);
}

function count(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError("Expected a whole number.");
  return Number(text);
}

function period(text: string): BudgetPeriod {
  const found = budgetPeriods.find((known) => known === text);
  if (found === undefined) throw new InvalidArgumentError(`Expected ${budgetPeriods.join(" or ")}.`);
  return found;
}

async function set({ client, terminal }: Cli, target: string, flags: SetFlags): Promise<void> {
  const [team = "", agent, ...rest] = target.split("/");
  if (rest.length > 0) throw new CliError("usage", `\`${target}\` is neither TEAM nor TEAM/NAME`);
  const { month, total, tokens, calls, approvers } = flags;
  if (month !== undefined && total !== undefined) throw new CliError("usage", "either --month or --total");
  if ((month ?? total ?? tokens ?? calls) === undefined) {
    throw new CliError("usage", "limit what?", { hint: "countersign budget set TEAM --month '$100'" });
  }
  const ofMoney: BudgetPeriod | undefined = total !== undefined ? "total" : month !== undefined ? "month" : undefined;
  if (ofMoney !== undefined && flags.period !== undefined && flags.period !== ofMoney)
    throw new CliError("usage", `--period ${flags.period} is not what --${ofMoney} is for: set two budgets`);
  const over = ofMoney ?? flags.period ?? "month";
  const { changed } = await client.setBudget({
    body: {
      team,
      ...(agent === undefined ? {} : { agent }),
      period: over,
      maxMicroUsd: month ?? total ?? null,
      maxTokens: tokens ?? null,
      maxCalls: calls ?? null,
      approvers,
    },
  });
  const limits = [
    ["money", month ?? total, formatUsd] as const,
    ["tokens", tokens, String] as const,
    ["calls", calls, String] as const,
  ].map(([what, limit, shown]) => (limit === undefined ? `no limit of ${what}` : `${shown(limit)} of ${what}`));
  const of = `${target} for ${over === "month" ? "a month" : "all time"}`;
  terminal.say(`the budget of ${of} ${changed ? "is set" : "was so already"}: ${limits.join(", ")}`);
  terminal.result({ changed });
}

async function show({ client, terminal }: Cli, team: string | undefined): Promise<void> {
  const { budgets } = await client.listBudgets({ query: team === undefined ? {} : { team } });
  if (budgets.length === 0)
    terminal.say(
      `${team === undefined ? "no budgets" : `no budgets of team ${team}`}; set one: countersign budget set ${team ?? "TEAM"} --month AMOUNT`,
    );
  for (const { team: of, agent, period: over, limits, spent, held, extended, approvers } of budgets) {
    terminal.say(
      `${of}${agent === null ? "" : `/${agent}`}, ${over === "month" ? "this month" : "in all"}; approvers: ${approvers}`,
    );
    const line = (what: string, unit: keyof typeof spent, shown: (amount: number) => string): void => {
      const limit = limits[unit];
      if (limit === null) return;
      const more = extended[unit] === 0 ? "" : `, extended by ${shown(extended[unit])}`;
      terminal.say(`  ${what}: ${shown(spent[unit])} spent and ${shown(held[unit])} held of ${shown(limit)}${more}`);
    };
    line("money", "microUsd", formatUsd);
    line("tokens", "tokens", String);
    line("calls", "calls", String);
  }
  terminal.result({ budgets });
}
