import type { Tx } from "../store/index.ts";

/** Any number: it keeps these locks apart from other rooms'. */
const lockSpace = 6_962;
/** A process that was stopped in the middle loses its transaction, and with it the lock, after this many milliseconds. */
const stuckAfterMs = 30_000;

/** Takes the log's lock until the transaction ends; false when another has it. Meant as the transaction's first statement. */
export async function tryLockLog(tx: Tx, log: string): Promise<boolean> {
  const { rows } = await tx.query<{ locked: boolean }>(
    `select pg_try_advisory_xact_lock(hashtextextended($1, $2)) as locked,
       set_config('idle_in_transaction_session_timeout', $3, true)`,
    [log, lockSpace, String(stuckAfterMs)],
  );
  return rows[0]?.locked === true;
}
