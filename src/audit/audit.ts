import type { RunRecord } from "../core/run-record.ts";
import { checkApprovals } from "./approvals/approvals.ts";
import { checkContents } from "./contents.ts";
import { checkCosts } from "./costs.ts";
import { checkDelegations } from "./approvals/delegated.ts";
import { checkHistory } from "./replay/history.ts";
import { checkKeys } from "./approvals/keys.ts";
import { checkLedger } from "./ledger/ledger.ts";
import { erasureOf } from "./erasure.ts";
import { checkPoliciesInForce } from "./ledger/policies-in-force.ts";
import { checkDecisions } from "./decisions/redecide.ts";
import { createReplayers } from "./replay/replayers.ts";
import type { Replayers } from "./replay/replayers.ts";
import { reportOf } from "./report.ts";
import type { AuditReport } from "./report.ts";

/**
 * Replays a run: its code on its history, its decisions on their policy set, its approvals' signatures, its costs. `replayers`: those of
 * an audit of many runs; without them, one is made and closed.
 */
export async function replayRun(
  record: RunRecord,
  bundleCode: string | undefined,
  replayers?: Replayers,
): Promise<AuditReport> {
  const own = replayers ?? createReplayers();
  try {
    return reportOf([
      checkContents(record),
      await checkHistory(record, bundleCode, own),
      checkDecisions(record),
      checkPoliciesInForce(record),
      checkApprovals(record, erasureOf(record) === undefined),
      checkDelegations(record),
      checkCosts(record),
    ]);
  } finally {
    if (replayers === undefined) await own.close();
  }
}

/** Verifies a run's evidence in the ledger, with keys that the auditor brings: the log's, and those of witnesses whom they believe. */
export function verifyRun(record: RunRecord, verifierKey: string, witnesses: readonly string[] = []): AuditReport {
  return reportOf([
    checkContents(record),
    ...checkLedger(record, verifierKey, witnesses),
    checkApprovals(record, erasureOf(record) === undefined),
    checkKeys(record, verifierKey),
  ]);
}
