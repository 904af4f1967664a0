import { readFile } from "node:fs/promises";
import { join } from "node:path";

import type { Logger } from "pino";

import { dojoScripts } from "../../examples/agentdojo/dojo.ts";
import { noFacts } from "../core/decision.ts";
import { checkPostgres } from "../dev/index.ts";
import type { ShutdownStack } from "../dev/index.ts";
import {
  createSequencer,
  createWitnessing,
  loadOrCreateSigners,
  loadWitnesses,
  parseVerifierKey,
  signedNotesIn,
  StoppedLogs,
} from "../ledger/index.ts";
import type { Cosigners } from "../ledger/index.ts";
import { notifyOptionsOf } from "../notify/index.ts";
import { detectorOptionsOf, remoteOptionsOf } from "../policy/index.ts";
import {
  createModelProvider,
  parsePriceOverrides,
  parseScript,
  priceOf,
  scriptSource,
  startScriptedModel,
} from "../providers/index.ts";
import type { ModelProvider } from "../providers/index.ts";
import { createServer } from "../server/index.ts";
import { canRewriteLedger, createPool, grantAppRole, migrate } from "../store/index.ts";
import type { Pool } from "../store/index.ts";
import { connectTemporal, createPayloadCodec, startWorker } from "../temporal/index.ts";
import type { AgentWorker, WorkflowBundle } from "../temporal/index.ts";
import { modelRegionOf } from "./model-region.ts";
import { CliError } from "./cli-error.ts";
import { payloadKeysIn } from "./key-provider.ts";
import { ownScripts } from "./own-scripts.ts";
import { ledgerSettingsOf, oldestPostgres } from "./server-settings.ts";
import type { ServerSettings } from "./server-settings.ts";
import { toolRootsOf } from "./settings.ts";

export type ServiceOptions = {
  /** What is started is added to it. */
  readonly stack: ShutdownStack;
  /** Keys are files here: every process of one deployment needs the same. */
  readonly secrets: string;
  readonly settings: Pick<ServerSettings, "databaseUrl" | "temporal" | "taskQueue">;
  readonly logger: Logger;
};

/** The database's pool, migrated. Throws `postgres_unreachable` or `postgres_too_old`. */
export async function openDatabase(
  { stack, settings }: ServiceOptions,
  onProgress: (line: string) => void,
): Promise<Pool> {
  await checkPostgres(settings.databaseUrl, oldestPostgres);
  const pool = createPool({ url: settings.databaseUrl });
  stack.add("database connections", () => pool.end(), 5_000);
  const { applied } = await migrate(pool);
  if (applied.length > 0) onProgress(`migrated the database: ${applied.join(", ")}`);
  if (await canRewriteLedger(pool))
    onProgress('connected as a role that could rewrite the ledger: see docs/ledger.md, "Who may write"');
  return pool;
}

/** Migrates the database as its owner, and gives the role of servers and workers what it needs. */
export async function prepareDatabase(
  ownerUrl: string,
  role: string,
  onProgress: (line: string) => void,
): Promise<void> {
  await checkPostgres(ownerUrl, oldestPostgres);
  const pool = createPool({ url: ownerUrl, max: 1 });
  try {
    const { applied } = await migrate(pool);
    if (applied.length > 0) onProgress(`migrated the database: ${applied.join(", ")}`);
    await grantAppRole(pool, role);
  } finally {
    await pool.end();
  }
}

/** The HTTP API, and the sequencer that brings what happened into the ledger. Returns the API's URL. */
export async function startApi(
  options: ServiceOptions & { readonly settings: ServerSettings },
  pool: Pool,
  env: NodeJS.ProcessEnv,
): Promise<string> {
  const { stack, secrets, settings, logger } = options;
  const notify = notifyOptionsOf(env);
  const signers = await loadOrCreateSigners(join(secrets, "ledger.pem"));
  const origin = (log: string): string => originOf(settings.ledgerHost, log);
  const stopped = new StoppedLogs();
  const { witnesses, quorum } =
    settings.witnesses === undefined ? { witnesses: [], quorum: 0 } : await loadWitnesses(settings.witnesses);
  const witnessing = createWitnessing({
    pool,
    witnesses,
    now: () => new Date(),
    stopped,
    onError: (error, log, witness) => logger.error({ err: error, log, witness }, "witness"),
  });
  witnessing.start();
  stack.add("witnesses", () => witnessing.stop(), 15_000);
  // A database that was restored does not know what they have cosigned: they are asked before anything is signed.
  await witnessing.asked();
  const sequencer = createSequencer({
    pool,
    signers: (log) => signers(origin(log)),
    originOf: origin,
    kept: signedNotesIn(join(secrets, "ledger-signed")),
    stopped,
    onError: (error, log) => logger.error({ err: error, log }, "ledger"),
  });
  sequencer.start();
  stack.add("ledger", () => sequencer.stop(), 10_000);
  const keys = await payloadKeysIn(secrets, env);
  const connection = await connectTemporal({ ...settings.temporal, codec: createPayloadCodec(pool, keys) });
  stack.add("Temporal connection", () => connection.close(), 5_000);
  const server = createServer({
    pool,
    databaseUrl: settings.databaseUrl,
    keys,
    temporal: connection.client,
    taskQueue: settings.taskQueue,
    ledger: {
      originOf: origin,
      signerOf: (log) => signers(origin(log))[0],
      signersOf: (log) => signers(origin(log)),
      flush: (log) => sequencer.flush(log),
      stopped: () => stopped.list(),
      witnesses: witnesses.map(({ verifierKey }) => verifierKey),
      quorum,
      open: settings.openLedger,
    },
    logger,
    allowedHosts: settings.allowedHosts,
    notify,
    origin: settings.origin,
    virtualAuthenticators: settings.virtualAuthenticators,
    temporalUi: settings.temporalUi,
  });
  const { url } = await server.start(settings.port, settings.host);
  stack.add("API", () => server.stop(), 10_000);
  return url;
}

