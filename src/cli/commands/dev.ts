import type { Command } from "commander";

import { createClient } from "../../api/index.ts";
import type { ApiClient } from "../../api/index.ts";
import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../cli-error.ts";
import { poll } from "../poll.ts";
import { portOf } from "../server-settings.ts";
import { defaultApiPort } from "../settings.ts";
import type { Stack, StackPorts } from "../stack.ts";

type DevFlags = {
  readonly port?: string;
  readonly temporalPort?: string;
  readonly temporalUiPort?: string;
  readonly postgresPort?: string;
  readonly example: boolean;
};

/** Beside the usual ports of these servers, so that others on the machine are not in the way. */
const defaultPorts = { temporal: 7_233, temporalUi: 8_233, postgres: 7_432 } as const;

/** Everything back to the customer: more than the agent may give by itself, less than the cap. */
const examplePrompt = "I want my money back for order A-1002, the grinder is faulty.";

export function addDevCommand(program: Command): void {
  program
    .command("dev")
    .description(
      "everything on this machine: Temporal, Postgres, ledger, worker, API, and the example agent (this is `npm start`)",
    )
    .option("--port <port>", `the API's port (COUNTERSIGN_PORT, ${defaultApiPort})`)
    .option("--temporal-port <port>", `COUNTERSIGN_TEMPORAL_PORT, ${defaultPorts.temporal}`)
    .option("--temporal-ui-port <port>", `COUNTERSIGN_TEMPORAL_UI_PORT, ${defaultPorts.temporalUi}`)
    .option("--postgres-port <port>", `COUNTERSIGN_POSTGRES_PORT, ${defaultPorts.postgres}`)
    .option("--no-example", "do not register and start the example agent")
    .action((flags: DevFlags, command: Command) => dev(cliOf(command), flags));
}

async function dev({ env, terminal }: Cli, flags: DevFlags): Promise<void> {
  const [{ resolveHome, untilInterrupted }, { startStack }] = await Promise.all([
    import("../../dev/index.ts"),
    import("../stack.ts"),
  ]);
  const home = resolveHome(env);
  const interrupted = untilInterrupted();
  const starting = new AbortController();
  void interrupted.then(() => starting.abort(new CliError("environment", "interrupted")));
  const stack = await startStack({
    home,
    ports: portsOf(flags, env),
    env,
    onProgress: terminal.note,
    signal: starting.signal,
  });
  try {
    const operator = createClient({ baseUrl: stack.apiUrl, token: stack.people.token });
    await describe(terminal.say, stack, home.root);
    if (flags.example) await showExample(terminal.say, operator);
    terminal.say("\nCtrl-C stops everything; the next start goes on from here.");
    terminal.result({ api: stack.apiUrl, temporalUi: stack.temporalUiUrl, home: home.root });
    const reason = await Promise.race([interrupted, stack.broken]);
    if (!reason.startsWith("SIG")) throw new CliError("environment", reason);
    terminal.note("stopping; what is under way goes on at the next start");
  } finally {
    for (const { name, error } of await stack.stop()) terminal.note(`${name} did not stop cleanly: ${String(error)}`);
  }
}

async function describe(say: (line?: string) => void, stack: Stack, home: string): Promise<void> {
  say("\nCountersign is up.");
  say(`  API        ${stack.apiUrl}   (described in ${stack.apiUrl}/openapi.json)`);
  say(`  passkeys   ${stack.pagesUrl}/approve and ${stack.pagesUrl}/keys, in a browser`);
  if (stack.temporalUiUrl !== undefined) say(`  Temporal   ${stack.temporalUiUrl}`);
  say(`  model      ${stack.model}`);
  say(`  data       ${home}`);
}

/** The example's run is started once; after a restart one that is still open is shown as it was, or else the newest. */
async function showExample(say: (line?: string) => void, client: ApiClient): Promise<void> {
  const { exampleAgent, registerExample, startExampleRun } = await import("../example.ts");
  await registerExample(client);
  const { runs } = await client.listRuns({ query: { ...exampleAgent, limit: 20 } });
  const known = runs.find((one) => one.closedAt === null) ?? runs[0];
  const run = known?.id ?? (await startExampleRun(client, examplePrompt));
  const detail = await poll(20_000, async () => {
    const found = await client.showRun({ params: { run } });
    const waits = found.approvals.some((approval) => approval.state === "pending");
    return waits || found.run.closedAt !== null ? found : undefined;
  });
  const pending = detail?.approvals.find((approval) => approval.state === "pending");
  say(`\nThe example agent shop/support was asked: "${detail?.input?.prompt ?? examplePrompt}"`);
  if (pending !== undefined) {
    say(
      `Its run ${run} wants to refund more than it may by itself, and waits for a person. Type in another terminal, in this directory:\n`,
    );
    say(`  npx countersign approvals show ${pending.id}`);
    say(`  npx countersign approvals approve ${pending.id}`);
  } else {
    say(`Its run ${run} is ${detail?.run.status ?? "under way"}. Type in another terminal, in this directory:\n`);
  }
  say(`  npx countersign run watch ${run}`);
  say(`  npx countersign audit replay ${run}`);
  say(
    '  npx countersign run start shop/support --input "Where is my order A-1004?" --subject-id cus_ada --subject-email ada@example.com --watch',
  );
  say("  npx countersign --help");
}

function portsOf(flags: DevFlags, env: NodeJS.ProcessEnv): StackPorts {
  const port = (flag: string | undefined, name: string, otherwise: number): number => {
    const given = flag ?? env[name];
    return given === undefined || given === "" ? otherwise : portOf(given);
  };
  return {
    api: port(flags.port, "COUNTERSIGN_PORT", defaultApiPort),
    temporal: port(flags.temporalPort, "COUNTERSIGN_TEMPORAL_PORT", defaultPorts.temporal),
    temporalUi: port(flags.temporalUiPort, "COUNTERSIGN_TEMPORAL_UI_PORT", defaultPorts.temporalUi),
    postgres: port(flags.postgresPort, "COUNTERSIGN_POSTGRES_PORT", defaultPorts.postgres),
  };
}
