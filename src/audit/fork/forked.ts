import type { Digest, RunId } from "../../core/ids.ts";
import type { Json } from "../../core/json.ts";
import type { TokenUsage } from "../../core/money.ts";
import type { DecisionRecord, RunRecord, StepRecord } from "../../core/run-record.ts";
import { decisionsOf, getPayloads, runById, stepsOf } from "../../store/index.ts";
import type { PayloadKeys, Pool } from "../../store/index.ts";
import { tokensBySeq } from "./tokens.ts";

/** What two runs are compared by. */
export type ComparedRun = Pick<RunRecord, "steps" | "decisions" | "payloads"> & {
  readonly run: Pick<RunRecord["run"], "id" | "status" | "failure" | "result" | "spentMicroUsd">;
  readonly tokens: ReadonlyMap<number, TokenUsage>;
};

export function recordedRun(record: RunRecord): ComparedRun {
  const { run, steps, decisions, payloads } = record;
  return { run, steps, decisions, payloads, tokens: tokensBySeq(record) };
}

/** A fork's run as it stands in the fork's own database. */
export async function readForked(pool: Pool, keys: PayloadKeys, id: RunId): Promise<ComparedRun> {
  const row = await runById(pool, id);
  if (row === undefined) throw new Error("the fork's run is gone");
  const [rows, decided] = await Promise.all([stepsOf(pool, id), decisionsOf(pool, id)]);
  const wanted = [row.result, ...rows.map(({ result }) => result), ...decided.map(({ effective }) => effective)];
  const found = await getPayloads(
    pool,
    keys,
    wanted.filter((digest): digest is Digest => digest !== null),
  );
  const steps = rows.map(({ decidedAt, finishedAt, ...step }): StepRecord => {
    return { ...step, decidedAt: decidedAt.toISOString(), finishedAt: finishedAt?.toISOString() ?? null };
  });
  const decisions = decided.map(({ at, cosignBy, ...decision }): DecisionRecord => ({
    ...decision,
    cosignBy: cosignBy?.toISOString() ?? null,
    at: at.toISOString(),
  }));
  const tokens = new Map(
    rows
      .filter(({ kind }) => kind === "model")
      .map((step) => {
        const {
          inputTokens: input,
          cachedInputTokens: cachedInput,
          outputTokens: output,
          reasoningTokens: reasoning,
        } = step;
        return [step.seq, { input, cachedInput, output, reasoning }] as const;
      }),
  );
  const payloads: Readonly<Record<Digest, Json>> = Object.fromEntries(found);
  return { run: row, steps, decisions, payloads, tokens };
}
