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
  readonly period: BudgetPeriod;
  readonly tokens?: number;
  readonly calls?: number;
  readonly approvers: string;
};

export function addBudgetCommands(program: Command): void {
  const budget = program.command("budget").description("what a team or one of its agents may spend");
  budget
    .command("set <team>")
    .description("limit a TEAM or an agent (TEAM/NAME) from the next step on; steps beyond it wait for people")
    .option("--month <amount>", 'money in a calendar month of UTC, such as "$100"', dollars)
    .option("--total <amount>", "money in all, instead of a month", dollars)
    .option("--period <period>", "what --tokens and --calls are for, without money: month or total", period, "month")
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
  if (!/^\$?\d{1,9}(\.\d{1,6})?$/.test(text)) throw new InvalidArgumentError('Expected an amount such as "$100".');
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
  const [team = "", agent] = target.split("/");
  const { month, total, tokens, calls, approvers } = flags;
  if (month !== undefined && total !== undefined) throw new CliError("usage", "either --month or --total");
  if ((month ?? total ?? tokens ?? calls) === undefined) {
    throw new CliError("usage", "limit what?", { hint: 'countersign budget set TEAM --month "$100"' });
  }
  const over: BudgetPeriod = total !== undefined ? "total" : month !== undefined ? "month" : flags.period;
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
  terminal.say(changed ? `the budget of ${target} is set` : `the budget of ${target} was so already`);
  terminal.result({ changed });
}

async function show({ client, terminal }: Cli, team: string | undefined): Promise<void> {
  const { budgets } = await client.listBudgets({ query: team === undefined ? {} : { team } });
  if (budgets.length === 0) terminal.say("no budgets; set one: countersign budget set TEAM --month AMOUNT");
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
