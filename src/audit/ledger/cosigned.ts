import type { LedgerEntry } from "../../core/ledger-event.ts";
import type { RunRecord } from "../../core/run-record.ts";
import {
  cosignedBy,
  openCheckpoint,
  parseCosignerKey,
  parseVerifierKey,
  verifyConsistency,
} from "../../ledger/proof/index.ts";
import type { Checkpoint } from "../../ledger/proof/index.ts";
import { check, notChecked } from "../report.ts";
import type { AuditCheck } from "../report.ts";

type Placed = { readonly index: number; readonly entry: LedgerEntry };

/** A call that was made after it had waited for witnesses: on the checkpoint of which size, and how many had to have cosigned that. */
export type CosignedCall = { readonly seq: number; readonly size: number; readonly witnesses: number };

/**
 * The calls of a run that had to wait for witnesses, and were made. `problems`: those that no checkpoint can have covered when they were. The
 * checkpoint lies between the intent and the end: it has the intent, and was there before the call came to its end.
 */
export function cosignedCalls(entries: readonly Placed[]): {
  readonly calls: readonly CosignedCall[];
  readonly problems: readonly string[];
} {
  const calls: CosignedCall[] = [];
  const problems: string[] = [];
  const wanted = new Map<unknown, number>();
  const begun = new Map<unknown, number>();
  for (const { index, entry } of entries) {
    const { seq, witnesses, outcome } = entry.facts;
    if (entry.kind === "step.decided" && outcome === "allow" && typeof witnesses === "number")
      wanted.set(seq, witnesses);
    if (entry.kind === "step.intent") begun.set(seq, index);
    if (entry.kind !== "step.result" && entry.kind !== "step.unknown") continue;
    const quorum = wanted.get(seq);
    const fault = quorum === undefined ? undefined : cosigningFault(entry, begun.get(seq), index);
    if (fault !== undefined) problems.push(`step ${String(seq)}: ${fault}`);
    else if (quorum !== undefined && wasMade(entry))
      calls.push({ seq: Number(seq), size: Number(entry.facts["checkpoint"]), witnesses: quorum });
  }
  return { calls, problems };
}

/** Whether a call that had to wait ended as one that was made. */
export function wasMade({ facts }: LedgerEntry): boolean {
  return facts["code"] !== "not_cosigned" && facts["state"] !== "cancelled";
}

/** What is wrong with the end of a call that had to wait for witnesses. */
export function cosigningFault(end: LedgerEntry, intent: number | undefined, index: number): string | undefined {
  const size = end.facts["checkpoint"];
  if (!wasMade(end))
    return size === undefined ? undefined : "it was not made, and names the checkpoint that it was made on";
  if (typeof size !== "number") return "it had to wait for witnesses, and was made without a checkpoint";
  if (intent === undefined || size <= intent)
    return `the checkpoint of size ${size}, which it was made on, has not its intent`;
  return size <= index ? undefined : `the checkpoint of size ${size}, which it was made on, is newer than its end`;
}

/** The same of a record, with the checkpoints themselves. `witnesses`: keys of those whom the auditor believes; none: only the log is. */
export function checkCosigned(
  record: RunRecord,
  placed: readonly Placed[],
  checkpoint: Checkpoint | string,
  verifierKey: string,
  witnesses: readonly string[],
): readonly AuditCheck[] {
  const { calls, problems } = cosignedCalls(placed);
  if (calls.length === 0 && problems.length === 0) return [];
  const name = "cosigned";
  if (typeof checkpoint === "string") return [notChecked(name, "there is no checkpoint to prove against")];
  const keys = witnesses.map(parseCosignerKey);
  const found = calls.flatMap(({ seq, size, witnesses: quorum }) => {
    const fault = checkpointFault(record, size, checkpoint, verifierKey);
    if (fault !== undefined) return [`step ${seq}: ${fault}`];
    const note = noteOf(record, size)?.note ?? "";
    const signed = keys.length === 0 ? quorum : cosignedBy(note, keys).length;
    return signed >= quorum
      ? []
      : [`step ${seq}: ${signed} of the witnesses given cosigned the checkpoint of size ${size}, ${quorum} had to`];
  });
  const detail = `${calls.length} calls made on checkpoints over their intents`;
  if (problems.length + found.length > 0 || keys.length > 0) return [check(name, detail, [...problems, ...found])];
  return [notChecked(name, `${detail}; whether witnesses cosigned these takes their keys: --witness KEY`)];
}

function noteOf({ ledger }: RunRecord, size: number) {
  return ledger.cosigned?.find((one) => one.size === size);
}

function checkpointFault(record: RunRecord, size: number, latest: Checkpoint, verifierKey: string): string | undefined {
  const found = noteOf(record, size);
  if (found === undefined) return `the checkpoint of size ${size}, which it was made on, is missing`;
  try {
    const old = openCheckpoint(found.note, parseVerifierKey(verifierKey));
    if (old.size !== size) return `the checkpoint of size ${size}, which it was made on, is of size ${old.size}`;
    verifyConsistency({
      from: size,
      to: latest.size,
      fromRoot: old.root,
      toRoot: latest.root,
      proof: (found.proof ?? []).map((hash) => Buffer.from(hash, "hex")),
    });
    return undefined;
  } catch (error) {
    return `the checkpoint of size ${size}, which it was made on: ${error instanceof Error ? error.message : "it does not hold"}`;
  }
}
