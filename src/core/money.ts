/** One US dollar, in the unit that all amounts are kept in. */
export const microUsdPerUsd = 1_000_000;

/**
 * Tokens of one model call, as the OpenTelemetry GenAI conventions count them: `cached ⊂ input`, `reasoning ⊂ output`.
 */
export type TokenUsage = {
  readonly input: number;
  readonly cachedInput: number;
  readonly output: number;
  readonly reasoning: number;
};

/** What a call took that was never sent, or was refused before a token was read. */
export const noUsage: TokenUsage = { input: 0, cachedInput: 0, output: 0, reasoning: 0 };

/** Micro-USD for a million tokens, which is the same number as pico-USD… per token times 10⁶: integers all the way. */
export type TokenPrice = {
  readonly inputPerMillion: number;
  readonly cachedInputPerMillion: number;
  readonly outputPerMillion: number;
};

/** Cost of a call in whole micro-USD, rounded up: a call is never recorded as cheaper than it was. */
export function costOf(usage: TokenUsage, price: TokenPrice): number {
  const uncached = usage.input - usage.cachedInput;
  const total =
    BigInt(uncached) * BigInt(price.inputPerMillion) +
    BigInt(usage.cachedInput) * BigInt(price.cachedInputPerMillion) +
    BigInt(usage.output) * BigInt(price.outputPerMillion);
  return Number((total + 999_999n) / 1_000_000n);
}

/** The most a call can cost, for a reservation: every input token uncached, every output token used. */
export function ceilingOf(inputTokens: number, maxOutputTokens: number, price: TokenPrice): number {
  return costOf({ input: inputTokens, cachedInput: 0, output: maxOutputTokens, reasoning: 0 }, price);
}

/** `1234567` as `$1.234567`, without trailing zeros past the cents. */
export function formatUsd(microUsd: number): string {
  const sign = microUsd < 0 ? "-" : "";
  const whole = Math.floor(Math.abs(microUsd) / microUsdPerUsd);
  const fraction = (Math.abs(microUsd) % microUsdPerUsd)
    .toString()
    .padStart(6, "0")
    .replace(/0{1,4}$/, "");
  return `${sign}$${whole}.${fraction}`;
}
