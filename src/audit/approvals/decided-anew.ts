import { parseStatement } from "../../approvals/offline.ts";
import type { LedgerEntry } from "../../core/ledger-event.ts";
import type { ApprovalRecord } from "../../core/run-record.ts";
import { happenedBefore } from "../ledger/happened-before.ts";
import type { Placed } from "../ledger/happened-before.ts";

type Decided = ApprovalRecord["decisions"][number];

/** The decisions that may count: of each reviewer's the last one. Those before it fell with their keys. */
export function lastDecisions({ decisions }: ApprovalRecord): readonly Decided[] {
  return decisions.filter(
    (one, place) => decisions.findLastIndex(({ reviewer }) => reviewer === one.reviewer) === place,
  );
}

/** Each decision that was followed by another one of the same reviewer, with that one. */
function pairsOf({ decisions }: ApprovalRecord): readonly { readonly fallen: Decided; readonly anew: Decided }[] {
  return decisions.flatMap((fallen, place) => {
    const anew = decisions.slice(place + 1).find(({ reviewer }) => reviewer === fallen.reviewer);
    return anew === undefined ? [] : [{ fallen, anew }];
  });
}

/** Nobody decides twice but after an approval, in words of their own (another nonce) and with another key. */
export function decidedAnewProblems(request: ApprovalRecord): readonly string[] {
  return pairsOf(request).flatMap(({ fallen, anew }) => {
    const says = (what: string): string =>
      `step ${request.seq}: ${anew.reviewer} decided on \`${request.id}\` twice: ${what}`;
    return [
      ...(fallen.decision === "approve" ? [] : [says("a denial is the last word")]),
      ...(fallen.keyId === anew.keyId ? [says("with one key")] : []),
      ...(nonceOf(fallen) === nonceOf(anew) ? [says("with one statement")] : []),
    ];
  });
}

/**
 * The same by the log of people: the key of the first must have been revoked before the second was taken. `revoked`: entries that revoke a
 * key; `entryOf`: a decision's own, of which the join says that it is there. Texts begin with the reviewer.
 */
export function unfallenProblems(
  request: ApprovalRecord,
  revoked: (keyId: string) => readonly Placed[],
  entryOf: (decided: Decided) => LedgerEntry | undefined,
): readonly { readonly reviewer: string; readonly problem: string }[] {
  return pairsOf(request).flatMap(({ fallen, anew }) => {
    const entry = entryOf(anew);
    if (entry === undefined || revoked(fallen.keyId).some((one) => happenedBefore(one, entry))) return [];
    const problem = `decided on \`${request.id}\` again, while the key of the first decision was not revoked`;
    return [{ reviewer: anew.reviewer, problem }];
  });
}

/** A decision's entry in the run's log: of one key, where somebody decided anew. */
export function decidedEntry(
  entries: readonly LedgerEntry[],
  { id }: Pick<ApprovalRecord, "id">,
  { decision, reviewer, keyId }: Decided,
): LedgerEntry | undefined {
  const kind = decision === "approve" ? "approval.approved" : "approval.denied";
  const own = entries.filter(
    (entry) => entry.kind === kind && entry.facts["approval"] === id && entry.facts["reviewer"] === reviewer,
  );
  return own.find(({ facts }) => facts["keyId"] === keyId) ?? own[0];
}

function nonceOf({ statement }: Decided): string {
  try {
    return parseStatement(statement).nonce;
  } catch {
    // What is no statement is told so where signatures are checked.
    return statement;
  }
}
