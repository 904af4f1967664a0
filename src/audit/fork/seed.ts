import type { Digest, RunId } from "../../core/ids.ts";
import type { Json } from "../../core/json.ts";
import type { DecisionRecord, RunRecord, StepRecord } from "../../core/run-record.ts";
import type { ModelResult } from "../../core/transcript.ts";
import type { CarriedState } from "../../core/contract.ts";
import { noUsage } from "../../core/money.ts";
import { activatePolicySet, putPrincipal, registerRelease, storePolicySet } from "../../registry/index.ts";
import type { Role } from "../../registry/index.ts";
import { createRun, dataKeyOf, inTransaction, newRunKey, putPayloads, subjectKey } from "../../store/index.ts";
import type { PayloadKeys, Pool, Sealing, Tx } from "../../store/index.ts";
import { wasUsed } from "../approvals/approvals.ts";
import { resolveStep, runContextOf } from "../decisions/recorded-step.ts";
import type { ForkPlan } from "./plan.ts";
import { spentTokensBySeq, tokensBySeq } from "./tokens.ts";

/** Who did what a fork's database says was done: nobody who exists. */
export const forkedBy = "fork";

/**
 * Writes the recorded run up to the fork, as run `id`, into an empty database of the fork's own. What the gate finds there is what it found
 * then: steps, decisions, spend, consumed approvals, who asked.
 */
export async function seedFork(pool: Pool, keys: PayloadKeys, plan: ForkPlan, id: RunId): Promise<void> {
  const { record, kept, keptDecisions, begins } = plan;
  const under = await runKeyFor(pool, keys, plan, id);
  await inTransaction(pool, async (tx) => {
    await putContents(tx, under?.sealing ?? keys, plan);
    await registerRelease(tx, plan.release, forkedBy, begins);
    for (const digest of new Set(keptDecisions.map(({ policySet }) => policySet)))
      await storePolicySet(tx, record.policySets[digest] ?? {}, begins);
    await activatePolicySet(tx, record.run.team, plan.policies as unknown as Json, forkedBy, begins);
    await putRequester(tx, plan);
    await putRun(tx, keys, plan, id, under);
    const steps = kept.map((step) => (step.seq === plan.turn ? retaken(plan, id, step) : step));
    await putSteps(tx, id, record, steps);
    await putDecisions(tx, id, keptDecisions);
    await putConsumed(tx, id, plan);
  });
}

/** What the agent loop is taken up with, as after continue-as-new. Its clock begins anew. */
export function carriedBy({ kept, record, turn }: ForkPlan): CarriedState {
  const answers = kept.filter(({ seq, kind }) => seq < turn && kind === "model");
  const repairs = answers.filter(({ result }) => {
    return result !== null && (record.payloads[result] as unknown as ModelResult).problem !== undefined;
  });
  return { v: 1, nextSeq: turn, turns: answers.length, activeMs: 0, repairs: repairs.length };
}

/** The model step whose answer asked for the first call that is made anew: the workflow asks for it again, and finds it finished. */
function retaken(plan: ForkPlan, id: RunId, step: StepRecord): StepRecord {
  const record = { ...plan.record, release: plan.release.document };
  const run = { ...runContextOf(record), id, release: plan.release };
  return { ...step, action: resolveStep(record, run, step).actionDigest };
}

type RunKey = { readonly dataKey: string } & ReturnType<typeof newRunKey>;

/** With the recorded run's salt, so that equal contents have equal digests in both. Undefined where that run has none. */
async function runKeyFor(pool: Pool, keys: PayloadKeys, plan: ForkPlan, id: RunId): Promise<RunKey | undefined> {
  const { salt } = plan.record;
  if (salt === undefined) return undefined;
  const dataKey = await dataKeyOf(pool, keys, subjectOf(keys, plan), plan.begins);
  return { dataKey: dataKey.id, ...newRunKey(dataKey, id, Buffer.from(salt, "hex")) };
}

function subjectOf(keys: PayloadKeys, { record }: ForkPlan): string {
  const subject = record.input.subject?.id;
  return subject === undefined ? "" : subjectKey(keys, subject);
}

async function putContents(tx: Tx, keys: Sealing, plan: ForkPlan): Promise<void> {
  const { record, kept, keptDecisions } = plan;
  const digests = new Set<Digest>();
  for (const { result } of kept) if (result !== null) digests.add(result);
  for (const { effective } of keptDecisions) if (effective !== null) digests.add(effective);
  const values = [...digests].flatMap((digest) => record.payloads[digest] ?? []);
  await putPayloads(tx, keys, [record.input as unknown as Json, ...values]);
}

async function putRequester(tx: Tx, { record, facts }: ForkPlan): Promise<void> {
  const { requestedBy: id } = record.run;
  const { roles, groups } = facts.requester;
  await putPrincipal(tx, { id, displayName: id, roles: roles as readonly Role[], groups });
}

