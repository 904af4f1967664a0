import type { Command } from "commander";

import { createClient } from "../api/index.ts";
import type { ApiClient } from "../api/index.ts";
import { outputClosed } from "./output.ts";
import { connectionOf } from "./settings.ts";
import type { Connection } from "./settings.ts";
import { createTerminal } from "./terminal.ts";
import type { Terminal } from "./terminal.ts";

export type GlobalFlags = {
  readonly json?: boolean;
  readonly url?: string;
  readonly token?: string;
  readonly color: boolean;
};

/** Records of long runs take a while. */
const timeoutMs = 60_000;

/** What every command works with. */
export type Cli = {
  readonly env: NodeJS.ProcessEnv;
  readonly terminal: Terminal;
  readonly connection: Connection;
  readonly client: ApiClient;
  /** Calls as the reviewer, where `dev` has set one up. */
  readonly reviewer: ApiClient;
  /** Aborted by Ctrl-C, and where nobody reads the output any more. */
  readonly interrupted: AbortSignal;
};

/** Adds commands to the program. */
export type AddCommands = (program: Command) => void;

export function cliOf(command: Command): Cli {
  const flags: GlobalFlags = command.optsWithGlobals();
  const env = process.env;
  const connection = connectionOf(flags, env);
  const { url: baseUrl, token, reviewerToken } = connection;
  return {
    env,
    terminal: createTerminal({ json: flags.json === true, color: flags.color }),
    connection,
    client: createClient({ baseUrl, token, timeoutMs }),
    reviewer: createClient({ baseUrl, token: reviewerToken, timeoutMs }),
    // Only what listens to it takes Ctrl-C over.
    get interrupted() {
      return AbortSignal.any([interruption(), outputClosed]);
    },
  };
}

let interrupting: AbortController | undefined;

function interruption(): AbortSignal {
  if (interrupting === undefined) {
    const controller = new AbortController();
    interrupting = controller;
    process.once("SIGINT", () => {
      controller.abort();
      // A second Ctrl-C ends what does not listen.
      process.once("SIGINT", () => process.exit(130));
    });
  }
  return interrupting.signal;
}
