import type { Barred } from "../core/decision.ts";
import type { RunId } from "../core/ids.ts";
import type { Tx } from "../store/index.ts";

/**
 * Who may not decide on what a run does, by the persons behind accounts as they are now: who asked for it, for whom it acts, and who
 * registered its release. A subject who has no account here is none of them.
 */
export async function barredFrom(tx: Tx, run: RunId, subject: readonly string[]): Promise<readonly Barred[]> {
  const { rows } = await tx.query<Barred>(
    `select distinct on (because, person) person, because from (
       select coalesce(p.person, run.requested_by) as person, 'requester' as because
       from run left join principal p on p.id = run.requested_by where run.id = $1
       union all
       select coalesce(p.person, release.created_by), 'author'
       from run join release on release.digest = run.release left join principal p on p.id = release.created_by where run.id = $1
       union all
       select coalesce(person, id), 'subject' from principal where id = any($2) or coalesce(person, id) = any($2)) as of
     order by because, person`,
    [run, subject],
  );
  return rows;
}

/** Why a person may not decide, to be told to them. */
export function barText({ because }: Barred): string {
  switch (because) {
    case "requester":
      return "who asked for the run cannot decide on its actions";
    case "subject":
      return "for whom the agent acts cannot decide on its actions";
    case "author":
      return "who registered the release cannot decide on its actions";
  }
}
