import type { TokenUsage } from "../../core/money.ts";
import type { RunRecord } from "../../core/run-record.ts";

export const noTokens: TokenUsage = { input: 0, cachedInput: 0, output: 0, reasoning: 0 };

/** Tokens of a record's model steps by `seq`: only its ledger entries tell them. A step that is not in the ledger yet is not here. */
export function tokensBySeq({ ledger }: Pick<RunRecord, "ledger">): ReadonlyMap<number, TokenUsage> {
  return new Map(
    ledger.entries.flatMap(({ leaf }) => {
      const { kind, facts = {} } = entryIn(leaf);
      const of = (name: string): number => (Number.isSafeInteger(facts[name]) ? Number(facts[name]) : 0);
      if (kind !== "step.result" || !("inputTokens" in facts)) return [];
      const usage = {
        input: of("inputTokens"),
        cachedInput: of("cachedInputTokens"),
        output: of("outputTokens"),
        reasoning: of("reasoningTokens"),
      };
      return [[of("seq"), usage] as const];
    }),
  );
}

function entryIn(leaf: string): { readonly kind?: string; readonly facts?: Readonly<Record<string, unknown>> } {
  try {
    return JSON.parse(leaf) as { kind?: string; facts?: Record<string, unknown> };
  } catch {
    return {};
  }
}
