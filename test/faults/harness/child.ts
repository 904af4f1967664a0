/**
 * A process of a world, in one of its roles, made of what the command line is made of. Armed as the command line is: by COUNTERSIGN_FAULT, and only
 * in a data directory that is marked for it. `CHILD_OPTIONS` says the rest.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { pino } from "pino";

import { createClient } from "../../../src/api/index.ts";
import { exportBundle } from "../../../src/audit/index.ts";
import { evidenceSource } from "../../../src/cli/evidence-source.ts";
import { startApi } from "../../../src/cli/services.ts";
import type { RunId } from "../../../src/core/ids.ts";
import { createShutdownStack } from "../../../src/dev/index.ts";
import { armFaults } from "../../../src/faults/index.ts";
import { loadOrCreateSigners, loadWitnesses, parseVerifierKey, rotateKey } from "../../../src/ledger/index.ts";
import { createModelProvider, priceOf } from "../../../src/providers/index.ts";
import { createPool, loadOrCreatePayloadKeys, sha256 } from "../../../src/store/index.ts";
import { startWorker } from "../../../src/temporal/index.ts";

export type ChildRole = "server" | "worker" | "export" | "rotate";

export type ChildOptions = {
  readonly role: ChildRole;
  readonly home: string;
  readonly databaseUrl: string;
  readonly temporal: { readonly address: string; readonly namespace: string };
  readonly taskQueue: string;
  readonly port: number;
  readonly modelUrl: string;
  readonly bundle: string;
  readonly witnesses: string;
  /** For `export`. */
  readonly bundleFolder?: string;
  readonly runs?: readonly RunId[];
  readonly token?: string;
};

const logger = pino({ level: process.env["TEST_LOG"] ?? "silent" }, pino.destination(2));

async function serve(options: ChildOptions): Promise<void> {
  const stack = createShutdownStack();
  const settings = {
    ...options,
    host: "127.0.0.1",
    allowedHosts: [],
    ledgerHost: "localhost",
    openLedger: false,
    logLevel: "silent",
    origin: undefined,
    temporalUi: undefined,
    virtualAuthenticators: false,
  };
  await startApi(
    { stack, secrets: join(options.home, "secrets"), settings, logger },
    createPool({ url: options.databaseUrl }),
    {},
  );
  process.once("SIGTERM", () => void stack.run().then(() => process.exit(0)));
}

async function work(options: ChildOptions): Promise<void> {
  const code = await readFile(options.bundle, "utf8");
  const [{ witnesses }, signers] = await Promise.all([
    loadWitnesses(options.witnesses),
    loadOrCreateSigners(join(options.home, "secrets", "ledger.pem")),
  ]);
  const logKeys = (log: string) => signers(`localhost/ledger/${log}`).map((one) => parseVerifierKey(one.verifierKey));
  const worker = await startWorker({
    cosigners: { witnesses, logKeys },
    temporal: options.temporal,
    taskQueue: options.taskQueue,
    databaseUrl: options.databaseUrl,
    keys: await loadOrCreatePayloadKeys(join(options.home, "secrets", "payload.key")),
    provider: createModelProvider({ baseUrl: options.modelUrl, apiKey: "scripted", timeoutMs: 60_000 }),
    priceOf: (name) => priceOf(name),
    toolRoots: [],
    logger,
    bundle: { code, digest: sha256(code) },
  });
  process.once("SIGTERM", () => void worker.stop().then(() => process.exit(0)));
  await worker.failed;
}

async function write({ port, token, bundleFolder = "", runs = [] }: ChildOptions): Promise<void> {
  await exportBundle(evidenceSource(createClient({ baseUrl: `http://127.0.0.1:${port}`, token, timeoutMs: 60_000 })), {
    runs,
    directory: bundleFolder,
    force: true,
    contents: true,
    wholeLogs: true,
    code: true,
    about: undefined,
    pinned: [],
    generator: { name: "countersign", version: "faults" },
    now: new Date(),
    onProgress: () => undefined,
  });
}

/** What a process that goes on is told, to be armed anew: the same as its environment said at first. */
export type Rearming = { readonly COUNTERSIGN_FAULT: string; readonly COUNTERSIGN_FAULT_LOG: string };

/** A world bears several plans, one after another, in processes that go on: hits are counted anew from each. */
function rearmable(home: string): void {
  process.on("message", (asked: Rearming) => {
    armFaults({ ...process.env, ...asked }, home);
    process.send?.("armed");
  });
  // None outlives whoever watches.
  process.once("disconnect", () => process.exit(1));
}

const options = JSON.parse(process.env["CHILD_OPTIONS"] ?? "{}") as ChildOptions;
try {
  armFaults(process.env, options.home);
  if (options.role === "server" || options.role === "worker") rearmable(options.home);
  switch (options.role) {
    case "server":
      await serve(options);
      break;
    case "worker":
      await work(options);
      break;
    case "export":
      await write(options);
      break;
    case "rotate":
      await rotateKey(join(options.home, "secrets", "ledger.pem"));
      break;
  }
} catch (error) {
  logger.error({ err: error }, "process failed");
  // Whoever watches starts it again.
  process.exit(1);
}
