import { readdir, readFile } from "node:fs/promises";

import { codeOf } from "../core/errors.ts";
import { inTransaction, StoreError } from "./database.ts";
import type { Pool, Tx } from "./database.ts";
import { sha256 } from "./canonical.ts";

/** Postgres's SQLSTATE. */
const insufficientPrivilege = "42501";
const folder = new URL("./migrations/", import.meta.url);
/** Any number: it only has to be the same for everybody who migrates. */
const migrationLock = 7_301_202_611;

type Migration = { readonly version: number; readonly name: string; readonly text: string };

/**
 * Brings the `countersign` schema up to this code's version, each file in a transaction of its own. Safe to run from many
 * processes at once, and again. Throws `schema_too_new` when the database was migrated by newer code.
 */
export async function migrate(pool: Pool): Promise<{ readonly applied: readonly string[] }> {
  const migrations = await readMigrations();
  const applied: string[] = [];
  // The role of servers and workers has no right to change the schema, and needs none where nothing is to be changed.
  if (await isUpToDate(pool, migrations)) return { applied };
  for (const migration of migrations) {
    const apply = inTransaction(pool, (tx) => applyOnce(tx, migration, migrations.length));
    if (await apply.catch(explained)) applied.push(migration.name);
  }
  return { applied };
}

function explained(error: unknown): never {
  if (codeOf(error) !== insufficientPrivilege) throw error;
  throw new StoreError("migration_failed", "the database is older than this code, and this role may not change it", {
    cause: error,
    hint: "as its owner: countersign migrate --database URL --app-role ROLE, then start again",
  });
}

async function isUpToDate(pool: Pool, migrations: readonly Migration[]): Promise<boolean> {
  const { rows: known } = await pool.query<{ known: boolean }>(
    "select to_regclass('countersign.schema_version') is not null as known",
  );
  if (known[0]?.known !== true) return false;
  const { rows } = await pool.query<{ version: number; sha256: string }>(
    "select version, sha256 from countersign.schema_version order by version",
  );
  const same = migrations.every(({ version, text }) => rows[version - 1]?.sha256 === sha256(text));
  return same && rows.length === migrations.length;
}

async function readMigrations(): Promise<readonly Migration[]> {
  const names = (await readdir(folder)).filter((name) => /^\d{4}_[a-z_]+\.sql$/.test(name)).toSorted();
  return Promise.all(
    names.map(async (name, index) => {
      const version = Number(name.slice(0, 4));
      if (version !== index + 1)
        throw new StoreError("migration_failed", `migrations are not dense: \`${name}\` at place ${index + 1}`);
      return { version, name, text: await readFile(new URL(name, folder), "utf8") };
    }),
  );
}

async function applyOnce(tx: Tx, migration: Migration, newest: number): Promise<boolean> {
  await tx.query("select pg_advisory_xact_lock($1)", [migrationLock]);
  await tx.query("create schema if not exists countersign");
  await tx.query(
    "create table if not exists schema_version (version integer primary key, name text not null, sha256 text not null, applied_at timestamptz not null default now())",
  );
  const { rows } = await tx.query<{ version: number; sha256: string }>(
    "select version, sha256 from schema_version order by version",
  );
  const highest = rows.at(-1)?.version ?? 0;
  if (highest > newest) {
    throw new StoreError("schema_too_new", `database has schema version ${highest}, this code knows ${newest}`, {
      hint: "update countersign to the version that migrated this database",
    });
  }
  const digest = sha256(migration.text);
  const done = rows.find((row) => row.version === migration.version);
  if (done !== undefined && done.sha256 !== digest) {
    throw new StoreError("migration_failed", `migration \`${migration.name}\` was changed after it was applied`, {
      hint: "migrations are append-only: restore the file, and add a new one",
    });
  }
  if (done !== undefined) return false;
  await tx.query(migration.text);
  await tx.query("insert into schema_version (version, name, sha256) values ($1, $2, $3)", [
    migration.version,
    migration.name,
    digest,
  ]);
  return true;
}
