import { hostname } from "node:os";
import { join, resolve } from "node:path";

import type { Command } from "commander";

import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../cli-error.ts";
import { portOf } from "../server-settings.ts";

const defaultPort = "7181";

type WitnessFlags = {
  readonly log: readonly string[];
  readonly state: string;
  readonly name?: string;
  readonly port: string;
  readonly host: string;
};

export function addWitnessCommand(ledger: Command): void {
  ledger
    .command("witness")
    .description(
      "cosign checkpoints that grew out of the last one (C2SP tlog-witness): for an auditor to run, beside no server of ours",
    )
    .requiredOption(
      "--log <verifier-key>",
      "a log to witness, by the key that its operator published; repeatable",
      many,
      [],
    )
    .requiredOption("--state <dir>", "where its key is kept, and what it cosigned: lose it, and a rollback goes unseen")
    .option("--name <name>", "its key's name; default: HOST/witness. It never changes")
    .option("--port <port>", "where it listens", defaultPort)
    .option("--host <address>", "on which address; the default is this machine only", "127.0.0.1")
    .action((flags: WitnessFlags, command: Command) => witness(cliOf(command), flags));
}

async function witness({ terminal }: Cli, flags: WitnessFlags): Promise<void> {
  const [{ assertPortFree, untilInterrupted }, ledger] = await Promise.all([
    import("../../dev/index.ts"),
    import("../../ledger/index.ts"),
  ]);
  if (flags.log.length === 0) {
    throw new CliError("usage", "which logs? Give --log VERIFIER-KEY", {
      hint: "countersign ledger checkpoint prints it at first use; compare it with what the operator published",
    });
  }
  const logs = flags.log.map(ledger.parseVerifierKey);
  const interrupted = untilInterrupted();
  const directory = resolve(flags.state);
  const state = await ledger.openWitnessState(directory);
  const seed = await ledger.loadOrCreateSeed(join(directory, "witness.pem"));
  const name = flags.name ?? `${hostname()}/witness`;
  const signer = ledger.createCosigner(name, seed, () => Math.floor(Date.now() / 1_000));
  if (flags.port !== "0") await assertPortFree(portOf(flags.port), "the witness", "--port");
  const { url, stop } = await ledger.startWitness({
    host: flags.host,
    port: portOf(flags.port),
    logs,
    signer,
    state,
    onEvent: (line) => terminal.note(`${new Date().toISOString()} ${line}`),
  });
  terminal.say(`witness ${name} listens at ${url}`);
  terminal.say(`  its key, for logs and for who verifies: ${signer.verifierKey}`);
  for (const log of logs) {
    const latest = await state.latest(log.name);
    terminal.say(
      `  ${log.name}: ${latest === undefined ? "nothing cosigned yet" : `cosigned up to size ${latest.size}`}`,
    );
  }
  terminal.result({ url, verifierKey: signer.verifierKey, logs: logs.map((log) => log.name) });
  try {
    await interrupted;
  } finally {
    await stop();
    state.close();
  }
}

function many(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}
