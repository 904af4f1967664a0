import type { RunId } from "../core/ids.ts";
import type { Tx } from "./database.ts";

/** Whose contents: those of a subject (as in `run.subject_key`, not `''`), or of one run. */
export type ContentsOf = { readonly subject: string } | { readonly run: RunId };

export type RunToErase = {
  readonly id: RunId;
  readonly team: string;
  readonly dataKey: string | null;
  readonly closed: boolean;
  /** Its workflow has ended, and Temporal's history of it is kept or lost. */
  readonly archived: boolean;
  readonly erased: boolean;
};

/**
 * Keeps holds and erasures of the same contents apart until the transaction ends. It MUST come before any of them is read. A run is locked by
 * its subject, so that a hold on one of a person's runs and the person's erasure meet.
 */
export async function lockContents(tx: Tx, of: ContentsOf): Promise<void> {
  await tx.query(
    `select pg_advisory_xact_lock(hashtextextended('contents/' || coalesce(nullif($1::text, ''),
       (select nullif(subject_key, '') from run where id = $2), $2), 0))`,
    ["subject" in of ? of.subject : null, "run" in of ? of.run : null],
  );
}

/**
 * The runs whose contents they are. The data key in use is locked with them: a run that is being registered under it is waited for, and is
 * among them then.
 */
export async function runsToErase(tx: Tx, of: ContentsOf): Promise<readonly RunToErase[]> {
  const subject = "subject" in of ? of.subject : null;
  if (subject !== null)
    await tx.query("select from data_key where subject = $1 and destroyed_at is null for update", [subject]);
  const { rows } = await tx.query<RunToErase>(
    `select id, team, data_key as "dataKey", closed_at is not null as closed, contents_erased_at is not null as erased,
       not exists (select from run_execution execution where execution.run = run.id
                   and execution.archived_at is null and execution.lost_at is null) as archived
     from run where ${subject === null ? "id = $1" : "subject_key = $1 and subject_key <> ''"} order by id`,
    [subject ?? ("run" in of ? of.run : "")],
  );
  return rows;
}

/** How many contents are under the keys of these runs. Reads every row of the table: for who asks before erasing. */
export async function countPayloads(tx: Tx, runs: readonly RunId[]): Promise<number> {
  const { rows } = await tx.query<{ count: number }>(
    "select count(*) as count from payload where key_id = any($1::text[])",
    [runs],
  );
  return rows[0]?.count ?? 0;
}

/**
 * Destroys the subject's data key in use, and with it the keys and salts of all runs under it. Returns the key's id and the runs; undefined
 * where there is none. The caller writes the ledger's entry in the same transaction.
 */
export async function destroyDataKey(
  tx: Tx,
  subject: string,
  now: Date,
): Promise<
  { readonly dataKey: string; readonly runs: readonly { readonly id: RunId; readonly team: string }[] } | undefined
> {
  const { rows } = await tx.query<{ id: string }>(
    "update data_key set wrapped = null, destroyed_at = $2 where subject = $1 and destroyed_at is null returning id",
    [subject, now],
  );
  const [key] = rows;
  if (key === undefined) return undefined;
  const erased = await tx.query<{ id: RunId; team: string }>(
    `update run set sealed_key = null, contents_erased_at = $3
     where subject_key = $1 and data_key = $2 and contents_erased_at is null returning id, team`,
    [subject, key.id, now],
  );
  return { dataKey: key.id, runs: erased.rows };
}

/** Destroys the key and salt of one closed run. False where they were destroyed before, or it has none. */
export async function destroyRunKey(tx: Tx, run: RunId, now: Date): Promise<boolean> {
  const { rowCount } = await tx.query(
    `update run set sealed_key = null, contents_erased_at = $2
     where id = $1 and data_key is not null and contents_erased_at is null and closed_at is not null`,
    [run, now],
  );
  return rowCount === 1;
}
