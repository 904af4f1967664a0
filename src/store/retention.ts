import type { EffectClass } from "../core/action.ts";
import type { RunId } from "../core/ids.ts";
import type { Tx } from "./database.ts";

/** How long a team keeps the contents of its closed runs, in days. */
export type Retention = {
  readonly team: string;
  /** Null: for ever. */
  readonly days: number | null;
  /** Of runs that had such effects, instead; the longest counts. */
  readonly effects: { readonly [effect in EffectClass]?: number };
};

export type RetentionInForce = Retention & { readonly at: Date; readonly by: string; readonly reason: string };

export async function setRetention(
  tx: Tx,
  { team, days, effects }: Retention,
  { reason, by, now }: { readonly reason: string; readonly by: string; readonly now: Date },
): Promise<number> {
  const { rows } = await tx.query<{ id: number }>(
    "insert into retention_event (team, days, effects, at, by_principal, reason) values ($1, $2, $3, $4, $5, $6) returning id",
    [team, days, effects, now, by, reason],
  );
  return rows[0]?.id ?? 0;
}

/** Of every team that has said so. */
export async function retentionsInForce(tx: Tx): Promise<readonly RetentionInForce[]> {
  const { rows } = await tx.query<RetentionInForce>(
    `select distinct on (team) team, days, effects, at, by_principal as "by", reason from retention_event order by team, id desc`,
  );
  return rows;
}

/**
 * Closed runs whose contents the team keeps no longer, oldest first: archived, and under no hold. `after`: only those behind this one, for the
 * next page.
 */
export async function runsPastRetention(
  tx: Tx,
  { team, days, effects }: Retention,
  now: Date,
  limit: number,
): Promise<readonly RunId[]> {
  if (days === null) return [];
  const { rows } = await tx.query<{ id: RunId }>(
    `select run.id from run
     where run.team = $1 and run.closed_at is not null and run.sealed_key is not null
       and run.closed_at < $3::timestamptz - make_interval(days => least($2::int, coalesce((select min(value::int) from jsonb_each_text($4::jsonb)), $2)))
       and run.closed_at < $3::timestamptz - make_interval(days => coalesce((
         select max(value::int) from jsonb_each_text($4::jsonb) of_effect
         where exists (select from history_step step join call_class class on class.id = step.class
                       where step.run = run.id and 'effect/' || of_effect.key = any(class.actions))), $2::int))
       and not exists (select from run_execution execution where execution.run = run.id
                       and execution.archived_at is null and execution.lost_at is null)
       and not exists (select from legal_hold hold where hold.lifted_at is null
                       and (hold.run = run.id or hold.subject = nullif(run.subject_key, '')))
     order by run.closed_at, run.id limit $5`,
    [team, days, now, JSON.stringify(effects), limit],
  );
  return rows.map(({ id }) => id);
}
