import { ApplicationFailure } from "@temporalio/common";

/** A freeze in force. '' is every team, agent or tool. */
export type Freeze = { readonly team: string; readonly agent: string; readonly tool: string; readonly reason: string };

/** After which a frozen step is tried again. */
const lookAgainMs = 5_000;

/**
 * SQL of the freeze that stops a step of `agent` (of `team`) with `tool` ('' for a model), or null. The arguments are SQL themselves. What it
 * sees is what is committed: nothing is remembered anywhere.
 */
export function freezeSql(team: string, agent: string, tool: string): string {
  return `(select json_build_object('team', f.team, 'agent', f.agent, 'tool', f.tool, 'reason', f.reason)
     from (select distinct on (e.team, e.agent, e.tool) e.* from freeze_event e
           where e.team in ('', ${team}) and e.agent in ('', ${agent}) and e.tool in ('', ${tool})
           order by e.team, e.agent, e.tool, e.id desc) f
     where f.frozen limit 1)`;
}

/**
 * What a frozen step's activity fails with: nothing was decided or done, and Temporal tries it again until the freeze is lifted or the
 * run is cancelled. No worker is held in between.
 */
export function frozenFailure({ team, agent, tool, reason }: Freeze): ApplicationFailure {
  const what = [
    ...(team === "" ? [] : [`team \`${team}\``]),
    ...(agent === "" ? [] : [`agent \`${agent}\``]),
    ...(tool === "" ? [] : [`tool \`${tool}\``]),
  ];
  return ApplicationFailure.create({
    type: "frozen",
    message: `${what.length === 0 ? "everything" : what.join(", ")} is frozen: ${reason}`,
    nextRetryDelay: lookAgainMs,
  });
}
