import { ApplicationFailure } from "@temporalio/common";

import type { Digest, RunId } from "../../core/ids.ts";
import type { ModelResult } from "../../core/transcript.ts";
import { awaitCosignatures } from "../effects/cosigned.ts";
import type { CosignedOptions } from "../effects/cosigned.ts";
import { stillWaiting } from "../errors.ts";
import { shownName } from "../step/resolve.ts";
import type { RunCache } from "./cache.ts";

/** A freeze in force. '' is every team, agent or tool. */
export type Freeze = { readonly team: string; readonly agent: string; readonly tool: string; readonly reason: string };

const frozenType = "frozen";

export function isFrozen(error: unknown): boolean {
  return error instanceof ApplicationFailure && error.type === frozenType;
}

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
 * Throws a failure to be tried again as long as a freeze stops the run's next model call, or the call of a tool that a model step asked for;
 * or such a call waits for witnesses. Nothing is decided or done, and no worker is held in between.
 */
export async function awaitThaw(
  options: CosignedOptions & { readonly cache: RunCache },
  id: RunId,
  tool: { readonly model: number; readonly call: number } | undefined,
): Promise<Readonly<Record<string, never>>> {
  const { pool, cache } = options;
  const run = await cache.context(id);
  const name = tool === undefined ? "" : await toolNamed(pool, cache, id, tool);
  const { rows } = await pool.query<{ status: string; freeze: Freeze | null }>(
    `select run.status, ${freezeSql("$2", "$3", "$4")} as freeze from run where id = $1`,
    [id, run.team, run.agent, name],
  );
  const [found] = rows;
  // Of a run that has ended, nothing can come.
  if (found?.status !== "running") return {};
  if (found.freeze !== null) throw frozenFailure(found.freeze);
  if (tool !== undefined) await awaitCosignatures(options, run, tool);
  return {};
}

/** As the gate names the call's step. */
async function toolNamed(
  pool: CosignedOptions["pool"],
  cache: RunCache,
  run: RunId,
  { model, call }: { readonly model: number; readonly call: number },
): Promise<string> {
  const { rows } = await pool.query<{ result: Digest }>(
    "select result from step where run = $1 and seq = $2 and kind = 'model' and state = 'done'",
    [run, model],
  );
  if (rows[0] === undefined) return "";
  const asked = (await cache.payload(rows[0].result)) as unknown as ModelResult;
  return shownName(asked.toolCalls[call]?.name ?? "");
}

/** What a frozen step fails with; of a step, the gate makes an answer of it. */
export function frozenFailure({ team, agent, tool, reason }: Freeze): ApplicationFailure {
  const what = [
    ...(team === "" ? [] : [`team \`${team}\``]),
    ...(agent === "" ? [] : [`agent \`${agent}\``]),
    ...(tool === "" ? [] : [`tool \`${tool}\``]),
  ];
  return stillWaiting(
    frozenType,
    `${what.length === 0 ? "everything" : what.join(", ")} is frozen: ${reason}`,
    lookAgainMs,
  );
}
