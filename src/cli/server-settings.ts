import { CliError } from "./cli-error.ts";
import { originFault } from "./origin.ts";
import { defaultApiPort } from "./settings.ts";

/** The oldest major version that is tried at all; `dev` asks for the same. */
export const oldestPostgres = 15;

/** Where the parts are, for processes that are started one by one. `countersign dev` needs none of it. */
export type ServerSettings = {
  readonly databaseUrl: string;
  readonly temporal: { readonly address: string; readonly namespace: string };
  readonly taskQueue: string;
  readonly host: string;
  readonly port: number;
  readonly allowedHosts: readonly string[];
  /** The first part of every log's origin: the name under which the ledger is known. */
  readonly ledgerHost: string;
  /** The file that names the witnesses to ask, if any. */
  readonly witnesses: string | undefined;
  /** Checkpoints, tiles and entries are served to everybody. */
  readonly openLedger: boolean;
  readonly logLevel: string;
  /** Where people open the server in a browser; undefined: `http://localhost` and the port. Passkeys are bound to it. */
  readonly origin: string | undefined;
  readonly virtualAuthenticators: boolean;
  /** The origin of Temporal's UI, whose pages may have payloads decoded for who may read them. */
  readonly temporalUi: string | undefined;
};

export function serverSettingsOf(env: NodeJS.ProcessEnv): ServerSettings {
  return {
    databaseUrl: databaseUrlOf(env),
    temporal: {
      address: needed(env, "TEMPORAL_ADDRESS", "host:port of a Temporal server"),
      namespace: given(env, "TEMPORAL_NAMESPACE") ?? "default",
    },
    taskQueue: given(env, "COUNTERSIGN_TASK_QUEUE") ?? "countersign",
    host: given(env, "COUNTERSIGN_HOST") ?? "127.0.0.1",
    port: portOf(given(env, "COUNTERSIGN_PORT") ?? String(defaultApiPort)),
    allowedHosts: (given(env, "COUNTERSIGN_ALLOWED_HOSTS") ?? "").split(",").filter((name) => name !== ""),
    ...ledgerSettingsOf(env),
    logLevel: given(env, "COUNTERSIGN_LOG_LEVEL") ?? "info",
    ...siteSettingsOf(env),
  };
}

/** `countersign dev` reads these too. */
export function ledgerSettingsOf(
  env: NodeJS.ProcessEnv,
): Pick<ServerSettings, "ledgerHost" | "witnesses" | "openLedger"> {
  const open = given(env, "COUNTERSIGN_LEDGER_OPEN");
  if (open !== undefined && open !== "0" && open !== "1") {
    throw new CliError("usage", "COUNTERSIGN_LEDGER_OPEN is neither 0 nor 1");
  }
  return {
    ledgerHost: given(env, "COUNTERSIGN_LEDGER_HOST") ?? "localhost",
    witnesses: given(env, "COUNTERSIGN_WITNESSES"),
    openLedger: open === "1",
  };
}

export function siteSettingsOf(
  env: NodeJS.ProcessEnv,
): Pick<ServerSettings, "origin" | "virtualAuthenticators" | "temporalUi"> {
  const origin = given(env, "COUNTERSIGN_ORIGIN")?.replace(/\/$/, "");
  const fault = origin === undefined ? undefined : originFault(origin);
  if (fault !== undefined) throw new CliError("usage", `COUNTERSIGN_ORIGIN: ${fault}`);
  const temporalUi = given(env, "COUNTERSIGN_TEMPORAL_UI")?.replace(/\/$/, "");
  if (temporalUi !== undefined && (!URL.canParse(temporalUi) || new URL(temporalUi).origin !== temporalUi))
    throw new CliError("usage", "COUNTERSIGN_TEMPORAL_UI is not an origin, such as http://localhost:8233");
  const virtualAuthenticators = given(env, "COUNTERSIGN_VIRTUAL_AUTHENTICATORS") === "1";
  return { origin, virtualAuthenticators, temporalUi };
}

export function databaseUrlOf(env: NodeJS.ProcessEnv): string {
  return needed(env, "DATABASE_URL", "the URL of a Postgres database");
}

export function portOf(text: string): number {
  const port = Number(text);
  if (Number.isInteger(port) && port >= 0 && port <= 65_535) return port;
  throw new CliError("usage", `\`${text}\` is not a port`);
}

function needed(env: NodeJS.ProcessEnv, name: string, what: string): string {
  const value = given(env, name);
  if (value !== undefined) return value;
  throw new CliError("environment", `${name} is not set: ${what}`, {
    hint: "to have everything on this machine without setting anything: npm start",
  });
}

function given(env: NodeJS.ProcessEnv, name: string): string | undefined {
  const value = env[name];
  return value === undefined || value === "" ? undefined : value;
}
