import type { Command } from "commander";

import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { databaseUrlOf, oldestPostgres } from "../server-settings.ts";
import { safe } from "../terminal.ts";

type MigrateFlags = { readonly database?: string; readonly appRole?: string };

export function addMigrateCommand(program: Command): void {
  program
    .command("migrate")
    .description("bring the database of DATABASE_URL up to this version")
    .option("--database <url>", "as the database's owner; default: DATABASE_URL")
    .option(
      "--app-role <role>",
      "give this role, which servers and workers connect as, the rights that they need, and no others",
    )
    .action((flags: MigrateFlags, command: Command) => migrateDatabase(cliOf(command), flags));
}

async function migrateDatabase({ env, terminal }: Cli, { database, appRole }: MigrateFlags): Promise<void> {
  const url = database ?? databaseUrlOf(env);
  const [{ createPool, grantAppRole, migrate }, { checkPostgres }] = await Promise.all([
    import("../../store/index.ts"),
    import("../../dev/index.ts"),
  ]);
  await checkPostgres(url, oldestPostgres);
  const pool = createPool({ url, max: 1 });
  try {
    const { applied } = await migrate(pool);
    terminal.say(applied.length === 0 ? "the database is up to date" : `applied ${applied.join(", ")}`);
    if (appRole !== undefined) {
      await grantAppRole(pool, appRole);
      terminal.say(`role ${safe(appRole)} may use it: set DATABASE_URL of servers and workers to its URL`);
    }
    terminal.result({ applied, ...(appRole === undefined ? {} : { appRole }) });
  } finally {
    await pool.end();
  }
}
