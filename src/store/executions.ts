import type { Digest, RunId } from "../core/ids.ts";
import type { Tx } from "./database.ts";

/** One Temporal execution of a run. `root` and `history` are null until it is archived. */
export type ExecutionRow = {
  readonly run: RunId;
  readonly team: string;
  readonly position: number;
  readonly temporalRunId: string;
  readonly history: Digest | null;
  readonly root: Digest | null;
  readonly lost: boolean;
};

const columns = `execution.run, run.team, execution.position, execution.temporal_run_id as "temporalRunId", execution.history, execution.root,
  execution.lost_at is not null as lost`;

/** A run's executions, oldest first. */
export async function executionsOf(tx: Tx, run: RunId): Promise<readonly ExecutionRow[]> {
  const { rows } = await tx.query<ExecutionRow>(
    `select ${columns} from run_execution execution join run on run.id = execution.run where execution.run = $1 order by position`,
    [run],
  );
  return rows;
}

/**
 * Executions that have ended, as far as the record tells, and are not archived: of closed runs, and those that another one followed. Oldest
 * first, from behind `after` on.
 */
export async function endedExecutions(
  tx: Tx,
  limit: number,
  after?: Pick<ExecutionRow, "run" | "position">,
): Promise<readonly ExecutionRow[]> {
  const { rows } = await tx.query<ExecutionRow>(
    `select ${columns} from run_execution execution join run on run.id = execution.run
     where execution.archived_at is null and execution.lost_at is null
       and (run.closed_at is not null
         or exists (select from run_execution later where later.run = execution.run and later.position > execution.position))
       and ($2::text is null or (execution.opened_at, execution.run, execution.position)
         > (select opened_at, run, position from run_execution where run = $2 and position = $3))
     order by execution.opened_at, execution.run, execution.position limit $1`,
    [limit, after?.run ?? null, after?.position ?? null],
  );
  return rows;
}

/** False where it was archived before. */
export async function archiveExecution(
  tx: Tx,
  archived: Pick<ExecutionRow, "run" | "position"> & {
    readonly history: Digest;
    readonly events: number;
    readonly root: string;
    readonly now: Date;
  },
): Promise<boolean> {
  const { run, position, history, events, root, now } = archived;
  const { rowCount } = await tx.query(
    `update run_execution set history = $3, events = $4, root = $5, archived_at = $6
     where run = $1 and position = $2 and archived_at is null and lost_at is null`,
    [run, position, history, events, root, now],
  );
  return rowCount === 1;
}

/** Its history is in Temporal no more. False where it was archived, or lost, before. */
export async function loseExecution(tx: Tx, run: RunId, position: number, now: Date): Promise<boolean> {
  const { rowCount } = await tx.query(
    "update run_execution set lost_at = $3 where run = $1 and position = $2 and archived_at is null and lost_at is null",
    [run, position, now],
  );
  return rowCount === 1;
}

/** The execution that followed one which continued as new. Nothing where it is known. */
export async function noteExecution(tx: Tx, run: RunId, temporalRunId: string, now: Date): Promise<void> {
  await tx.query(
    `insert into run_execution (run, position, temporal_run_id, opened_at)
     select $1, coalesce(max(position) + 1, 0), $2, $3 from run_execution where run = $1 on conflict do nothing`,
    [run, temporalRunId, now],
  );
}
