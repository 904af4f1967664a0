import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";

import { z } from "zod";

import { CliError } from "./cli-error.ts";

export const defaultApiPort = 7_171;

/** `$COUNTERSIGN_HOME/client.json`, which `countersign dev` writes: whose token commands use when none is given. */
const clientFile = z.object({
  url: z.string(),
  token: z.string(),
  reviewer: z.object({ principal: z.string(), token: z.string(), keyFile: z.string() }).optional(),
});
export type ClientFile = z.output<typeof clientFile>;

export type ConnectionFlags = { readonly url?: string | undefined; readonly token?: string | undefined };

export type Connection = {
  readonly url: string;
  readonly token: string | undefined;
  /** For what reviewers do. A token that was given is used for everything. */
  readonly reviewerToken: string | undefined;
  readonly keyFile: string | undefined;
};

/** Where data lives: `COUNTERSIGN_HOME`, else `.countersign` here. */
export function homeOf(env: NodeJS.ProcessEnv): string {
  return resolve(given(env["COUNTERSIGN_HOME"]) ?? ".countersign");
}

/** Flags before environment before the client file. */
export function connectionOf(flags: ConnectionFlags, env: NodeJS.ProcessEnv): Connection {
  const file = readClientFile(join(homeOf(env), "client.json"));
  const token = given(flags.token) ?? given(env["COUNTERSIGN_TOKEN"]);
  return {
    url: given(flags.url) ?? given(env["COUNTERSIGN_URL"]) ?? file?.url ?? `http://127.0.0.1:${defaultApiPort}`,
    token: token ?? file?.token,
    reviewerToken: token ?? file?.reviewer?.token ?? file?.token,
    keyFile: given(env["COUNTERSIGN_KEY_FILE"]) ?? file?.reviewer?.keyFile,
  };
}

export function readClientFile(path: string): ClientFile | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
  try {
    return clientFile.parse(JSON.parse(text));
  } catch (cause) {
    throw new CliError("environment", `\`${path}\` is not a client file`, {
      cause,
      hint: "delete it; `npm start` writes it again",
    });
  }
}

/** Folders whose code may be loaded as tools: the current one, and those in COUNTERSIGN_TOOL_ROOTS, with `:` between them. */
export function toolRootsOf(env: NodeJS.ProcessEnv): readonly string[] {
  const named = (env["COUNTERSIGN_TOOL_ROOTS"] ?? "").split(":").filter((path) => path !== "");
  return [process.cwd(), ...named.map((path) => resolve(path))];
}

function given(value: string | undefined): string | undefined {
  return value === undefined || value === "" ? undefined : value;
}
