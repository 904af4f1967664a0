import type { TokenUsage } from "../../core/money.ts";
import type { RunRecord } from "../../core/run-record.ts";

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

type Facts = Readonly<Record<string, unknown>>;

function resultsIn({ ledger }: Excerpt): readonly Facts[] {
  return ledger.entries.flatMap(({ leaf }) => {
    const { kind, facts = {} } = entryIn(leaf);
    return kind === "step.result" ? [facts] : [];
  });
}

function wholeIn(facts: Facts, name: string): number {
  return Number.isSafeInteger(facts[name]) ? Number(facts[name]) : 0;
}

function entryIn(leaf: string): { readonly kind?: string; readonly facts?: Readonly<Record<string, unknown>> } {
  try {
    return JSON.parse(leaf) as { kind?: string; facts?: Record<string, unknown> };
  } catch {
    return {};
  }
}
