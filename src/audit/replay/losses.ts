import type { LedgerEntry } from "../../core/ledger-event.ts";
import type { RunRecord } from "../../core/run-record.ts";
import { scanEntry } from "../../ledger/proof/index.ts";
import type { Checkpoint } from "../../ledger/proof/index.ts";
import { isCovered } from "../ledger/entry-proof.ts";
import { readableEntries } from "../ledger/readable-entries.ts";
import { check, notChecked } from "../report.ts";
import type { AuditCheck } from "../report.ts";

/** The executions whose histories are gone: Temporal had deleted them before they were archived. */
export function lostExecutions(record: Pick<RunRecord, "histories">): readonly string[] {
  return record.histories.filter(({ history }) => history === null).map(({ temporalRunId }) => temporalRunId);
}

/**
 * A lost history proves nothing, and refutes nothing: the run is incomplete from then on. The ledger says so itself, so that nobody can let one
 * go later that they would rather not show: one that was sealed had been archived, and cannot be lost. Undefined where none is lost. Without a
 * `checkpoint`, the entries' places in the log are proved elsewhere.
 */
export function checkLosses(record: RunRecord, checkpoint: Checkpoint | string | undefined): AuditCheck | undefined {
  const lost = lostExecutions(record);
  const problems: string[] = [];
  const entered = new Set<string>();
  const sealed = sealedExecutions(record);
  for (const loss of record.ledger.losses ?? []) {
    try {
      const entry = scanEntry(Buffer.from(loss.leaf, "utf8"));
      problems.push(...lossProblems(record, entry, loss.index));
      const execution = String(entry.facts["temporalRunId"]);
      if (sealed.has(execution)) problems.push(`entry ${loss.index}: \`${execution}\` was lost, and sealed as well`);
      if (checkpoint === undefined || isCovered(loss, checkpoint)) entered.add(execution);
    } catch (error) {
      problems.push(`entry ${loss.index}: ${error instanceof Error ? error.message : "malformed"}`);
    }
  }
  if (problems.length > 0) return check("losses", "", problems);
  if (lost.length === 0) return undefined;
  const told = lost.filter((id) => entered.has(id)).length;
  return notChecked(
    "losses",
    `${lost.length} of ${record.histories.length} histories are lost: Temporal had deleted them before they were archived; ${told === lost.length ? "the ledger says so" : `the ledger says so of ${told}`}`,
  );
}

function sealedExecutions({ ledger }: RunRecord): ReadonlySet<string> {
  return new Set(readableEntries(ledger.seals ?? []).map(({ entry }) => String(entry.facts["temporalRunId"])));
}

function lossProblems(record: RunRecord, entry: LedgerEntry, index: number): readonly string[] {
  const { run, team } = { run: record.run.id, team: record.run.team };
  if (entry.kind !== "history.lost" || entry.log !== team || entry.facts["run"] !== run)
    return [`entry ${index} tells of no loss of this run's`];
  const named = record.histories[Number(entry.facts["position"])];
  if (named !== undefined && named.temporalRunId === entry.facts["temporalRunId"] && named.history === null) return [];
  return [`entry ${index}: execution ${String(entry.facts["position"])} was lost, and is in the record otherwise`];
}
