import {
  askAgain,
  editKind,
  editOf,
  endOutcome,
  heldResolution,
  lockOutcome,
  readSigned,
  resolvedResult,
  subjectNames,
} from "../../approvals/index.ts";
import type { Edit, Resolution, ResolutionStatement, UnknownOutcome } from "../../approvals/index.ts";
import type { Waiting } from "../../core/contract.ts";
import { barredText } from "../../core/decision.ts";
import type { ApprovalId } from "../../core/ids.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import type { ChangedCall } from "../../core/transcript.ts";
import { faultPoint } from "../../faults/index.ts";
import { appendToOutbox } from "../../ledger/index.ts";
import { getPayloads, inTransaction, sealPayload, sha256, writeSealed } from "../../store/index.ts";
import type { PayloadKeys, Tx } from "../../store/index.ts";
import { GateError } from "../errors.ts";
import { sealingIn } from "../governed-call.ts";
import type { RunContext } from "../governed-call.ts";
import type { GateOptions } from "../options.ts";
import { runEvent } from "../run/event.ts";

/**
 * A step whose outcome is unknown: it waits until a person says what happened. What they signed is checked here, from the database, before
 * it becomes the step's result; what does not hold counts as not said. Undefined: nobody is asked, or nobody said it in time.
 */
export async function settleUnknown(
  options: GateOptions,
  run: RunContext,
  seq: number,
): Promise<Waiting | { readonly status: "reconciled" } | undefined> {
  const settle = async (tx: Tx): ReturnType<typeof settleUnknown> => {
    const outcome = await lockOutcome(tx, run.id, seq);
    if (outcome === undefined || outcome.state === "expired" || outcome.state === "cancelled") return undefined;
    // Taken over before: the step has its result.
    if (outcome.state === "reconciled") return { status: "reconciled" as const };
    if (outcome.state === "resolved") {
      const check = await heldResolution(tx, outcome, subjectNames(run.input));
      if (check.holds) {
        await reconcile(tx, options, run, outcome, check.statement);
        return { status: "reconciled" as const };
      }
      await refuse(tx, options, run, outcome, check.why);
      await askAgain(tx, outcome.id);
    }
    if (options.now() >= outcome.expiresAt) {
      await endOutcome(tx, outcome.id, "expired");
      return undefined;
    }
    return { status: "waiting", request: outcome.id, expiresAt: outcome.expiresAt.getTime() };
  };
  return faultPoint("outcome.settle", () => inTransaction(options.pool, settle));
}

/** Who said what, and why it does not hold: what was said is asked for again, and leaves the table. */
async function refuse(
  tx: Tx,
  { now }: GateOptions,
  run: RunContext,
  outcome: UnknownOutcome,
  why: string,
): Promise<void> {
  const { resolution, seq } = outcome;
  if (resolution === null) return;
  // A run that has ended gets no more entries.
  const { rowCount } = await tx.query("select from run where id = $1 and status = 'running' for no key update", [
    run.id,
  ]);
  if (rowCount !== 1) throw new GateError("run_not_open", "the run was closed while its call was looked into");
  const said = `${seq}/refused/${resolution.at.getTime()}`;
  const facts = { seq, unknown: outcome.id, ...saidFacts(resolution), why };
  await appendToOutbox(tx, [runEvent(run, "step.resolution_refused", said, now(), facts)]);
}

/** Of what somebody said, as the ledger has it. */
function saidFacts({ reviewer, keyId, statement, signature, at, person }: Resolution) {
  return {
    reviewer,
    keyId,
    statement: sha256(statement),
    signature,
    saidAt: at.toISOString(),
    ...(person === null ? {} : { person }),
  };
}

async function reconcile(
  tx: Tx,
  { now, keys }: GateOptions,
  run: RunContext,
  outcome: UnknownOutcome,
  statement: ResolutionStatement,
): Promise<void> {
  const { resolution, seq } = outcome;
  if (resolution === null) throw new TypeError("nobody said what became of it");
  const at = now();
  const edit = await lastEdit(tx, run, seq);
  const changed = edit === undefined ? undefined : await changedBy(tx, keys, edit);
  const sealed = sealPayload(sealingIn(run), resolvedResult(statement, changed) as unknown as Json);
  const state = statement.outcome === "happened" ? "done" : "failed";
  await writeSealed(tx, [sealed]);
  const { rowCount } = await tx.query(
    `with owner as materialized (select id from run where id = $1 and status = 'running' for no key update),
     ended as (
       update step set state = $3::text, result = $4::text, finished_at = $5 from owner
       where run = owner.id and seq = $2 and state = 'unknown' returning run, seq)
     update effect set state = 'reconciled', ended_at = $5 from ended
     where effect.run = ended.run and effect.seq = ended.seq and effect.state = 'unknown'`,
    [run.id, seq, state, sealed.digest, at],
  );
  if (rowCount !== 1) throw new GateError("run_not_open", "the run was closed while its call was looked into");
  await endOutcome(tx, outcome.id, "reconciled");
  const { rows } = await tx.query<{ cost: number }>(
    `select cost_micro_usd as cost from step where run = $1 and seq = $2`,
    [run.id, seq],
  );
  await appendToOutbox(tx, [
    runEvent(run, "step.reconciled", `${seq}/reconciled`, at, {
      seq,
      state,
      result: sealed.digest,
      costMicroUsd: rows[0]?.cost ?? 0,
      unknown: outcome.id,
      outcome: statement.outcome,
      ...saidFacts(resolution),
      // Whose change of the call the agent is told with it.
      ...(changed === undefined || edit === undefined ? {} : { edit: edit.request }),
      ...(resolution.barred === null ? {} : { barred: resolution.barred.map(barredText) }),
      // How long the log of people was when it was said: what it had of the key by then counted.
      ...(resolution.keysSize === null ? {} : { keysSize: resolution.keysSize }),
    }),
  ]);
}

/** The change on which the call was begun, whether or not it holds still: that is what may have happened. */
async function lastEdit(tx: Tx, run: RunContext, seq: number): Promise<Edit | undefined> {
  const { rows } = await tx.query<{ edit: ApprovalId | null }>(
    "select edit from decision where run = $1 and seq = $2 order by n desc limit 1",
    [run.id, seq],
  );
  const edit = rows[0]?.edit ?? null;
  return edit === null ? undefined : editOf(tx, edit);
}

async function changedBy(tx: Tx, keys: PayloadKeys, edit: Edit): Promise<ChangedCall | undefined> {
  const args = (await getPayloads(tx, keys, [edit.arguments])).get(edit.arguments);
  const reason = readSigned(editKind, edit.statement)?.reason ?? "";
  return args === undefined ? undefined : { arguments: args as JsonObject, reason };
}
