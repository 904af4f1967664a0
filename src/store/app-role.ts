import { inTransaction, StoreError } from "./database.ts";
import type { Pool, Tx } from "./database.ts";

/** What may be done to a ledger's tables: no row that was written is changed or deleted, but a log's head and a run's last entry move on. */
const ledgerRights: Readonly<Record<string, string>> = {
  ledger_entry: "select, insert",
  ledger_tile: "select, insert",
  ledger_checkpoint: "select, insert",
  ledger_cosignature: "select, insert",
  ledger_key: "select, insert",
  ledger_state: "select, insert, update (size, root, right_edge)",
  ledger_run: "select, insert, update (seq, leaf_hash)",
  ledger_outbox: "select, insert, delete",
  schema_version: "select",
};
/** Of the others, those whose rows go: erased contents, and challenges that were answered. */
const withDeletion: ReadonlySet<string> = new Set(["payload", "enrolment_challenge"]);

/**
 * Gives `role`, which exists, what servers, workers and sequencers need, and takes from it what they do not: it cannot change the schema, disable a
 * trigger, truncate, or rewrite the ledger. `pool` is the owner's. Safe to repeat, and needed again after a migration.
 */
export async function grantAppRole(pool: Pool, role: string): Promise<void> {
  await inTransaction(pool, async (tx) => {
    const quoted = await usableRole(tx, role);
    const { rows } = await tx.query<{ name: string }>(
      "select tablename as name from pg_tables where schemaname = 'countersign' order by tablename",
    );
    // One after the other: later ones give what the first took.
    await tx.query(`revoke all on all tables in schema countersign from ${quoted}`);
    await tx.query(`grant usage on schema countersign to ${quoted}`);
    for (const { name } of rows) {
      const rights = ledgerRights[name] ?? `select, insert, update${withDeletion.has(name) ? ", delete" : ""}`;
      await tx.query(`grant ${rights} on countersign.${name} to ${quoted}`);
    }
  });
}

/** The role as SQL writes it. Throws `app_role_unusable` where there is none, or where no right can be taken from it. */
async function usableRole(tx: Tx, role: string): Promise<string> {
  const unusable = (why: string): StoreError =>
    new StoreError("app_role_unusable", `\`${role}\` ${why}`, {
      hint: "make another role, which owns nothing, for servers and workers to connect as: createuser --pwprompt countersign_app",
    });
  const { rows } = await tx.query<{ quoted: string; superuser: boolean; owner: boolean }>(
    `select quote_ident(rolname) as quoted, rolsuper as superuser,
       exists (select from pg_tables where schemaname = 'countersign' and pg_has_role(rolname, tableowner, 'member')) as owner
     from pg_roles where rolname = $1`,
    [role],
  );
  const [found] = rows;
  if (found === undefined) throw unusable("is no role of this server");
  if (found.superuser) throw unusable("is a superuser, so no right can be taken from it");
  if (found.owner)
    throw unusable("owns the tables, or is a member of the role that does, so no right can be taken from it");
  return found.quoted;
}

/** Whether who is connected could rewrite the ledger: its owner, a member of that role, a superuser, or who was given more than they need. */
export async function canRewriteLedger(tx: Tx): Promise<boolean> {
  const { rows } = await tx.query<{ can: boolean }>(
    `select pg_has_role(current_user, tableowner, 'member') or has_table_privilege('countersign.ledger_entry', 'update, delete, truncate') as can
     from pg_tables where schemaname = 'countersign' and tablename = 'ledger_entry'`,
  );
  return rows[0]?.can === true;
}
