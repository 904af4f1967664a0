import { join } from "node:path";

import type { Command } from "commander";

import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { portOf, serverSettingsOf } from "../server-settings.ts";
import type { ServerSettings } from "../server-settings.ts";
import type * as Services from "../services.ts";
import type { ServiceOptions } from "../services.ts";
import { homeOf } from "../settings.ts";

export function addServerCommand(program: Command): void {
  program
    .command("server")
    .description("serve the HTTP API and sequence the ledger, on DATABASE_URL and TEMPORAL_ADDRESS")
    .option("--port <port>", "COUNTERSIGN_PORT")
    .option("--host <address>", "COUNTERSIGN_HOST; default: loopback only")
    .action((flags: { port?: string; host?: string }, command: Command) => {
      const cli = cliOf(command);
      const settings = serverSettingsOf(cli.env);
      return serve(cli, {
        ...settings,
        port: flags.port === undefined ? settings.port : portOf(flags.port),
        host: flags.host ?? settings.host,
      });
    });
  program
    .command("worker")
    .description("run agents, on DATABASE_URL and TEMPORAL_ADDRESS")
    .action((_flags, command: Command) => {
      const cli = cliOf(command);
      return work(cli, serverSettingsOf(cli.env));
    });
}

async function serve(cli: Cli, settings: ServerSettings): Promise<void> {
  await untilStopped(cli, settings, async (services, options) => {
    const url = await services.startApi(
      { ...options, settings },
      await services.openDatabase(options, cli.terminal.note),
      cli.env,
    );
    cli.terminal.say(`serving ${url}`);
    cli.terminal.result({ url });
    return new Promise<never>(() => undefined);
  });
}

async function work(cli: Cli, settings: ServerSettings): Promise<void> {
  await untilStopped(cli, settings, async (services, options) => {
    await services.openDatabase(options, cli.terminal.note);
    const { worker, model } = await services.startAgentWorker(options, cli.env);
    cli.terminal.say(`running agents from task queue \`${settings.taskQueue}\`, model: ${model}`);
    cli.terminal.result({ taskQueue: settings.taskQueue, model, workflowBundle: worker.bundleDigest });
    return worker.failed;
  });
}

/** Starts what `start` starts, and stops it again in order when asked to, or when it fails. */
async function untilStopped(
  { env }: Cli,
  settings: ServerSettings,
  start: (services: typeof Services, options: ServiceOptions) => Promise<never>,
): Promise<void> {
  const [{ pino }, dev, services] = await Promise.all([
    import("pino"),
    import("../../dev/index.ts"),
    import("../services.ts"),
  ]);
  const stack = dev.createShutdownStack();
  const interrupted = dev.untilInterrupted();
  try {
    const logger = pino({ level: settings.logLevel }, pino.destination(2));
    const running = start(services, { stack, secrets: join(homeOf(env), "secrets"), settings, logger });
    await Promise.race([interrupted, running]);
  } finally {
    await stack.run();
  }
}
