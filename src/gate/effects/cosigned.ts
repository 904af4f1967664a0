import type { Digest, RunId } from "../../core/ids.ts";
import { coveringCheckpoint } from "../../ledger/index.ts";
import type { Cosigners } from "../../ledger/index.ts";
import type { Pool } from "../../store/index.ts";
import { GateError, stillWaiting } from "../errors.ts";

/** What is recorded of a step whose call waits for witnesses. */
export type CosignedStep = {
  readonly run: { readonly id: RunId; readonly team: string };
  readonly seq: number;
  readonly action: Digest;
  readonly witnesses: number;
  readonly until: Date;
  /** When it is looked at, by the clock that `until` goes by. */
  readonly at: Date;
};

export type CosignedOptions = {
  readonly pool: Pool;
  /** Whom it believes; absent: nobody, and what has to be cosigned is never made. */
  readonly cosigners?: Cosigners | undefined;
  /** In the place of Postgres' clock. */
  readonly clock?: (() => Date) | undefined;
};

type Found =
  | { readonly status: "waiting" }
  | { readonly status: "covered"; readonly size: number }
  | { readonly status: "late"; readonly text: string };

/** Whether witnesses have cosigned a checkpoint that covers the step's intent. After its time it is too late, whatever they say then. */
export async function lookForCosignatures(
  { pool, cosigners }: CosignedOptions,
  { run, seq, action, witnesses, until, at }: CosignedStep,
): Promise<Found> {
  const wanted = `${witnesses} ${witnesses === 1 ? "witness has" : "witnesses have"} to cosign that it is allowed`;
  const known = cosigners?.witnesses.length ?? 0;
  if (cosigners === undefined || known < witnesses)
    return { status: "late", text: `${wanted}, and the operator's worker is told of ${known}` };
  if (at >= until) return { status: "late", text: `${wanted}, and they had not until ${until.toISOString()}` };
  const found = await coveringCheckpoint(pool, cosigners, {
    log: run.team,
    dedupKey: intentKey(run.id, seq),
    quorum: witnesses,
    isIt: ({ kind, run: of, facts }) => kind === "step.intent" && of?.id === run.id && facts["action"] === action,
  });
  return found === undefined ? { status: "waiting" } : { status: "covered", size: found.size };
}

/** Of the event that tells of a step's intent. */
function intentKey(run: RunId, seq: number): string {
  return `${run}/${seq}/intent`;
}

/**
 * Ends the wait of an effect that was not begun: it is begun now, or never. Throws `already_recorded` where somebody else did: then that
 * stands.
 */
export async function endCosigning(
  pool: Pool,
  run: RunId,
  seq: number,
  end: { readonly status: "covered"; readonly size: number } | { readonly status: "late" },
): Promise<void> {
  const { rowCount } = await pool.query(
    `update effect set cosigning = $3, covered_size = $4
     where run = $1 and seq = $2 and state = 'intended' and cosigning = 'waiting'`,
    [run, seq, end.status, end.status === "covered" ? end.size : null],
  );
  if (rowCount !== 1) throw new GateError("already_recorded", `the wait of step ${seq} for witnesses was ended before`);
}

/** Throws a failure to be tried again as long as the call of a tool, which a model step asked for, waits for witnesses. */
export async function awaitCosignatures(
  options: CosignedOptions,
  run: { readonly id: RunId; readonly team: string },
  { model, call }: { readonly model: number; readonly call: number },
): Promise<void> {
  const { rows } = await options.pool.query<Omit<CosignedStep, "run"> & { readonly decidedAt: Date }>(
    `select step.seq, step.action, step.decided_at as "decidedAt", last.witnesses, last.cosign_by as until,
       coalesce($4::timestamptz, statement_timestamp()) as at
     from step join effect using (run, seq)
     join lateral (select witnesses, cosign_by from decision
                   where decision.run = step.run and decision.seq = step.seq order by n desc limit 1) last on true
     where step.run = $1 and step.asked_by = $2 and step.call_index = $3 and step.state = 'intended'
       and effect.cosigning = 'waiting' and last.witnesses is not null`,
    [run.id, model, call, options.clock?.()],
  );
  const [step] = rows;
  if (step === undefined || (await lookForCosignatures(options, { ...step, run })).status !== "waiting") return;
  throw stillWaiting(
    "not_cosigned",
    `${step.witnesses} witnesses have not cosigned the intent of step ${step.seq} yet`,
    lookAgainMs(step.at.getTime() - step.decidedAt.getTime()),
  );
}

/** Witnesses answer within seconds, or are down for longer. */
function lookAgainMs(waitedMs: number): number {
  return Math.max(500, Math.min(5_000, waitedMs / 4));
}
