import { InvalidArgumentError } from "commander";
import type { Command } from "commander";

import type { RunId } from "../core/ids.ts";
import type { Cli } from "./cli.ts";
import { CliError } from "./cli-error.ts";
import { sinceOf } from "./times.ts";

export type SelectionFlags = {
  readonly team?: string;
  readonly agent?: string;
  readonly since?: string;
  readonly limit?: number;
};

/** The flags that select runs where none are named. */
export function addSelectionFlags(command: Command): Command {
  return command
    .option("--team <team>", "runs of this team")
    .option("--agent <agent>", "runs of this agent, TEAM/NAME or NAME")
    .option("--since <time>", "runs begun since then: 30d, 12h, or 2026-11-01")
    .option("--limit <n>", "at most so many, the newest first", positive);
}

/** The runs that were named, or those that the flags select, newest first and page by page. */
export async function* selectRuns(cli: Cli, named: readonly RunId[], flags: SelectionFlags): AsyncGenerator<RunId> {
  const selects = Object.values({ ...flags }).some((value) => value !== undefined);
  if (named.length > 0 && selects)
    throw new CliError("usage", "name runs, or select them with --team, --agent or --since: not both");
  if (named.length === 0 && !selects) {
    throw new CliError("usage", "which runs? Name them, or select them", {
      hint: "countersign audit replay RUN…, or --since 7d; see countersign run list",
    });
  }
  if (named.length > 0) return yield* named;
  const [agent, team = flags.team, ...rest] = flags.agent?.split("/").toReversed() ?? [];
  if (rest.length > 0) throw new CliError("usage", `\`${flags.agent ?? ""}\` is neither TEAM/NAME nor NAME`);
  const since = flags.since === undefined ? undefined : sinceOf(flags.since, new Date());
  let left = flags.limit ?? Number.POSITIVE_INFINITY;
  for await (const { id } of runsBegun(cli, { team, agent, since })) {
    if (left === 0) return;
    left -= 1;
    yield id;
  }
}

type Begun = {
  readonly team?: string | undefined;
  readonly agent?: string | undefined;
  /** ISO 8601 in UTC, as runs have it: at or after it, and before `until`. */
  readonly since?: string | undefined;
  readonly until?: string | undefined;
};

/** Runs, newest first and page by page. */
export async function* runsBegun(
  { client }: Pick<Cli, "client">,
  { team, agent, since, until }: Begun,
): AsyncGenerator<{ readonly id: RunId; readonly closedAt: string | null }> {
  for (let cursor: string | null | undefined; cursor !== null;) {
    const query = {
      limit: 200,
      ...(team === undefined ? {} : { team }),
      ...(agent === undefined ? {} : { agent }),
      ...(cursor === undefined ? {} : { cursor }),
    };
    const { runs, next } = await client.listRuns({ query });
    // Servers' clocks differ a little: only after a whole page is it certain that the rest began before.
    const rest = runs.filter(({ createdAt }) => since === undefined || createdAt >= since);
    for (const run of rest) if (until === undefined || run.createdAt < until) yield run;
    cursor = rest.length < runs.length ? null : next;
  }
}

function positive(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError("expected a whole number from 1");
  return value;
}
