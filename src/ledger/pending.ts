import type { Tx } from "../store/index.ts";

/** Logs with events that wait, or with entries that no checkpoint covers. One look per log, however many events wait. */
export async function logsWithWork(tx: Tx): Promise<readonly string[]> {
  const { rows } = await tx.query<{ log: string }>(
    `with recursive waiting (log) as (
       (select log from ledger_outbox order by log limit 1)
       union all
       select (select next.log from ledger_outbox next where next.log > waiting.log order by next.log limit 1)
       from waiting where waiting.log is not null
     )
     select log from waiting where log is not null
     union
     select log from ledger_state state
     where size > coalesce((select max(size) from ledger_checkpoint signed where signed.log = state.log), 0)`,
  );
  return rows.map((row) => row.log);
}

/** Whether the log has events that wait, or entries that no checkpoint covers. */
export async function hasWork(tx: Tx, log: string): Promise<boolean> {
  const { rows } = await tx.query<{ work: boolean }>(
    `select exists (select from ledger_outbox where log = $1)
       or coalesce((select size from ledger_state where log = $1), 0)
          > coalesce((select size from ledger_checkpoint where log = $1 order by size desc limit 1), 0) as work`,
    [log],
  );
  return rows[0]?.work === true;
}

/** The highest id that waits in the log's outbox; 0 when nothing does. */
export async function newestWaiting(tx: Tx, log: string): Promise<number> {
  const { rows } = await tx.query<{ newest: number | null }>(
    "select max(id) as newest from ledger_outbox where log = $1",
    [log],
  );
  return rows[0]?.newest ?? 0;
}

/** Logs that were signed at least once. */
export async function logsSigned(tx: Tx): Promise<readonly string[]> {
  const { rows } = await tx.query<{ log: string }>(
    "select log from ledger_state state where exists (select from ledger_checkpoint signed where signed.log = state.log) order by log",
  );
  return rows.map((row) => row.log);
}
