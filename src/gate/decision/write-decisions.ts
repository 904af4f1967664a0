import { exhausted, noAmounts, periodStart } from "../../core/budget.ts";
import type { Decision, RunFacts } from "../../core/decision.ts";
import { codeOf } from "../../core/errors.ts";
import type { ApprovalId, Digest } from "../../core/ids.ts";
import { faultPoint } from "../../faults/index.ts";
import { outboxRows } from "../../ledger/index.ts";
import type { OutboxRow } from "../../ledger/index.ts";
import { sealedRows } from "../../store/index.ts";
import type { Pool, SealedPayload, Tx } from "../../store/index.ts";
import { budgetFacts, holdOf } from "../budgets/budgets.ts";
import { GateError } from "../errors.ts";
import { idempotencyKeyOf } from "../governed-call.ts";
import type { RunContext } from "../governed-call.ts";
import { divisionByZero } from "../sqlstate.ts";
import type { ResolvedStep } from "../step/resolve.ts";
import type { Standing } from "../step/standing.ts";
import { createTogether, isRefused } from "../together.ts";
import { decisionEvents } from "./events.ts";
import { sqlFor } from "./write-sql.ts";

export type DecisionToRecord = {
  readonly run: RunContext;
  readonly step: ResolvedStep;
  readonly standing: Standing;
  readonly decision: Decision;
  readonly policySet: Digest;
  readonly facts: RunFacts;
  readonly request: Digest;
  readonly activity: string;
  /** The request that was opened, or the grant that was consumed. */
  readonly approval: ApprovalId | undefined;
  /** The arguments that obligations changed the call to. */
  readonly effective: SealedPayload | undefined;
  readonly shadow: boolean;
  /** The request whose edit it was made on: `step` is the call as the agent asked for it. */
  readonly edit?: ApprovalId | undefined;
  /** The standing grant that took the place of an approval. */
  readonly standingGrant?: string | undefined;
  /** The call waits for witnesses. */
  readonly cosigned?: { readonly witnesses: number; readonly until: Date } | undefined;
  /** A denial, as the model will read it. */
  readonly result: SealedPayload | undefined;
  readonly now: Date;
};

/** A decision ready to be written: whatever can fail for its own reasons has not. */
type Ready = {
  readonly decision: DecisionToRecord;
  readonly row: ReturnType<typeof rowOf>;
  readonly events: readonly OutboxRow[];
  readonly contents: readonly SealedPayload[];
};

function readied(decision: DecisionToRecord): Ready {
  const contents = [decision.result, decision.effective].filter((sealed) => sealed !== undefined);
  return { decision, row: rowOf(decision), events: outboxRows(decisionEvents(decision)), contents };
}

/**
 * Writes decisions of different runs, each with its step, what it holds of its budgets, its contents, its ledger events and, where it
 * allows, the intent: one statement, all or nothing. Rows are locked in one order everywhere: contents, budgets, runs, steps. Fails
 * with a division by zero where any of them has no room, or what it goes by has changed: a freeze, a new budget or another policy set included.
 */
async function write(tx: Tx, all: readonly Ready[]): Promise<void> {
  const contents = all.flatMap((ready) => ready.contents);
  const parts = {
    several: all.length > 1,
    contents: contents.length > 0,
    budgets: all.some(({ row }) => row.budgets.length > 0),
  };
  const values = [
    JSON.stringify(all.map(({ row }) => row)),
    all.length,
    JSON.stringify(all.flatMap(({ events }) => events)),
    ...(parts.contents ? [JSON.stringify(sealedRows(contents))] : []),
  ];
  await faultPoint("decision.write", () => tx.query(sqlFor(parts), values));
}

async function writeAlone(tx: Tx, ready: Ready): Promise<void> {
  try {
    await write(tx, [ready]);
  } catch (error) {
    if (isMadeBefore(error)) throw new GateError("invalid_step", "another step of the run is for the same call");
    throw codeOf(error) === divisionByZero ? noRoom(ready.decision) : error;
  }
}

/**
 * Writes one decision in the caller's transaction. Throws `limit_steps`, `limit_cost` or `run_not_open` where there is no room for it, and
 * `already_recorded` where what it goes by has changed; nothing is written then.
 */
