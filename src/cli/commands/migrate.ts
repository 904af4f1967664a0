import type { Command } from "commander";

import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { databaseUrlOf, oldestPostgres } from "../server-settings.ts";

export function addMigrateCommand(program: Command): void {
  program
    .command("migrate")
    .description("bring the database of DATABASE_URL up to this version")
    .action((_flags, command: Command) => migrateDatabase(cliOf(command)));
}

async function migrateDatabase({ env, terminal }: Cli): Promise<void> {
  const url = databaseUrlOf(env);
  const [{ createPool, migrate }, { checkPostgres }] = await Promise.all([
    import("../../store/index.ts"),
    import("../../dev/index.ts"),
  ]);
  await checkPostgres(url, oldestPostgres);
  const pool = createPool({ url, max: 1 });
  try {
    const { applied } = await migrate(pool);
    terminal.say(applied.length === 0 ? "the database is up to date" : `applied ${applied.join(", ")}`);
    terminal.result({ applied });
  } finally {
    await pool.end();
  }
}