/** A worker that runs agents, with the model that the environment names. */
export async function startAgentWorker(
  { stack, secrets, settings, logger }: ServiceOptions,
  env: NodeJS.ProcessEnv,
  bundle?: WorkflowBundle,
): Promise<{ readonly worker: AgentWorker; readonly model: string }> {
  const model = await modelOf(env, stack);
  const worker = await startWorker({
    temporal: settings.temporal,
    taskQueue: settings.taskQueue,
    databaseUrl: settings.databaseUrl,
    keys: await payloadKeysIn(secrets, env),
    provider: model.provider,
    priceOf: await pricesOf(env, model.baseUrl),
    toolRoots: toolRootsOf(env),
    ...deciders(env),
    cosigners: await cosignersOf(env, secrets),
    environment: {
      name: env["COUNTERSIGN_ENVIRONMENT"] || noFacts.environment.name,
      region: modelRegionOf(env, model.baseUrl),
    },
    logger,
    ...(bundle === undefined ? {} : { bundle }),
  });
  stack.add("worker", () => worker.stop(), 20_000);
  return { worker, model: model.name };
}

/** Who is asked about a decision beside the policies, as the environment names them. */
export function deciders(env: NodeJS.ProcessEnv) {
  return { remote: remoteOptionsOf(env), detector: detectorOptionsOf(env) };
}

/** Whom a worker believes about what is in the log: the witnesses that the environment names, and the logs' own keys. */
async function cosignersOf(env: NodeJS.ProcessEnv, secrets: string): Promise<Cosigners | undefined> {
  const { witnesses: file, ledgerHost } = ledgerSettingsOf(env);
  if (file === undefined) return undefined;
  const { witnesses } = await loadWitnesses(file);
  const signers = await loadOrCreateSigners(join(secrets, "ledger.pem"));
  return {
    witnesses,
    logKeys: (log) => signers(originOf(ledgerHost, log)).map(({ verifierKey }) => parseVerifierKey(verifierKey)),
  };
}

function originOf(host: string, log: string): string {
  return `${host}/ledger/${log}`;
}

type Model = {
  readonly name: string;
  readonly provider: ModelProvider;
  readonly baseUrl?: string;
  /** Of the scripted one: whether a script is for this model. */
  readonly plays?: (model: string) => boolean;
};

/** Any OpenAI-compatible server where a key or an address is set; else the scripted model, over the same protocol. */
export async function modelOf(env: NodeJS.ProcessEnv, stack: ShutdownStack): Promise<Model> {
  // Set to nothing is not set.
  const apiKey = env["OPENAI_API_KEY"] || undefined;
  const address = env["OPENAI_BASE_URL"] || undefined;
  const timeoutMs = 300_000;
  if (apiKey !== undefined || address !== undefined) {
    const baseUrl = address ?? "https://api.openai.com/v1";
    const url = URL.parse(baseUrl);
    // It is shown where the worker starts, and fetch asks no address that has a password in it.
    if (url === null || !/^https?:$/.test(url.protocol) || url.username !== "" || url.password !== "")
      throw new CliError("environment", "OPENAI_BASE_URL is not the address of a server, without a user", {
        hint: "give one like https://api.openai.com/v1, and the key in OPENAI_API_KEY",
      });
    return { name: baseUrl, baseUrl, provider: createModelProvider({ baseUrl, apiKey: apiKey ?? "none", timeoutMs }) };
  }
  const own = await ownScripts(env);
  const file = new URL("../../examples/support/script.yaml", import.meta.url);
  const support = parseScript(await readFile(file, "utf8"), "examples/support/script.yaml");
  const scripts = [scriptSource(own), scriptSource([support]), await dojoScripts()];
  const scripted = await startScriptedModel({ scripts });
  stack.add("scripted model", () => scripted.close(), 5_000);
  const names = own.map(({ model }) => model).join(", ");
  const name = `scripted, no key needed${names === "" ? "" : `; with your own ${names}`}`;
  return {
    name,
    provider: createModelProvider({ baseUrl: scripted.url, apiKey: "scripted", timeoutMs }),
    plays: (model) => scripts.some((script) => script(model) !== undefined),
  };
}

/** The shipped table, under the operator's own prices in the JSON file that COUNTERSIGN_PRICES names. */
export async function pricesOf(
  env: NodeJS.ProcessEnv,
  baseUrl: string | undefined,
): Promise<(model: string) => ReturnType<typeof priceOf>> {
  const file = env["COUNTERSIGN_PRICES"];
  const overrides =
    file === undefined || file === "" ? {} : { overrides: parsePriceOverrides(await readJson(file), file) };
  return (model) => priceOf(model, { ...overrides, ...(baseUrl === undefined ? {} : { baseUrl }) });
}

async function readJson(file: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, "utf8"));
  } catch (cause) {
    throw new CliError("environment", `COUNTERSIGN_PRICES: \`${file}\` is not a readable JSON file`, { cause });
  }
}
