import type { Duplex } from "node:stream";

import pg from "pg";

import { CodedError } from "../core/errors.ts";
import { faultPoint } from "../faults/index.ts";

export class StoreError extends CodedError<
  | "database_unavailable"
  | "migration_failed"
  | "schema_too_new"
  | "app_role_unusable"
  | "payload_missing"
  | "payload_corrupt"
  | "payload_too_large"
  | "key_unusable"
  | "key_provider_failed"
  | "contents_erased"
> {}

/** What a room's functions need of a connection: a pool, or a client inside a transaction. */
export type Tx = {
  query<Row extends pg.QueryResultRow>(
    text: string,
    values?: readonly unknown[],
  ): Promise<{ rows: Row[]; rowCount: number | null }>;
};

export type Pool = pg.Pool;

// Counts and micro-USD come as bigint; both stay far below 2^53, and a value that does not is a fault to stop at.
pg.types.setTypeParser(pg.types.builtins.INT8, (text) => {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new StoreError("database_unavailable", "integer column exceeds 2^53");
  return value;
});

/** Texts of statements are constants of the code, so there are only so many; should that ever be wrong, the rest is not named. */
const maxPreparedStatements = 500;
const statementNames = new Map<string, string>();

/** Prepares each statement once a connection: parsing and planning are most of what a small one costs the server. */
class PreparingClient extends pg.Client {
  override query(...args: unknown[]): never {
    const [text, values, ...rest] = args;
    const named = typeof text === "string" && Array.isArray(values) && values.length > 0 ? nameOf(text) : undefined;
    const given = named === undefined ? args : [{ name: named, text, values: values as unknown[] }, ...rest];
    return (super.query as (...given: unknown[]) => never).apply(this, given);
  }
}

function nameOf(text: string): string | undefined {
  const known = statementNames.get(text);
  if (known !== undefined || statementNames.size >= maxPreparedStatements) return known;
  const name = `q${statementNames.size}`;
  statementNames.set(text, name);
  return name;
}

/**
 * A pool of connections whose search path is the `countersign` schema. Queries of one transaction are pipelined: those that
 * do not wait for each other's results share a round trip.
 */
export function createPool(options: { readonly url: string; readonly max?: number }): Pool {
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.max ?? 10,
    connectionTimeoutMillis: 10_000,
    application_name: "countersign",
    options: "-c search_path=countersign -c timezone=UTC",
    pipeline: true,
    Client: PreparingClient,
  } as pg.PoolConfig);
  // An idle connection that breaks (Postgres restarts) must not end the process; the next query gets a new one.
  pool.on("error", () => undefined);
  return pool;
}

/** Runs `work` in one transaction: committed when it resolves, rolled back when it throws. */
export async function inTransaction<Result>(pool: Pool, work: (tx: Tx) => Promise<Result>): Promise<Result> {
  return onOneConnection(pool, async (client) => {
    sendTogether(client);
    const [, result] = await Promise.all([client.query("begin"), work(client as unknown as Tx)]);
    await faultPoint("store.commit", () => client.query("commit"));
    return result;
  });
}

/** Runs `work` on the database as it is at one moment; `work` can read only. */
export async function inSnapshot<Result>(pool: Pool, work: (tx: Tx) => Promise<Result>): Promise<Result> {
  return onOneConnection(pool, async (client) => {
    sendTogether(client);
    const begun = client.query("begin isolation level repeatable read read only");
    const [, result] = await Promise.all([begun, work(client as unknown as Tx)]);
    await client.query("commit");
    return result;
  });
}

/**
 * Runs statements that need nothing of each other's results in one transaction and one round trip: `work` MUST send exactly one for
 * each promise it returns, before it returns. Where any fails, or was not sent, all are rolled back, and its error is thrown.
 */
export async function inOneTrip<Results extends readonly unknown[]>(
  pool: Pool,
  work: (tx: Tx) => { readonly [Index in keyof Results]: Promise<Results[Index]> },
): Promise<Results> {
  return onOneConnection(pool, async (client) => {
    sendTogether(client);
    let sent = 0;
    const tx: Tx = {
      query: (text, values) => {
        sent += 1;
        return (client as unknown as Tx).query(text, values);
      },
    };
    const begun = client.query("begin");
    const statements = work(tx);
    // After a failed statement the server answers a commit with a rollback; one that failed before it was sent is ours to notice.
    const whole = sent === statements.length;
    const ended = client.query(whole ? "commit" : "rollback");
    const [, settled] = await Promise.all([begun, Promise.allSettled(statements), ended]);
    // In the order they were sent: what comes after the one that failed only says that the transaction is aborted.
    const results = settled.map((outcome) => {
      if (outcome.status === "rejected") throw outcome.reason;
      return outcome.value;
    });
    if (!whole)
      throw new StoreError("database_unavailable", `${sent} statements were sent for ${statements.length} promises`);
    return results as unknown as Results;
  });
}

async function onOneConnection<Result>(pool: Pool, work: (client: pg.PoolClient) => Promise<Result>): Promise<Result> {
  const client = await pool.connect();
  // A connection that breaks while it is out of the pool says so by an event as well: unheard, it would end the process.
  client.on("error", heard);
  let broken: Error | undefined;
  try {
    return await work(client);
  } catch (error) {
    await client.query("rollback").catch((cause: unknown) => {
      broken = cause as Error;
    });
    throw error;
  } finally {
    client.off("error", heard);
    client.release(broken);
  }
}

function heard(): void {
  // Its queries are rejected too, and that is where it is dealt with.
}

/** Gathers what is sent until the end of this turn into one write: a system call costs more than a statement's bytes. */
function sendTogether(client: pg.PoolClient): void {
  const { stream } = (client as unknown as { connection: { stream: Duplex } }).connection;
  stream.cork();
  process.nextTick(() => stream.uncork());
}

/** Postgres' clock, which everybody who writes to it shares. `given`: a clock in its place, of a test. */
export async function timeOf(tx: Tx, given?: Date): Promise<Date> {
  if (given !== undefined) return given;
  const { rows } = await tx.query<{ at: Date }>("select statement_timestamp() as at");
  if (rows[0] === undefined) throw new TypeError("a statement without a from clause has one row");
  return rows[0].at;
}
