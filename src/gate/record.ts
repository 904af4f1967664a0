import type { StepKind } from "../core/action.ts";
import type { ApprovalId, Digest, RunId } from "../core/ids.ts";
import type { LedgerEvent } from "../core/ledger-event.ts";
import type { TokenUsage } from "../core/money.ts";
import type { RunStatus } from "../core/run.ts";
import type { Pool, StepState, Tx } from "../store/index.ts";
import { budgetsSql, lockOrder, openPeriods } from "./budgets.ts";
import type { BudgetStanding } from "./budgets.ts";
import { GateError } from "./errors.ts";
import { freezeSql, frozenFailure } from "./freeze.ts";
import type { Freeze } from "./freeze.ts";
import type { RunContext } from "./governed-call.ts";
import { runEvent } from "./run-event.ts";
import { createTogether, isRefused } from "./together.ts";
import type { DecisionToRecord } from "./write-decisions.ts";

/** What the record says before a step is decided on, read in one round trip. */
export type Standing = {
  readonly runStatus: RunStatus;
  readonly steps: number;
  readonly maxSteps: number;
  readonly spentMicroUsd: number;
  readonly heldMicroUsd: number;
  readonly maxCostMicroUsd: number;
  readonly spentTokens: number;
  readonly heldTokens: number;
  /** Null: no limit. */
  readonly maxTokens: number | null;
  readonly spentCalls: number;
  readonly heldCalls: number;
  readonly maxCalls: number | null;
  readonly watched: boolean;
  readonly sameName: number;
  readonly policySet: Digest | null;
  readonly state: StepState | null;
  readonly action: Digest | null;
  readonly result: Digest | null;
  readonly kind: string | null;
  readonly decisions: number;
  /** Of the whole run: a decision made by this standing is written only while it is the same. */
  readonly runDecisions: number;
  readonly lastActivity: string | null;
  readonly lastApproval: ApprovalId | null;
  /** Digest of the arguments that the last decision changed the call to. */
  readonly lastEffective: Digest | null;
  readonly lastShadow: boolean;
  readonly lastPolicySet: Digest | null;
  /** The answer that the last decision was on; null where it was on the call. */
  readonly lastAnswer: Digest | null;
  /** The request whose edit the last decision was made on. */
  readonly lastEdit: ApprovalId | null;
  /** How many witnesses have to cosign the step's intent before its call is made, and until when; null: none. */
  readonly lastWitnesses: number | null;
  readonly lastCosignBy: Date | null;
  /** Of the step's effect: whether it waits for them, was begun when they had, or never was. Null: none are waited for. */
  readonly cosigning: "waiting" | "covered" | "late" | null;
  /** The size of the checkpoint that it was begun on. */
  readonly coveredSize: number | null;
  /** Of who asked for the run, now. */
  readonly requesterRoles: readonly string[];
  readonly requesterGroups: readonly string[];
  /** Grants that the run has consumed. */
  readonly approvals: number;
  /** Of the run's team and agent, in the order in which they are locked. */
  readonly budgets: readonly BudgetStanding[];
};

type StandingRow = Omit<Standing, "budgets"> & {
  readonly budgets: readonly BudgetStanding[] | null;
  readonly freeze: Freeze | null;
};

/** Which step's standing is asked for, and when. */
type StandingRequest = {
  readonly run: RunContext;
  readonly seq: number;
  readonly kind: StepKind;
  readonly name: string;
  readonly now: Date;
};

/**
 * Throws `unknown_run`, and a failure to try again after where the step is frozen and something could still come of it: also an effect
 * that was allowed is not begun then. Without its `kind`, a model that has the name of a frozen tool is frozen too.
 */
export async function readStanding(
  tx: Tx,
  run: RunContext,
  seq: number,
  name: string,
  now: Date,
  kind: StepKind = "tool",
): Promise<Standing> {
  return standingOf(tx, { run, seq, kind, name, now }, async (request) => (await standingRows(tx, [request]))[0]);
}

/** The same; standings that are asked for while others are read go together in one round trip. */
export function createStandingReader(pool: Pool): (request: StandingRequest) => Promise<Standing> {
  const together = createTogether<StandingRequest, StandingRow | undefined>({
    key: ({ run, seq }) => `${run.id}/${seq}`,
    all: (requests) => standingRows(pool, requests),
    one: async (request) => (await standingRows(pool, [request]))[0],
    undone: isRefused,
  });
  return (request) => standingOf(pool, request, together);
}

async function standingOf(
  tx: Tx,
  request: StandingRequest,
  read: (request: StandingRequest) => Promise<StandingRow | undefined>,
): Promise<Standing> {
  const { run, now } = request;
  const row = await read(request);
  if (row === undefined) throw new GateError("unknown_run", `run \`${run.id}\` is not registered`);
  const { freeze, budgets, ...standing } = row;
  if (freeze !== null && standing.runStatus === "running" && !isOver(standing.state)) throw frozenFailure(freeze);
  const missing = (budgets ?? []).filter(({ use }) => use === null);
  if (missing.length === 0) return { ...standing, budgets: budgets ?? [] };
  await openPeriods(tx, run.team, missing, now);
  return standingOf(tx, request, read);
}

