import type { LedgerEntry } from "../../core/ledger-event.ts";
import type { TokenUsage } from "../../core/money.ts";
import type { RunRecord } from "../../core/run-record.ts";
import { readableEntries } from "../ledger/readable-entries.ts";

type Excerpt = Pick<RunRecord, "ledger">;

/** Tokens of a record's model steps by `seq`: only its ledger entries tell them. A step that is not in the ledger yet is not here. */
export function tokensBySeq(record: Excerpt): ReadonlyMap<number, TokenUsage> {
  return new Map(
    resultsIn(record).flatMap((facts) => {
      if (!("inputTokens" in facts)) return [];
      const usage = {
        input: wholeIn(facts, "inputTokens"),
        cachedInput: wholeIn(facts, "cachedInputTokens"),
        output: wholeIn(facts, "outputTokens"),
        reasoning: wholeIn(facts, "reasoningTokens"),
      };
      return [[wholeIn(facts, "seq"), usage] as const];
    }),
  );
}

/** What they were charged with: also tokens that nobody counted. */
export function spentTokensBySeq(record: Excerpt): ReadonlyMap<number, number> {
  const spent = ["inputTokens", "outputTokens", "assumedTokens"];
  return new Map(
    resultsIn(record).map((facts) => [
      wholeIn(facts, "seq"),
      spent.reduce((sum, name) => sum + wholeIn(facts, name), 0),
    ]),
  );
}

/** An entry that is no canonical one is nobody's usage: the audit of the run says what is wrong with it. */
function resultsIn({ ledger }: Excerpt): readonly LedgerEntry["facts"][] {
  return readableEntries(ledger.entries).flatMap(({ entry }) => (entry.kind === "step.result" ? [entry.facts] : []));
}

function wholeIn(facts: LedgerEntry["facts"], name: string): number {
  const fact = facts[name];
  return typeof fact === "number" ? fact : 0;
}
