import type { Amounts } from "../../core/budget.ts";
import { costOf, noUsage } from "../../core/money.ts";
import type { TokenPrice, TokenUsage } from "../../core/money.ts";

/** What attempts of a step took, as budgets are charged with it. */
export type Charge = {
  /** With what is assumed. */
  readonly costMicroUsd: number;
  /** As the provider counted it. */
  readonly usage: TokenUsage;
  /** Where nobody knows what an attempt took: all that was held for it. `tokens` are in none of `usage`. */
  readonly assumed: Pick<Amounts, "microUsd" | "tokens">;
};

export const noCharge: Charge = { costMicroUsd: 0, usage: noUsage, assumed: { microUsd: 0, tokens: 0 } };

/** Of `attempts` that may have been paid for, and of which nothing is known. */
export function assumedFor(hold: Charge["assumed"], attempts = 1): Charge {
  const [microUsd, tokens] = [hold.microUsd * attempts, hold.tokens * attempts];
  return { costMicroUsd: microUsd, usage: noUsage, assumed: { microUsd, tokens } };
}

/** Of one attempt. What is not counted, or cannot be priced, takes the whole hold. */
export function chargeOf(
  usage: TokenUsage | undefined,
  price: TokenPrice | undefined,
  hold: Charge["assumed"],
): Charge {
  if (usage === undefined) return assumedFor(hold);
  const isNothing = tokensOf({ ...noCharge, usage }) === 0;
  if (price === undefined && !isNothing)
    return { costMicroUsd: hold.microUsd, usage, assumed: { microUsd: hold.microUsd, tokens: 0 } };
  return { ...noCharge, costMicroUsd: price === undefined ? 0 : costOf(usage, price), usage };
}

export function plusCharge(a: Charge, b: Charge): Charge {
  return {
    costMicroUsd: a.costMicroUsd + b.costMicroUsd,
    usage: {
      input: a.usage.input + b.usage.input,
      cachedInput: a.usage.cachedInput + b.usage.cachedInput,
      output: a.usage.output + b.usage.output,
      reasoning: a.usage.reasoning + b.usage.reasoning,
    },
    assumed: {
      microUsd: a.assumed.microUsd + b.assumed.microUsd,
      tokens: a.assumed.tokens + b.assumed.tokens,
    },
  };
}

/** What budgets of tokens are charged with. */
export function tokensOf({ usage, assumed }: Charge): number {
  return usage.input + usage.output + assumed.tokens;
}

/** As the ledger has it. */
export function chargeFacts({ costMicroUsd, usage, assumed }: Charge): Readonly<Record<string, number>> {
  return {
    costMicroUsd,
    ...(assumed.microUsd === 0 ? {} : { assumedMicroUsd: assumed.microUsd }),
    ...(assumed.tokens === 0 ? {} : { assumedTokens: assumed.tokens }),
    ...(usage.input + usage.output === 0
      ? {}
      : {
          inputTokens: usage.input,
          cachedInputTokens: usage.cachedInput,
          outputTokens: usage.output,
          reasoningTokens: usage.reasoning,
        }),
  };
}

/** SQL of a row of `step` as a charge in JSON. */
export const chargeSql = `json_build_object('costMicroUsd', step.cost_micro_usd,
  'usage', json_build_object('input', step.input_tokens, 'cachedInput', step.cached_input_tokens, 'output', step.output_tokens,
    'reasoning', step.reasoning_tokens),
  'assumed', json_build_object('microUsd', step.assumed_micro_usd, 'tokens', step.assumed_tokens))`;