function isOver(state: StepState | null): boolean {
  return state !== null && state !== "waiting" && state !== "intended";
}

const standingSql = `select asked.place, run.status as "runStatus", run.steps, run.max_steps as "maxSteps", run.spent_micro_usd as "spentMicroUsd",
   run.held_micro_usd as "heldMicroUsd", run.decisions as "runDecisions", run.max_cost_micro_usd as "maxCostMicroUsd",
   run.spent_tokens as "spentTokens", run.held_tokens as "heldTokens", run.max_tokens as "maxTokens",
   run.spent_calls as "spentCalls", run.held_calls as "heldCalls", run.max_calls as "maxCalls",
   coalesce(run.watched_until > asked.at, false) as watched,
   (select count(*) from step other where other.run = run.id and other.name = asked.name and other.seq <> asked.seq
      and other.state in ('intended', 'done', 'failed', 'unknown')) as "sameName",
   (select policy_set from policy_activation where team = asked.team order by id desc limit 1) as "policySet",
   step.state, step.action, step.result, step.kind,
   coalesce(last.n + 1, 0) as decisions, last.activity as "lastActivity", last.approval as "lastApproval",
   last.effective as "lastEffective", coalesce(last.shadow, false) as "lastShadow",
   last.policy_set as "lastPolicySet", last.answer as "lastAnswer", last.edit as "lastEdit",
   last.witnesses as "lastWitnesses", last.cosign_by as "lastCosignBy", effect.cosigning, effect.covered_size as "coveredSize",
   coalesce(requester.roles, '{}') as "requesterRoles", coalesce(requester.groups, '{}') as "requesterGroups",
   (select count(*) from approval_request used where used.run = run.id and used.state = 'consumed') as approvals,
   ${freezeSql("asked.team", "asked.agent", "asked.tool")} as freeze, ${budgetsSql("asked.team", "asked.agent", "asked.at")} as budgets
 from jsonb_to_recordset($1::jsonb)
   as asked (place integer, run text, seq integer, name text, team text, agent text, tool text, at timestamptz)
 cross join lateral (select * from run where id = asked.run limit 1) run
 left join lateral (select state, action, result, kind from step where step.run = asked.run and step.seq = asked.seq limit 1) step
   on true
 left join lateral (select roles, groups from principal where id = run.requested_by limit 1) requester on true
 left join lateral (select n, activity, approval, effective, shadow, edit, policy_set, witnesses, cosign_by, facts #>> '{response,answer}' as answer
                    from decision
                    where decision.run = asked.run and decision.seq = asked.seq order by n desc limit 1) last on true
 left join lateral (select cosigning, covered_size from effect where effect.run = asked.run and effect.seq = asked.seq limit 1) effect
   on true`;

/** In the order of the requests. Scalar look-ups by key, so that no plan ever reads a whole table. */
async function standingRows(
  tx: Tx,
  requests: readonly StandingRequest[],
): Promise<readonly (StandingRow | undefined)[]> {
  const { rows } = await tx.query<StandingRow & { place: number }>(standingSql, [
    JSON.stringify(
      requests.map(({ run, seq, kind, name, now }, place) => {
        // A model that has the name of a frozen tool is not frozen.
        return {
          place,
          run: run.id,
          seq,
          name,
          team: run.team,
          agent: run.agent,
          tool: kind === "model" ? "" : name,
          at: now,
        };
      }),
    ),
  ]);
  const found = new Map(rows.map(({ place, ...row }) => [place, row]));
  return requests.map((_, index) => found.get(index));
}

/** SQLSTATE of what a statement here does when it found nothing to do. */
export const divisionByZero = "22012";

/** The same for every attempt of a step, and for no other. */
export function idempotencyKeyOf(run: RunId, seq: number): string {
  return `${run}.${seq}`;
}

export type OutcomeToRecord = {
  readonly run: RunContext;
  readonly seq: number;
  /** `waiting`: the effect has ended, and people decide on its result. */
  readonly state: "done" | "failed" | "unknown" | "waiting";
  readonly result: Digest | undefined;
  readonly usage: TokenUsage | undefined;
  readonly costMicroUsd: number;
  /** The size of the cosigned checkpoint that it was begun on, where it had to wait for one. */
  readonly covered?: number | undefined;
  /** It was never begun. */
  readonly code?: "not_cosigned" | undefined;
  readonly now: Date;
};

