import type { Command } from "commander";

import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../cli-error.ts";
import { toolRootsOf } from "../settings.ts";
import { brief, localTime, shortDigest } from "../terminal.ts";

export function addAgentCommands(program: Command): void {
  const agent = program.command("agent").description("agents and their releases");
  agent
    .command("register <file>")
    .description("register a release from a manifest (.yaml) or code (.ts), and put it into production")
    .action((file: string, _flags, command: Command) => register(cliOf(command), file));
  agent
    .command("list")
    .description("every agent")
    .action((_flags, command: Command) => list(cliOf(command)));
  agent
    .command("show <agent>")
    .description("an agent, as TEAM/NAME or NAME")
    .option("--team <team>", "its team")
    .action((name: string, flags: { team?: string }, command: Command) => show(cliOf(command), name, flags.team));
}

async function register({ client, terminal, env }: Cli, file: string): Promise<void> {
  const { readAgentFile } = await import("../agent-file.ts");
  const document = await readAgentFile(file, toolRootsOf(env));
  const registered = await client.registerAgent({ body: { document } });
  const name = `${registered.team}/${registered.agent}`;
  terminal.say(
    registered.created
      ? `registered ${name}, release ${shortDigest(registered.release)}, in production`
      : `${name}: release ${shortDigest(registered.release)} was registered before; it is in production`,
  );
  if (registered.policiesActivated) {
    terminal.say(
      `team ${registered.team} had no policies: policies/base is in force (reads are free, everything else needs a reviewer)`,
    );
    terminal.say(`  its own: countersign policy activate DIR --team ${registered.team}`);
  }
  terminal.say(`  run it: countersign run start ${name} --input "…" --watch`);
  terminal.result(registered);
}

async function list({ client, terminal }: Cli): Promise<void> {
  const { agents } = await client.listAgents({});
  if (agents.length === 0)
    terminal.say("no agents yet; register one: countersign agent register examples/support/agent.yaml");
  else {
    terminal.table(
      ["agent", "production", "releases", "registered"],
      agents.map(({ team, agent, channels, releases, registeredAt }) => [
        `${team}/${agent}`,
        channels.production === undefined ? "" : shortDigest(channels.production),
        String(releases),
        localTime(registeredAt),
      ]),
    );
  }
  terminal.result({ agents });
}

async function show(cli: Cli, name: string, team: string | undefined): Promise<void> {
  const { client, terminal } = cli;
  const detail = await client.showAgent({ params: await resolveAgent(cli, name, team) });
  terminal.say(
    `${detail.team}/${detail.agent}, ${detail.releases} ${detail.releases === 1 ? "release" : "releases"}, registered ${localTime(detail.registeredAt)}`,
  );
  const { production } = detail;
  if (production !== null) {
    const { model, useCase, riskTier, tools, retrieval = [], limits } = production.document;
    terminal.say(
      `production: ${shortDigest(production.digest)}, model ${model.name}, use case ${useCase}, risk ${riskTier}`,
    );
    const counts = [
      `${limits.maxSteps} steps`,
      ...(limits.maxCalls === undefined ? [] : [`${limits.maxCalls} calls`]),
      ...(limits.maxTokens === undefined ? [] : [`${limits.maxTokens} tokens`]),
    ];
    terminal.say(
      `limits: ${counts.join(", ")}, ${limits.maxCostMicroUsd / 1e6} USD, ${limits.maxWallClockMs / 60_000} min`,
    );
    terminal.table(
      ["tool", "effect", "groups", "description"],
      tools.map((tool) => [tool.name, tool.effect, tool.groups.join(", "), brief(tool.description, 60)]),
    );
    if (retrieval.length > 0)
      terminal.table(
        ["source", "effect", "documents", "top", "description"],
        retrieval.map(({ name, effect, results, topK, description }) => [
          name,
          effect,
          `${results.origin}, ${results.confidentiality}`,
          String(topK),
          brief(description, 60),
        ]),
      );
  }
  terminal.table(
    ["when", "channel", "release", "by", "reason"],
    detail.history.map((event) => [
      localTime(event.at),
      event.channel,
      shortDigest(event.release),
      event.by,
      brief(event.reason, 40),
    ]),
  );
  terminal.result(detail);
}

/** `TEAM/NAME`, or a name that only one team has. Without a name: the only agent there is. */
export async function resolveAgent(
  { client }: Cli,
  name: string | undefined,
  team: string | undefined,
): Promise<{ team: string; agent: string }> {
  const [first = "", second] = (name ?? "").split("/");
  if (second !== undefined && team !== undefined && first !== team) {
    throw new CliError("usage", `\`${name}\` is of team \`${first}\`, and --team says \`${team}\``);
  }
  const wanted = { team: second === undefined ? team : first, agent: second ?? (first === "" ? undefined : first) };
  if (wanted.team !== undefined && wanted.agent !== undefined) return { team: wanted.team, agent: wanted.agent };
  const { agents } = await client.listAgents({});
  const fitting = agents.filter(
    (row) =>
      (wanted.team === undefined || row.team === wanted.team) &&
      (wanted.agent === undefined || row.agent === wanted.agent),
  );
  const [found] = fitting;
  if (found !== undefined && fitting.length === 1) return { team: found.team, agent: found.agent };
  if (agents.length === 0) {
    throw new CliError("usage", "there are no agents yet", {
      hint: "register one: countersign agent register examples/support/agent.yaml",
    });
  }
  const named = agents.map((row) => `${row.team}/${row.agent}`).join(", ");
  throw new CliError("usage", fitting.length === 0 ? `no agent \`${name ?? team}\`` : "which agent?", {
    hint: `name one of ${named}`,
  });
}
