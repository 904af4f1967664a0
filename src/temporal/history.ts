import type { Client } from "@temporalio/client";
import { WorkflowNotFoundError } from "@temporalio/client";
import { historyToJSON } from "@temporalio/common/lib/proto-utils.js";

import type { RunId } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import { decodedHistory } from "./codec.ts";

/** With payloads in the clear: what is archived and sealed does not depend on a key. */
export type RecordedHistory = { readonly temporalRunId: string; readonly history: Json };

/** The histories of a run, one for each execution of its continue-as-new chain, oldest first, as protobuf JSON. */
export async function fetchHistories(
  client: Client,
  run: RunId,
  firstTemporalRunId: string,
): Promise<readonly RecordedHistory[]> {
  const histories: RecordedHistory[] = [];
  let next: string | undefined = firstTemporalRunId;
  while (next !== undefined && next !== "") {
    const history = await client.workflow.getHandle(run, next).fetchHistory();
    histories.push({
      temporalRunId: next,
      history: await decodedHistory(client, JSON.parse(historyToJSON(history)) as Json),
    });
    next = history.events?.at(-1)?.workflowExecutionContinuedAsNewEventAttributes?.newExecutionRunId ?? undefined;
  }
  return histories;
}

/** The history of one execution, as protobuf JSON; undefined where Temporal has it no more. */
export async function fetchHistory(client: Client, run: RunId, temporalRunId: string): Promise<Json | undefined> {
  try {
    const history = await client.workflow.getHandle(run, temporalRunId).fetchHistory();
    return await decodedHistory(client, JSON.parse(historyToJSON(history)) as Json);
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return undefined;
    throw error;
  }
}
