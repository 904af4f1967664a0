import { askAgain, endOutcome, heldResolution, lockOutcome, resolvedResult, subjectNames } from "../approvals/index.ts";
import type { UnknownOutcome } from "../approvals/index.ts";
import { barredText } from "../core/decision.ts";
import type { Waiting } from "../core/contract.ts";
import type { Json } from "../core/json.ts";
import { faultPoint } from "../faults/index.ts";
import { appendToOutbox } from "../ledger/index.ts";
import { inTransaction, sealPayload, sha256, writeSealed } from "../store/index.ts";
import type { Tx } from "../store/index.ts";
import type { GateOptions } from "./decide.ts";
import { GateError } from "./errors.ts";
import { sealingIn } from "./governed-call.ts";
import type { RunContext } from "./governed-call.ts";
import { runEvent } from "./run-event.ts";

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
      if (await reconcile(tx, options, run, outcome)) return { status: "reconciled" as const };
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

async function reconcile(tx: Tx, { now }: GateOptions, run: RunContext, outcome: UnknownOutcome): Promise<boolean> {
  const { resolution, seq } = outcome;
  const statement = await heldResolution(tx, outcome, subjectNames(run.input));
  if (statement === undefined || resolution === null) return false;
  const at = now();
  const sealed = sealPayload(sealingIn(run), resolvedResult(statement) as unknown as Json);
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
      reviewer: resolution.reviewer,
      keyId: resolution.keyId,
      statement: sha256(resolution.statement),
      signature: resolution.signature,
      saidAt: resolution.at.toISOString(),
      ...(resolution.person === null ? {} : { person: resolution.person }),
      ...(resolution.barred === null ? {} : { barred: resolution.barred.map(barredText) }),
      // How long the log of people was when it was said: what it had of the key by then counted.
      ...(resolution.keysSize === null ? {} : { keysSize: resolution.keysSize }),
    }),
  ]);
  return true;
}
