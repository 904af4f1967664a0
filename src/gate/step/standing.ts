import type { StepCode, StepKind } from "../../core/action.ts";
import { budgetPolicies } from "../../core/budget.ts";
import type { ApprovalId, Digest } from "../../core/ids.ts";
import type { RunStatus } from "../../core/run.ts";
import type { Pool, StepState, Tx } from "../../store/index.ts";
import { budgetsSql, openPeriods } from "../budgets/budgets.ts";
import type { BudgetStanding } from "../budgets/budgets.ts";
import { GateError } from "../errors.ts";
import type { RunContext } from "../governed-call.ts";
import { freezeSql, frozenFailure } from "../run/freeze.ts";
import type { Freeze } from "../run/freeze.ts";
import { createTogether, isRefused } from "../together.ts";

/** What the record says before a step is decided on, read in one round trip. */
export type Standing = {
  /** When it was read, by Postgres' clock, which all workers share: a decision made by it has this time. */
  readonly at: Date;
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
  readonly sameNameApproved: number;
  readonly policySet: Digest | null;
  readonly state: StepState | null;
  readonly action: Digest | null;
  readonly result: Digest | null;
  readonly kind: string | null;
  readonly code: StepCode | null;
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

/** Which step's standing is asked for; `at`: as of then, and not of Postgres' now. */
type StandingRequest = {
  readonly run: RunContext;
  readonly seq: number;
  readonly kind: StepKind;
  readonly name: string;
  readonly at: Date | undefined;
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
  at: Date | undefined,
  kind: StepKind = "tool",
): Promise<Standing> {
  return standingOf(tx, { run, seq, kind, name, at }, async (request) => (await standingRows(tx, [request]))[0]);
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
  const { run } = request;
  const row = await read(request);
  if (row === undefined) throw new GateError("unknown_run", `run \`${run.id}\` is not registered`);
  const { freeze, budgets, ...standing } = row;
  if (freeze !== null && standing.runStatus === "running" && !isOver(standing.state)) throw frozenFailure(freeze);
  const missing = (budgets ?? []).filter(({ use }) => use === null);
  if (missing.length === 0) return { ...standing, budgets: budgets ?? [] };
  await openPeriods(tx, run.team, missing, row.at);
  return standingOf(tx, request, read);
}

function isOver(state: StepState | null): boolean {
  return state !== null && state !== "waiting" && state !== "intended";
}

const standingSql = `select asked.place, asked.at, run.status as "runStatus", run.steps, run.max_steps as "maxSteps", run.spent_micro_usd as "spentMicroUsd",
   run.held_micro_usd as "heldMicroUsd", run.decisions as "runDecisions", run.max_cost_micro_usd as "maxCostMicroUsd",
   run.spent_tokens as "spentTokens", run.held_tokens as "heldTokens", run.max_tokens as "maxTokens",
   run.spent_calls as "spentCalls", run.held_calls as "heldCalls", run.max_calls as "maxCalls",
   coalesce(run.watched_until > asked.at, false) as watched,
   (select count(*) from step other where other.run = run.id and other.name = asked.name and other.seq <> asked.seq
      and other.state in ('intended', 'done', 'failed', 'unknown')) as "sameName",
   approved."sameName" as "sameNameApproved",
   (select policy_set from policy_activation where team = asked.team order by id desc limit 1) as "policySet",
   step.state, step.action, step.result, step.kind, step.code,
   coalesce(last.n + 1, 0) as decisions, last.activity as "lastActivity", last.approval as "lastApproval",
   last.effective as "lastEffective", coalesce(last.shadow, false) as "lastShadow",
   last.policy_set as "lastPolicySet", last.answer as "lastAnswer", last.edit as "lastEdit",
   last.witnesses as "lastWitnesses", last.cosign_by as "lastCosignBy", effect.cosigning, effect.covered_size as "coveredSize",
   coalesce(requester.roles, '{}') as "requesterRoles", coalesce(requester.groups, '{}') as "requesterGroups",
   approved.total as approvals,
   ${freezeSql("asked.team", "asked.agent", "asked.tool")} as freeze, ${budgetsSql("asked.team", "asked.agent", "asked.at")} as budgets
 from (select given.*, coalesce(given.given_at, statement_timestamp()) as at
       from jsonb_to_recordset($1::jsonb)
         as given (place integer, run text, seq integer, name text, team text, agent text, tool text, given_at timestamptz)) asked
 cross join lateral (select * from run where id = asked.run limit 1) run
 left join lateral (select state, action, result, kind, code from step where step.run = asked.run and step.seq = asked.seq limit 1) step
   on true
 left join lateral (select roles_for(roles, role_teams, asked.team) as roles, groups from principal where id = run.requested_by limit 1) requester on true
 left join lateral (select n, activity, approval, effective, shadow, edit, policy_set, witnesses, cosign_by, facts #>> '{response,answer}' as answer
                    from decision
                    where decision.run = asked.run and decision.seq = asked.seq order by n desc limit 1) last on true
 cross join lateral (
   select count(*) as total, count(*) filter (
     where used.name = asked.name and used.seq <> asked.seq
       and exists (select from jsonb_array_elements(used.requirements) wanted where not starts_with(wanted ->> 'policy', '${budgetPolicies}'))) as "sameName"
   from approval_request used where used.run = run.id and used.consumed_at is not null) approved
 left join lateral (select cosigning, covered_size from effect where effect.run = asked.run and effect.seq = asked.seq limit 1) effect
   on true`;

/** In the order of the requests. Scalar look-ups by key, so that no plan ever reads a whole table. */
async function standingRows(
  tx: Tx,
  requests: readonly StandingRequest[],
): Promise<readonly (StandingRow | undefined)[]> {
  const { rows } = await tx.query<StandingRow & { place: number }>(standingSql, [
    JSON.stringify(
      requests.map(({ run, seq, kind, name, at }, place) => {
        // A model that has the name of a frozen tool is not frozen.
        return {
          place,
          run: run.id,
          seq,
          name,
          team: run.team,
          agent: run.agent,
          tool: kind === "model" ? "" : name,
          given_at: at,
        };
      }),
    ),
  ]);
  const found = new Map(rows.map(({ place, ...row }) => [place, row]));
  return requests.map((_, index) => found.get(index));
}
