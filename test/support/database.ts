import { randomBytes } from "node:crypto";
import pg from "pg";
import { inject } from "vitest";
import { createPool } from "../../src/store/index.ts";
import type { Pool } from "../../src/store/index.ts";
// The type of `inject("postgres")` is declared there.
import type {} from "./global-postgres.ts";

export type TestDatabase = {
  readonly pool: Pool;
  /** The URL of the database for its owner, who has no other right on the server. */
  readonly url: string;
  /** Ends the pool and drops the database, whoever is still connected. */
  close(): Promise<void>;
};

/** A migrated database of the caller's own: a copy of the run's template. */
export async function freshDatabase(options: { readonly max?: number } = {}): Promise<TestDatabase> {
  const { adminUrl, template, role, password } = inject("postgres");
  const name = `test_${randomBytes(6).toString("hex")}`;
  await asAdmin(adminUrl, `create database ${name} template ${template} owner ${role}`);
  const url = new URL(adminUrl);
  url.username = role;
  url.password = password;
  url.pathname = `/${name}`;
  const pool = createPool({ url: url.href, ...options });
  const close = async (): Promise<void> => {
    await pool.end();
    await asAdmin(adminUrl, `drop database ${name} with (force)`);
  };
  return { pool, url: url.href, close };
}

/**
 * The database as it is now, to be restored later: a copy, as a physical backup is. Who is connected to it is cut off meanwhile; its pool has
 * connections that work again afterwards.
 */
export async function backUp({ pool, url }: TestDatabase): Promise<{ restore(): Promise<TestDatabase> }> {
  const { adminUrl, role } = inject("postgres");
  const name = new URL(url).pathname.slice(1);
  const backup = `test_${randomBytes(6).toString("hex")}`;
  // Whoever connects again at once would have the copy refused.
  await asAdmin(adminUrl, `alter database ${name} allow_connections false`);
  await asAdmin(adminUrl, `select pg_terminate_backend(pid, 20000) from pg_stat_activity where datname = '${name}'`);
  await asAdmin(adminUrl, `create database ${backup} template ${name} owner ${role}`);
  await asAdmin(adminUrl, `alter database ${name} allow_connections true`);
  await afresh(pool);
  return {
    async restore() {
      const restored = new URL(url);
      restored.pathname = `/${backup}`;
      const copy = createPool({ url: restored.href });
      const close = async (): Promise<void> => {
        await copy.end();
        await asAdmin(adminUrl, `drop database ${backup} with (force)`);
      };
      return { pool: copy, url: restored.href, close };
    },
  };
}

/** A query on a connection that is dead takes it out of the pool. */
async function afresh(pool: Pool): Promise<void> {
  const all = Array.from({ length: pool.options.max }, async () => pool.query("select 1"));
  const broken = (await Promise.allSettled(all)).some(({ status }) => status === "rejected");
  if (broken) await afresh(pool);
}

async function asAdmin(adminUrl: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: adminUrl });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
