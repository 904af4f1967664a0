import { readFile } from "node:fs/promises";

import pg from "pg";

export const shopUrlVariable = "SHOP_DATABASE_URL";

let pool: pg.Pool | undefined;

/** The tools' connections to the shop. It may be on Countersign's own server: its tables are in a schema of their own. */
export function shopPool(): pg.Pool {
  const url = process.env[shopUrlVariable];
  if (url === undefined || url === "") {
    throw new Error(`${shopUrlVariable} is not set: it names the Postgres database of the example's shop`);
  }
  pool ??= openShop(url);
  return pool;
}

/** Connections to the shop at `url`; the caller ends them. */
export function openShop(url: string): pg.Pool {
  const opened = new pg.Pool({
    connectionString: url,
    max: 5,
    connectionTimeoutMillis: 10_000,
    application_name: "support-example",
  });
  // An idle connection that breaks must not end the worker; the next query gets a new one.
  opened.on("error", () => undefined);
  return opened;
}

/** An arbitrary number that only this set-up locks. */
const setUpLock = 734_021;

/** Creates the shop's tables and fills them, where that has not been done. Safe to run again, and at the same time. */
export async function setUpShop(target: pg.Pool): Promise<void> {
  const statements = await readFile(new URL("./shop.sql", import.meta.url), "utf8");
  await inTransaction(target, async (client) => {
    await client.query("select pg_advisory_xact_lock($1)", [setUpLock]);
    await client.query(statements);
  });
}

/** Runs `work` in one transaction: committed when it resolves, rolled back when it throws. */
export async function inTransaction<Result>(
  target: pg.Pool,
  work: (client: pg.PoolClient) => Promise<Result>,
): Promise<Result> {
  const client = await target.connect();
  let broken: Error | undefined;
  try {
    await client.query("begin");
    const result = await work(client);
    await client.query("commit");
    return result;
  } catch (error) {
    await client.query("rollback").catch((cause: unknown) => {
      broken = cause as Error;
    });
    throw error;
  } finally {
    client.release(broken);
  }
}
