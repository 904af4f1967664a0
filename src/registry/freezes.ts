import type { Digest } from "../core/ids.ts";
import { teamList } from "../store/index.ts";
import type { TeamFilter, Tx } from "../store/index.ts";

/** What a freeze stops; a part that is undefined is every one. An agent needs its team, and is not combined with a tool. */
export type FreezeTarget = {
  readonly team?: string | undefined;
  readonly agent?: string | undefined;
  readonly tool?: string | undefined;
};

export type FreezeInForce = {
  readonly team: string | null;
  readonly agent: string | null;
  readonly tool: string | null;
  readonly reason: string;
  readonly at: Date;
  readonly by: string;
};

type Change = FreezeTarget & { readonly reason: string; readonly by: string; readonly now: Date };

/** Freezes a target: each step of it is paused from the next look at the record on. Returns the event's id; undefined where it is frozen. */
export async function freeze(tx: Tx, change: Change): Promise<number | undefined> {
  return record(tx, change, true);
}

/** Lifts the freeze of this very target; wider ones stay. Undefined where it is not frozen. */
export async function liftFreeze(tx: Tx, change: Change): Promise<number | undefined> {
  return record(tx, change, false);
}

async function record(tx: Tx, change: Change, frozen: boolean): Promise<number | undefined> {
  const { team = "", agent = "", tool = "", reason, by, now } = change;
  await tx.query("select pg_advisory_xact_lock(hashtextextended('freeze', 0))");
  const { rows } = await tx.query<{ id: number }>(
    `insert into freeze_event (team, agent, tool, frozen, reason, at, by_principal)
     select $1::text, $2::text, $3::text, $4::boolean, $5::text, $6::timestamptz, $7::text
     where $4 <> coalesce((select frozen from freeze_event where team = $1 and agent = $2 and tool = $3 order by id desc limit 1), false)
     returning id`,
    [team, agent, tool, frozen, reason, now, by],
  );
  return rows[0]?.id;
}

/** The freezes in force, the widest first; with a team, those that touch it. */
export async function freezesInForce(tx: Tx, team?: TeamFilter): Promise<readonly FreezeInForce[]> {
  const { rows } = await tx.query<FreezeInForce>(
    `select nullif(team, '') as team, nullif(agent, '') as agent, nullif(tool, '') as tool, reason, at, by_principal as by
     from (select distinct on (team, agent, tool) * from freeze_event where $1::text[] is null or team = '' or team = any($1)
           order by team, agent, tool, id desc) latest
     where frozen order by latest.team, latest.agent, latest.tool`,
    [teamList(team)],
  );
  return rows;
}

/** The freezes in force that stop steps of an agent's release, the widest first. */
export async function freezesOfRelease(
  tx: Tx,
  { team, agent, release }: { readonly team: string; readonly agent: string; readonly release: Digest },
): Promise<readonly FreezeInForce[]> {
  const { rows } = await tx.query<{ name: string }>(
    `select called ->> 'name' as name from release,
       jsonb_array_elements(coalesce(document -> 'tools', '[]') || coalesce(document -> 'retrieval', '[]')) called
     where digest = $1`,
    [release],
  );
  return (await freezesInForce(tx, team)).filter(
    (one) =>
      (one.agent === null || one.agent === agent) && (one.tool === null || rows.some(({ name }) => name === one.tool)),
  );
}

/** Whether a release of the team, or of any, has this agent, or this tool or retrieval source. */
export async function targetExists(tx: Tx, { team, agent, tool }: FreezeTarget): Promise<boolean> {
  const { rowCount } = await tx.query(
    `select from release where ($1::text is null or team = $1) and ($2::text is null or agent = $2)
       and ($3::text is null or document->'tools' @> jsonb_build_array(jsonb_build_object('name', $3::text))
         or document->'retrieval' @> jsonb_build_array(jsonb_build_object('name', $3::text))) limit 1`,
    [team ?? null, agent ?? null, tool ?? null],
  );
  return rowCount === 1;
}

/** The teams whose logs tell of a freeze: the one it names, or every team that has an agent by then. */
export async function teamsTouched(tx: Tx, team: string | undefined): Promise<readonly string[]> {
  if (team !== undefined) return [team];
  const { rows } = await tx.query<{ team: string }>("select distinct team from release order by team");
  return rows.map((row) => row.team);
}
