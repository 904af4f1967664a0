import { setTimeout as sleep } from "node:timers/promises";

import type { ApiClient } from "../api/index.ts";
import type { RunId } from "../core/ids.ts";
import type { RunRecord } from "../core/run-record.ts";

const withinMs = 5_000;
const pauseMs = 200;

/**
 * A run's record. A run is closed in Postgres moments before its workflow ends in Temporal: a record of between the two is asked for
 * again, since its history would be incomplete.
 */
export async function closedRecord(client: ApiClient, run: RunId): Promise<RunRecord> {
  const { hasEnded, lostExecutions } = await import("../audit/index.ts");
  const end = Date.now() + withinMs;
  for (;;) {
    const record = await client.runRecord({ params: { run } });
    const { run: head, histories } = record;
    const settled = histories.length === 0 || lostExecutions(record).length > 0 || hasEnded(record);
    if (head.closedAt === null || settled || Date.now() > end) return record;
    await sleep(pauseMs);
  }
}