async function putRun(tx: Tx, keys: PayloadKeys, plan: ForkPlan, id: RunId, under: RunKey | undefined): Promise<void> {
  const { record, kept, keptDecisions } = plan;
  const { team, agent, input, requestedBy, createdAt } = record.run;
  const { limits } = plan.release.document;
  const spent = kept.reduce((sum, { costMicroUsd }) => sum + costMicroUsd, 0);
  const tokens = spentTokensBySeq(record);
  const spentTokens = kept.reduce((sum, { seq }) => sum + (tokens.get(seq) ?? 0), 0);
  await createRun(tx, {
    id,
    team,
    agent,
    release: plan.release.digest,
    input,
    requestedBy,
    // Nobody is asked for more: beyond it, the fork ends. People may have given the recorded run more than its release did.
    limits: {
      ...limits,
      maxCostMicroUsd: Math.min(Math.max(limits.maxCostMicroUsd, spent), spent + plan.maxCostMicroUsd),
    },
    subjectKey: subjectOf(keys, plan),
    ...(under === undefined ? {} : { contents: under }),
    now: new Date(createdAt),
  });
  await tx.query(
    "update run set steps = $2, decisions = $3, spent_micro_usd = $4, spent_tokens = $5, spent_calls = $6 where id = $1",
    [id, kept.length, keptDecisions.length, spent, spentTokens, kept.filter(wasBegun).length],
  );
}

function wasBegun({ state }: StepRecord): boolean {
  return state === "done" || state === "failed";
}

async function putSteps(tx: Tx, id: RunId, record: RunRecord, steps: readonly StepRecord[]): Promise<void> {
  const tokens = tokensBySeq(record);
  const rows = steps.map((step) => ({ ...step, ...(tokens.get(step.seq) ?? noUsage), begun: wasBegun(step) }));
  await tx.query(
    `with given as materialized (
       select * from jsonb_to_recordset($2::jsonb) as given (
         seq integer, kind text, name text, action text, arguments text, "askedBy" integer, "callIndex" integer, "callId" text, state text,
         result text, "costMicroUsd" bigint, "decidedAt" timestamptz, "finishedAt" timestamptz, input integer, "cachedInput" integer,
         output integer, reasoning integer, code text))
     insert into step (run, seq, kind, name, action, arguments, asked_by, call_index, call_id, state, result, cost_micro_usd, decided_at,
       finished_at, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, code)
     select $1, seq, kind, name, action, arguments, "askedBy", "callIndex", "callId", state, result, "costMicroUsd", "decidedAt",
       "finishedAt", input, "cachedInput", output, reasoning, code from given`,
    [id, JSON.stringify(rows)],
  );
  // History facts count intents.
  await tx.query(
    `insert into effect (run, seq, idempotency_key, state, intended_at, ended_at)
     select run, seq, run || '.' || seq, 'result', decided_at, finished_at from step where run = $1 and state in ('done', 'failed')
     order by seq`,
    [id],
  );
}

async function putDecisions(tx: Tx, id: RunId, decisions: readonly DecisionRecord[]): Promise<void> {
  await tx.query(
    `insert into decision (run, seq, n, activity, outcome, code, policies, policy_set, facts, request, approval, at, effective, shadow, edit)
     select $1, seq, n, activity, outcome, code, policies, "policySet", facts, request, approval, at, effective, shadow, edit
     from jsonb_to_recordset($2::jsonb) as given (
       seq integer, n integer, activity text, outcome text, code text, policies text[], "policySet" text, facts jsonb, request text,
       approval text, at timestamptz, effective text, shadow boolean, edit text)`,
    [id, JSON.stringify(decisions)],
  );
}

/** Grants that were consumed are counted by policies. What they said is of no use to anything else here. */
async function putConsumed(tx: Tx, id: RunId, { record, at }: ForkPlan): Promise<void> {
  const consumed = record.approvals.filter(({ seq, state }) => seq < at && wasUsed(state));
  const rows = consumed.map((approval) => ({
    ...approval,
    name: record.steps.find(({ seq }) => seq === approval.seq)?.name ?? "",
    policySet: record.decisions.find((one) => one.approval === approval.id)?.policySet,
  }));
  await tx.query(
    `insert into approval_request (id, team, run, seq, action, name, rendered, requirements, policy_set, state, opened_at, expires_at,
       decided_at, consumed_at)
     select id, $2, $1, seq, action, name, $3, requirements, "policySet", 'consumed', "openedAt", "expiresAt", "openedAt", "openedAt"
     from jsonb_to_recordset($4::jsonb) as given (
       id text, seq integer, action text, name text, requirements jsonb, "policySet" text, "openedAt" timestamptz, "expiresAt" timestamptz)`,
    [id, record.run.team, record.run.input, JSON.stringify(rows)],
  );
}
