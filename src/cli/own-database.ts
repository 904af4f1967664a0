import { existsSync } from "node:fs";

import { checkPostgres, embeddedDatabase, resolveHome } from "../dev/index.ts";
import { CliError } from "./cli-error.ts";
import { oldestPostgres } from "./server-settings.ts";

/**
 * The database that people are kept in: DATABASE_URL, else the one that `npm start` runs on the data directory. It was tried. Throws
 * `environment`, `postgres_unreachable` or `postgres_too_old`.
 */
export async function ownDatabaseUrl(env: NodeJS.ProcessEnv): Promise<string> {
  const home = resolveHome(env);
  const url = env["DATABASE_URL"] || embeddedDatabase(home);
  if (url === undefined) {
    const why = existsSync(home.postgres) ? "no database runs in" : "there is no database in";
    throw new CliError("environment", `DATABASE_URL is not set, and ${why} \`${home.root}\``, {
      hint: "start it with `npm start`, as the same user and with the same COUNTERSIGN_HOME; or set DATABASE_URL",
    });
  }
  await checkPostgres(url, oldestPostgres);
  return url;
}