/** Rows by what is given, not by joins: a plan that was made while the tables were empty stays good. */
const outcomeSql = `with step_read as materialized (select budgets from step where run = $1 and seq = $2),
     locked as materialized (
       select u.id from budget_use u where u.id = any((select budgets from step_read)::bigint[]) order by ${lockOrder} for no key update),
     owner as materialized (select id from run where (select count(*) from locked) >= 0 and id = $1 for no key update),
     ended as (
       update step set state = $3::text, result = $4::text, cost_micro_usd = $5::bigint, input_tokens = $6::int,
         cached_input_tokens = $7::int, output_tokens = $8::int, reasoning_tokens = $9::int,
         finished_at = case when $3::text <> 'waiting' then $10::timestamptz end
       from owner where run = $1 and seq = $2 and state = 'intended' returning run, seq, held_micro_usd, held_tokens, budgets),
     journal as (
       update effect set state = $11::text, ended_at = $10::timestamptz from ended where effect.run = $1 and effect.seq = $2),
     settled as (
       update run set spent_micro_usd = spent_micro_usd + $5::bigint, held_micro_usd = run.held_micro_usd - ended.held_micro_usd,
         spent_tokens = spent_tokens + $6::int + $8::int, spent_calls = spent_calls + 1,
         -- A worker of an earlier version may have begun the step, and held none of these.
         held_tokens = greatest(0, run.held_tokens - ended.held_tokens), held_calls = greatest(0, run.held_calls - 1)
       from ended where run.id = $1),
     charged as (
       update budget_use u set spent_micro_usd = u.spent_micro_usd + $5::bigint, spent_tokens = u.spent_tokens + $6::int + $8::int,
         spent_calls = u.spent_calls + 1, held_micro_usd = u.held_micro_usd - ended.held_micro_usd,
         held_tokens = u.held_tokens - ended.held_tokens, held_calls = u.held_calls - 1
       from ended where u.id = any((select budgets from ended)::bigint[]))
     select count(*) as ended from ended`;

/**
 * Writes how an effect ended and settles its budgets: what it cost is spent, also where that is more than was held, and the hold is
 * given back. False where it has an end already (another attempt was first): nothing is
 * written then, and the first one stands.
 */
export async function writeOutcome(tx: Tx, o: OutcomeToRecord): Promise<boolean> {
  const { rows } = await tx.query<{ ended: number }>(outcomeSql, [
    o.run.id,
    o.seq,
    o.state,
    o.result ?? null,
    o.costMicroUsd,
    o.usage?.input ?? 0,
    o.usage?.cachedInput ?? 0,
    o.usage?.output ?? 0,
    o.usage?.reasoning ?? 0,
    o.now,
    o.state === "unknown" ? "unknown" : "result",
  ]);
  return rows[0]?.ended === 1;
}

/** Counts another beginning of an effect, and returns the count. */
export async function beginAgain(tx: Tx, run: RunId, seq: number): Promise<number> {
  const { rows } = await tx.query<{ attempts: number }>(
    "update effect set attempts = attempts + 1 where run = $1 and seq = $2 and state = 'intended' returning attempts",
    [run, seq],
  );
  return rows[0]?.attempts ?? 0;
}

/** What the ledger says of a decision: with it, an intent where something is about to happen. */
export function decisionEvents(d: DecisionToRecord): readonly LedgerEvent[] {
  const { run, step, decision, now } = d;
  const decided = runEvent(run, "step.decided", `${step.seq}/decided/${d.standing.decisions}`, now, {
    seq: step.seq,
    n: d.standing.decisions,
    step: step.kind,
    name: step.name,
    agent: run.agent,
    release: run.release.digest,
    action: step.actionDigest,
    arguments: step.arguments,
    outcome: decision.outcome,
    ...(decision.outcome === "deny" ? { code: decision.code } : {}),
    policies: decision.policies.map((reason) => reason.policy),
    policySet: d.policySet,
    request: d.request,
    activity: d.activity,
    ...(d.approval === undefined ? {} : { approval: d.approval }),
    ...(d.effective === undefined ? {} : { effective: d.effective.digest }),
    ...(d.shadow ? { shadow: "true" } : {}),
    ...(d.edit === undefined ? {} : { edit: d.edit }),
    ...(d.standingGrant === undefined ? {} : { standingGrant: d.standingGrant }),
    ...(d.cosigned === undefined ? {} : { witnesses: d.cosigned.witnesses, cosignBy: d.cosigned.until.toISOString() }),
  });
  if (decision.outcome !== "allow") return [decided];
  const intent = runEvent(run, "step.intent", `${step.seq}/intent`, now, {
    seq: step.seq,
    action: step.actionDigest,
    idempotencyKey: idempotencyKeyOf(run.id, step.seq),
    heldMicroUsd: step.hold,
  });
  return [decided, intent];
}

export function outcomeEvent(o: OutcomeToRecord): LedgerEvent {
  const kind = o.state === "unknown" ? "step.unknown" : "step.result";
  return runEvent(o.run, kind, `${o.seq}/result`, o.now, {
    seq: o.seq,
    state: o.state,
    costMicroUsd: o.costMicroUsd,
    ...(o.result === undefined ? {} : { result: o.result }),
    ...(o.covered === undefined ? {} : { checkpoint: o.covered }),
    ...(o.code === undefined ? {} : { code: o.code }),
    ...(o.usage === undefined
      ? {}
      : {
          inputTokens: o.usage.input,
          cachedInputTokens: o.usage.cachedInput,
          outputTokens: o.usage.output,
          reasoningTokens: o.usage.reasoning,
        }),
  });
}
