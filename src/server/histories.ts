import { ApiError } from "../api/index.ts";
import { continuedAs, hasEnded } from "../audit/index.ts";
import type { RunId } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import type { RunRecord } from "../core/run-record.ts";
import { executionsOf, getPayloads } from "../store/index.ts";
import type { ExecutionRow, RunRow } from "../store/index.ts";
import type { Services } from "./dependencies.ts";

type Histories = RunRecord["histories"];

/**
 * The run's histories, one for each execution: from the archive, else from Temporal, and null for one that Temporal says it has no more. Throws
 * `temporal_unavailable` where one is not archived and Temporal cannot be asked: that is no loss.
 */
export async function historiesOf(services: Services, run: RunRow): Promise<Histories> {
  if (run.temporalRunId === null) return [];
  const executions = await executionsOf(services.pool, run.id);
  const archived = await archivedOf(services, executions);
  const none = executions.every(({ history, lost }) => history === null && !lost);
  if (none) {
    const whole = await services.runs.histories(run.id, run.temporalRunId).catch(() => undefined);
    if (whole !== undefined) return whole;
  }
  const found: Histories[number][] = [];
  for (const { temporalRunId, history, lost } of executions) {
    const kept = history === null ? undefined : archived.get(history);
    found.push({ temporalRunId, history: kept ?? (lost ? null : await asked(services, run.id, temporalRunId)) });
  }
  if (found.length === 0)
    found.push({ temporalRunId: run.temporalRunId, history: await asked(services, run.id, run.temporalRunId) });
  // What the last one that is known went on as.
  if (hasEnded({ histories: found })) return found;
  for (let next = continuedAs(found.at(-1)?.history ?? null); next !== null;) {
    const history = await asked(services, run.id, next);
    found.push({ temporalRunId: next, history });
    next = continuedAs(history);
  }
  return found;
}

async function archivedOf(
  { pool, keys }: Services,
  executions: readonly ExecutionRow[],
): Promise<ReadonlyMap<string, Json>> {
  const digests = executions.flatMap(({ history }) => history ?? []);
  return digests.length === 0 ? new Map() : getPayloads(pool, keys, digests);
}

async function asked(services: Services, run: RunId, temporalRunId: string): Promise<Json> {
  try {
    return (await services.runs.history(run, temporalRunId)) ?? null;
  } catch (cause) {
    throw new ApiError("temporal_unavailable", "the run's history could not be read from Temporal", {
      cause,
      hint: "try again: it is not lost; Temporal could not be asked",
    });
  }
}