export async function writeDecision(tx: Tx, decision: DecisionToRecord): Promise<void> {
  await writeAlone(tx, readied(decision));
}

/**
 * The same, each in a transaction of its own or one that it shares with decisions of other runs: they are committed together, and fail
 * each for itself.
 */
export function createDecisionWriter(pool: Pool): (decision: DecisionToRecord) => Promise<void> {
  const together = createTogether<Ready, void>({
    key: ({ decision }) => decision.run.id,
    all: async (ready) => {
      await write(pool, ready);
      return [];
    },
    one: (ready) => writeAlone(pool, ready),
    undone: isRefused,
  });
  return async (decision) => together(readied(decision));
}

export function rowOf(d: DecisionToRecord) {
  const { run, step, standing, decision, now } = d;
  const tool = step.kind === "model" ? undefined : step;
  const state = stateAfter(decision);
  const budgets = state === "intended" ? standing.budgets : [];
  // The period that was read is the one to be charged.
  if (budgets.some(({ starts, period }) => periodStart(period, now).getTime() !== starts)) throw changedMeanwhile();
  const hold = state === "intended" ? holdOf(step) : noAmounts;
  return {
    run: run.id,
    seq: step.seq,
    n: standing.decisions,
    run_decisions: standing.runDecisions,
    counted: countedOf(d),
    hold: hold.microUsd,
    hold_tokens: hold.tokens,
    hold_calls: hold.calls,
    team: run.team,
    agent: run.agent,
    tool: step.kind === "model" ? "" : step.name,
    budget_event: Math.max(0, ...standing.budgets.map(({ event }) => event)),
    budgets: budgets.map(({ use, limits }) => ({
      id: use,
      max_micro_usd: limits.microUsd,
      max_tokens: limits.tokens,
      max_calls: limits.calls,
    })),
    budget_ids: budgets.length === 0 ? null : budgets.map(({ use }) => use),
    kind: step.kind,
    name: step.name,
    action: step.actionDigest,
    arguments: step.arguments,
    asked_by: tool?.askedBy,
    call_index: tool?.callIndex,
    call_id: tool?.callId,
    state,
    result: d.result?.digest,
    at: now,
    activity: d.activity,
    outcome: decision.outcome,
    code: decision.outcome === "deny" ? decision.code : undefined,
    policies: decision.policies.map((reason) => reason.policy),
    policy_set: d.policySet,
    facts: d.facts,
    request: d.request,
    approval: d.approval,
    effective: d.effective?.digest,
    shadow: d.shadow,
    edit: d.edit,
    standing_grant: d.standingGrant,
    idempotency_key: idempotencyKeyOf(run.id, step.seq),
    witnesses: d.cosigned?.witnesses,
    cosign_by: d.cosigned?.until,
  };
}

/** A step that waited was counted when it was first decided on. */
function countedOf({ standing }: DecisionToRecord): 0 | 1 {
  return standing.state === null ? 1 : 0;
}

function isMadeBefore(error: unknown): boolean {
  return error instanceof Error && "constraint" in error && error.constraint === "step_of_call";
}

function stateAfter(decision: Decision): "intended" | "denied" | "waiting" {
  switch (decision.outcome) {
    case "allow":
      return "intended";
    case "deny":
      return "denied";
    case "require_approval":
      return "waiting";
  }
}

function noRoom(d: DecisionToRecord): GateError {
  const { standing, step, decision } = d;
  if (standing.runStatus !== "running") return new GateError("run_not_open", `run is ${standing.runStatus}`);
  if (standing.steps + countedOf(d) > standing.maxSteps) {
    return new GateError("limit_steps", `the run has used its ${standing.maxSteps} steps`);
  }
  const [first] = decision.outcome === "allow" ? exhausted(budgetFacts(standing, step)) : [];
  // Parallel steps took the room in between, or the step is recorded already: reading again tells.
  return first === undefined ? changedMeanwhile() : new GateError("limit_cost", first.reason.text);
}

/** It is looked at again then. */
export function changedMeanwhile(): GateError {
  return new GateError("already_recorded", "the record changed while the step was decided on");
}
