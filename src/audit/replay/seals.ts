import type { LedgerEntry } from "../../core/ledger-event.ts";
import type { RunRecord } from "../../core/run-record.ts";
import { historyRoot, scanEntry } from "../../ledger/proof/index.ts";
import type { Checkpoint } from "../../ledger/proof/index.ts";
import { eventsOf, executionHasEnded } from "./history-events.ts";
import { isCovered } from "../ledger/entry-proof.ts";
import { check, notChecked } from "../report.ts";
import type { AuditCheck } from "../report.ts";

/**
 * Every execution that has ended is sealed in the ledger with the root of the very history that the record has. Without a `checkpoint`,
 * the entries' places in the log are proved elsewhere.
 */
export function checkSeals(record: RunRecord, checkpoint: Checkpoint | string | undefined): AuditCheck {
  const ended = record.histories.filter(({ history }) => executionHasEnded(history));
  const problems: string[] = [];
  const sealed = new Map<string, LedgerEntry>();
  let uncovered = 0;
  for (const sealing of record.ledger.seals ?? []) {
    const { index, leaf } = sealing;
    try {
      const entry = scanEntry(Buffer.from(leaf, "utf8"));
      if (entry.kind !== "history.sealed" || entry.log !== record.run.team || entry.facts["run"] !== record.run.id) {
        problems.push(`entry ${index} seals nothing of this run`);
        continue;
      }
      const temporalRunId = String(entry.facts["temporalRunId"]);
      const before = sealed.get(temporalRunId);
      if (
        before !== undefined &&
        ["position", "events", "root"].some((fact) => before.facts[fact] !== entry.facts[fact])
      )
        problems.push(`execution \`${temporalRunId}\` is sealed twice, and not as the same`);
      else sealed.set(temporalRunId, entry);
      if (checkpoint === undefined) continue;
      if (!isCovered(sealing, checkpoint)) uncovered += 1;
    } catch (error) {
      problems.push(`entry ${index}: ${error instanceof Error ? error.message : "malformed"}`);
    }
  }
  let unsealed = 0;
  for (const [position, { temporalRunId, history }] of record.histories.entries()) {
    const entry = sealed.get(temporalRunId);
    sealed.delete(temporalRunId);
    if (entry === undefined) unsealed += executionHasEnded(history) ? 1 : 0;
    else problems.push(...differences(position, entry, history));
  }
  for (const temporalRunId of sealed.keys())
    problems.push(`execution \`${temporalRunId}\` is sealed, and not in the record`);
  if (problems.length > 0) return check("seals", "", problems);
  const missing = record.run.closedAt !== null && record.run.workflowBundle !== null && record.histories.length === 0;
  if (missing) return notChecked("seals", "the record has no history to compare with");
  if (unsealed > 0) return notChecked("seals", `${unsealed} histories have ended, and are not sealed in the ledger`);
  if (uncovered > 0) return notChecked("seals", `${uncovered} seals are newer than the checkpoint`);
  return check(
    "seals",
    ended.length === 0 ? "no execution has ended yet" : `${ended.length} histories have their sealed root`,
    [],
  );
}

function differences(
  position: number,
  { facts }: LedgerEntry,
  history: RunRecord["histories"][number]["history"],
): readonly string[] {
  const events = eventsOf(history);
  const root = attempt(() => historyRoot(events));
  return [
    ...(facts["position"] === position
      ? []
      : [`execution ${position} is sealed as number ${String(facts["position"])}`]),
    ...(facts["events"] === events.length
      ? []
      : [`execution ${position} has ${events.length} events, ${String(facts["events"])} were sealed`]),
    ...(facts["root"] === root ? [] : [`execution ${position}: its history is not the one that was sealed`]),
  ];
}

/** Whoever serves a history is not trusted: one that has no canonical form has no root either. */
function attempt(work: () => string): string | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}
