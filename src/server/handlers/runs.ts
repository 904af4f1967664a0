import { setTimeout as sleep } from "node:timers/promises";

import { ApiError } from "../../api/index.ts";
import { codeOf } from "../../core/errors.ts";
import type { RunState } from "../../core/contract.ts";
import { runIdPattern } from "../../core/ids.ts";
import type { RunId } from "../../core/ids.ts";
import type { RunInput } from "../../core/run.ts";
import { faultPoint } from "../../faults/index.ts";
import { decisionsOf, getPayloads, inTransaction, listRuns, runById, StoreError, stepsOf } from "../../store/index.ts";
import type { RunRow, Tx } from "../../store/index.ts";
import { appendToOutbox } from "../../ledger/index.ts";
import { freezesOfRelease } from "../../registry/index.ts";
import { closeLostRun } from "../../temporal/index.ts";
import { approvalsOfRun } from "../approval-views.ts";
import { outputOf, stepsWithContents } from "../contents.ts";
import type { Services } from "../dependencies.ts";
import type { Handlers } from "../handler.ts";
import { unstartedRunClosed } from "../ledger-events.ts";
import { noteAuditorsRead } from "../note-read.ts";
import { registerRun } from "../register-run.ts";
import { viewOfDecision, viewOfFreeze, viewOfRun } from "../views.ts";

/** A person waits for the page; what the workflow says of itself is an extra. */
const stateWithinMs = 700;

export const runHandlers: Handlers<"startRun" | "listRuns" | "showRun" | "cancelRun"> = {
  async startRun({ body, headers }, { services, caller }) {
    const { id } = caller();
    const row = await faultPoint("run.register", () => registerRun(services, id, body, headers["idempotency-key"]));
    if (row.status !== "pending") return { run: viewOfRun(row) };
    try {
      await faultPoint("run.start", () => services.runs.start(row.id));
    } catch (cause) {
      if (codeOf(cause) !== "temporal_unavailable") throw cause;
      throw new ApiError(
        "temporal_unavailable",
        `run ${row.id} is registered, but Temporal did not answer: it has not started`,
        {
          cause,
          hint: "send the request again with the same Idempotency-Key; `countersign doctor` looks at Temporal",
        },
      );
    }
    return { run: viewOfRun(await existingRun(services.pool, row.id)) };
  },

  async listRuns({ query }, { services, caller }) {
    const { cursor, limit, ...filter } = query;
    if (cursor !== undefined && !runIdPattern.test(cursor))
      throw new ApiError("invalid_cursor", "the cursor is not one of this list");
    // One more than asked for tells whether there is a next page.
    const team = filter.team ?? caller().teams;
    const before = cursor as RunId | undefined;
    const rows = await listRuns(services.pool, { ...filter, team, before, limit: limit + 1 });
    const page = rows.slice(0, limit);
    return { runs: page.map(viewOfRun), next: rows.length > limit ? (page.at(-1)?.id ?? null) : null };
  },

  async showRun({ params: { run } }, { services, caller }) {
    const { pool, keys } = services;
    const row = await existingRun(pool, run);
    await noteAuditorsRead(services, row, "run", caller());
    const [inputs, steps, decisions, approvals, freezes, state, output] = await Promise.all([
      getPayloads(pool, keys, [row.input]),
      stepsOf(pool, run).then((rows) => stepsWithContents(pool, keys, rows)),
      decisionsOf(pool, run),
      approvalsOfRun(pool, row, services.now()),
      row.closedAt === null ? freezesOfRelease(pool, row) : [],
      stateOf(services, row),
      outputOf(pool, keys, row),
    ]);
    const input = inputs.get(row.input) as RunInput | undefined;
    if (input === undefined && row.contentsErasedAt === null)
      throw new StoreError("payload_missing", `the input of run \`${run}\` is not there, and was not erased`);
    return {
      run: viewOfRun(row),
      input: input === undefined ? null : { ...input, tags: { ...input.tags } },
      steps: [...steps],
      decisions: decisions.map(viewOfDecision),
      approvals: [...approvals],
      freezes: freezes.map(viewOfFreeze),
      state: state === null ? null : { ...state, waitingFor: [...state.waitingFor] },
      output,
    };
  },

  async cancelRun({ params: { run } }, { services }) {
    const row = await existingRun(services.pool, run);
    if (row.closedAt !== null) throw new ApiError("run_closed", `the run is ${row.status} already`);
    try {
      await services.runs.cancel(run);
    } catch (error) {
      if (codeOf(error) !== "run_not_found") throw error;
      await closeAbandoned(services, row);
    }
    return { run: viewOfRun(await existingRun(services.pool, run)) };
  },
};

export async function existingRun(tx: Tx, run: RunId): Promise<RunRow> {
  const row = await runById(tx, run);
  if (row === undefined)
    throw new ApiError("run_not_found", `no run \`${run}\``, { hint: "see `countersign run list`" });
  return row;
}

/** A run whose workflow was never started, or was terminated, has nobody else to close it. */
async function closeAbandoned(services: Services, row: RunRow): Promise<void> {
  const now = services.now();
  const closed = await inTransaction(services.pool, async (tx) => {
    const { rowCount } = await tx.query(
      "update run set status = 'cancelled', closed_at = $2 where id = $1 and status = 'pending'",
      [row.id, now],
    );
    if (rowCount !== 1) return closeLostRun(tx, row.id, now);
    await appendToOutbox(tx, [unstartedRunClosed(row, now)]);
    return true;
  });
  if (closed) return;
  const { status } = await existingRun(services.pool, row.id);
  throw new ApiError("run_closed", `the run is ${status} already`);
}

async function stateOf(services: Services, row: RunRow): Promise<RunState | null> {
  if (row.status !== "running") return null;
  const late = sleep(stateWithinMs, null, { ref: false });
  return Promise.race([services.runs.state(row.id).catch(() => null), late]);
}
