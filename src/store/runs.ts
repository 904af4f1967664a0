import type { DecisionOutcome } from "../core/decision.ts";
import type { ApprovalId, Digest, RunId } from "../core/ids.ts";
import type { StepCode, StepKind } from "../core/action.ts";
import type { RunFacts } from "../core/decision.ts";
import type { RunLimits } from "../core/release.ts";
import type { RunFailure, RunStatus } from "../core/run.ts";
import type { StepState } from "../core/states.ts";
import type { Tx } from "./database.ts";
import { teamList } from "./team-filter.ts";
import type { TeamFilter } from "./team-filter.ts";

export type NewRun = {
  readonly id: RunId;
  readonly team: string;
  readonly agent: string;
  readonly release: Digest;
  readonly input: Digest;
  readonly requestedBy: string;
  readonly limits: RunLimits;
  /** Names whom the run is for, by `subjectKey`; absent: nobody in particular. */
  readonly subjectKey?: string;
  /** The run's own key, under which data key it is. Absent: its contents are under the deployment's key, and their digests bare. */
  readonly contents?: { readonly dataKey: string; readonly sealedKey: Buffer };
  readonly now: Date;
};

/**
 * Makes the row that gives a run its authority: which release it is, and who asked. A workflow without one can do nothing. The
 * input MUST be in the payload store.
 */
