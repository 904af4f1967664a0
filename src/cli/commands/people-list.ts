import type { Command } from "commander";

import { cliOf } from "../cli.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../cli-error.ts";
import { safe } from "../terminal.ts";

export function addPeopleListCommands(people: Command): void {
  people
    .command("list")
    .description("who may call the API, and as what; those who were removed have no roles")
    .action((_flags, command: Command) => list(cliOf(command)));
  people
    .command("remove <id>")
    .description(
      "end somebody's token, roles and groups at once; what they approved and was not used yet counts no more",
    )
    .action((id: string, _flags, command: Command) => remove(cliOf(command), id));
}

async function list({ env, terminal }: Cli): Promise<void> {
  const [{ createPool, migrate }, { ownDatabaseUrl }, { listPrincipals, teamsWith }] = await Promise.all([
    import("../../store/index.ts"),
    import("../own-database.ts"),
    import("../../registry/index.ts"),
  ]);
  const pool = createPool({ url: await ownDatabaseUrl(env) });
  try {
    await migrate(pool);
    const people = await listPrincipals(pool);
    if (people.length === 0) terminal.say("nobody yet: countersign people add ID --role operator");
    else {
      terminal.table(
        ["id", "name", "roles", "groups", "person"],
        people.map(({ id, displayName, roles, roleTeams = {}, groups, person = "" }) => [
          id,
          safe(displayName),
          roles
            .map((role) => `${role}${Object.hasOwn(roleTeams, role) ? `:${teamsWith(roleTeams, role).join(",")}` : ""}`)
            .join(" "),
          groups.map(safe).join(", "),
          person,
        ]),
      );
    }
    terminal.result({ people });
  } finally {
    await pool.end();
  }
}

async function remove({ env, terminal }: Cli, id: string): Promise<void> {
  const [{ createPool, inTransaction, migrate }, { ownDatabaseUrl }, { removePrincipal }, { listKeys }] =
    await Promise.all([
      import("../../store/index.ts"),
      import("../own-database.ts"),
      import("../../registry/index.ts"),
      import("../../approvals/index.ts"),
    ]);
  const pool = createPool({ url: await ownDatabaseUrl(env) });
  try {
    await migrate(pool);
    const { known, keys } = await inTransaction(pool, async (tx) => {
      return { known: await removePrincipal(tx, id), keys: await listKeys(tx, { principal: id, limit: 100 }) };
    });
    if (!known) {
      throw new CliError("person_not_found", `there is no \`${safe(id)}\``, { hint: "see: countersign people list" });
    }
    const left = keys.filter(({ revokedAt }) => revokedAt === null).map(({ keyId }) => keyId);
    terminal.say(`${id} has no token, no roles and no groups any more`);
    terminal.say("what they approved and was not used yet counts no more; what was done by it stays");
    for (const key of left)
      terminal.say(`their key is still enrolled; end it for good: countersign keys revoke ${key}`);
    terminal.result({ id, removed: true, keys: left });
  } finally {
    await pool.end();
  }
}