export async function createRun(tx: Tx, run: NewRun): Promise<void> {
  await tx.query(
    `insert into run (id, team, agent, release, input, requested_by, created_at, max_steps, max_cost_micro_usd, subject_key,
       max_tokens, max_calls, data_key, sealed_key)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
    [
      run.id,
      run.team,
      run.agent,
      run.release,
      run.input,
      run.requestedBy,
      run.now,
      run.limits.maxSteps,
      run.limits.maxCostMicroUsd,
      run.subjectKey ?? "",
      run.limits.maxTokens ?? null,
      run.limits.maxCalls ?? null,
      run.contents?.dataKey ?? null,
      run.contents?.sealedKey ?? null,
    ],
  );
}

export type RunRow = {
  readonly id: RunId;
  readonly team: string;
  readonly agent: string;
  readonly release: Digest;
  readonly input: Digest;
  readonly requestedBy: string;
  readonly status: RunStatus;
  readonly createdAt: Date;
  readonly startedAt: Date | null;
  readonly closedAt: Date | null;
  readonly temporalRunId: string | null;
  readonly workflowBundle: Digest | null;
  readonly failure: RunFailure | null;
  readonly result: Digest | null;
  readonly steps: number;
  readonly spentMicroUsd: number;
  readonly heldMicroUsd: number;
  readonly maxSteps: number;
  readonly maxCostMicroUsd: number;
  readonly spentTokens: number;
  readonly spentCalls: number;
  /** Null: no limit. */
  readonly maxTokens: number | null;
  readonly maxCalls: number | null;
  /** The data key that its contents are under. Null: a run of before. */
  readonly dataKey: string | null;
  readonly contentsErasedAt: Date | null;
};

const runColumns = `id, team, agent, release, input, requested_by as "requestedBy", status, created_at as "createdAt",
  started_at as "startedAt", closed_at as "closedAt", temporal_run_id as "temporalRunId", workflow_bundle as "workflowBundle", failure,
  result, steps, spent_micro_usd as "spentMicroUsd", held_micro_usd as "heldMicroUsd", max_steps as "maxSteps",
  max_cost_micro_usd as "maxCostMicroUsd", spent_tokens as "spentTokens", spent_calls as "spentCalls", max_tokens as "maxTokens",
  max_calls as "maxCalls", data_key as "dataKey", contents_erased_at as "contentsErasedAt"`;

export async function runById(tx: Tx, id: RunId): Promise<RunRow | undefined> {
  const { rows } = await tx.query<RunRow>(`select ${runColumns} from run where id = $1`, [id]);
  return rows[0];
}

export type RunFilter = {
  readonly team?: TeamFilter;
  readonly agent?: string | undefined;
  readonly status?: RunStatus | undefined;
  /** Only runs older than this one: the cursor of the page before. */
  readonly before?: RunId | undefined;
  readonly limit: number;
};

/** Runs, newest first (ids are ULIDs, so their order is time's). */
export async function listRuns(tx: Tx, filter: RunFilter): Promise<readonly RunRow[]> {
  const { rows } = await tx.query<RunRow>(
    `select ${runColumns} from run
     where ($1::text[] is null or team = any($1)) and ($2::text is null or agent = $2) and ($3::text is null or status = $3)
       and ($4::text is null or id < $4)
     order by id desc limit $5`,
    [teamList(filter.team), filter.agent ?? null, filter.status ?? null, filter.before ?? null, filter.limit],
  );
  return rows;
}

export type StepRow = {
  readonly seq: number;
  readonly kind: StepKind;
  readonly name: string;
  readonly action: Digest;
  readonly arguments: Digest;
  readonly askedBy: number | null;
  readonly callIndex: number | null;
  readonly callId: string | null;
  readonly state: StepState;
  readonly result: Digest | null;
  readonly costMicroUsd: number;
  readonly inputTokens: number;
  readonly cachedInputTokens: number;
  readonly outputTokens: number;
  readonly reasoningTokens: number;
  readonly decidedAt: Date;
  readonly finishedAt: Date | null;
  /** Whether its call waits for witnesses, was made when they had cosigned it (the checkpoint's size), or never was. Null: none were asked for. */
  readonly cosigning: "waiting" | "covered" | "late" | null;
  readonly coveredSize: number | null;
  /** Why it failed, where its call is not to blame. */
  readonly code: StepCode | null;
};

/** The steps of a run from `from` on, in the order of their `seq`. */
export async function stepsOf(tx: Tx, run: RunId, from = 0): Promise<readonly StepRow[]> {
  const { rows } = await tx.query<StepRow>(
    `select seq, kind, name, action, arguments, asked_by as "askedBy", call_index as "callIndex", call_id as "callId", step.state, result,
       cost_micro_usd as "costMicroUsd", input_tokens as "inputTokens", cached_input_tokens as "cachedInputTokens",
       output_tokens as "outputTokens", reasoning_tokens as "reasoningTokens", decided_at as "decidedAt", finished_at as "finishedAt",
       effect.cosigning, effect.covered_size as "coveredSize", code
     from step left join effect using (run, seq) where run = $1 and seq >= $2 order by seq`,
    [run, from],
  );
  return rows;
}

export type DecisionRow = {
  readonly seq: number;
  /** The how-manyth decision on this step, from 0. */
  readonly n: number;
  readonly activity: string;
  readonly outcome: DecisionOutcome;
  readonly code: string | null;
  readonly policies: readonly string[];
  readonly policySet: Digest;
  readonly facts: RunFacts;
  readonly request: Digest;
  readonly approval: ApprovalId | null;
  readonly effective: Digest | null;
  readonly shadow: boolean;
  /** The request whose edit it was made on. */
  readonly edit: ApprovalId | null;
  /** The standing grant that took the place of an approval. */
  readonly standingGrant: string | null;
  /** How many witnesses have to cosign the intent before the call is made, and until when; null: none. */
  readonly witnesses: number | null;
  readonly cosignBy: Date | null;
  readonly at: Date;
};

/** Every decision on the steps of a run, in order. */
export async function decisionsOf(tx: Tx, run: RunId): Promise<readonly DecisionRow[]> {
  const { rows } = await tx.query<DecisionRow>(
    `select seq, n, activity, outcome, code, policies, policy_set as "policySet", facts, request, approval, effective,
       shadow, edit, standing_grant as "standingGrant", witnesses, cosign_by as "cosignBy", at
     from decision where run = $1 order by seq, n`,
    [run],
  );
  return rows;
}
