import { calcPrice, findProvider } from "@pydantic/genai-prices";
import type { ConditionalPrice, ModelPrice } from "@pydantic/genai-prices";
import { z } from "zod";

import { CodedError } from "../core/errors.ts";
import type { TokenPrice } from "../core/money.ts";

export class PriceError extends CodedError<"prices_invalid"> {}

/** An operator's own prices, by the model's exact name. */
export type PriceOverrides = Readonly<Record<string, TokenPrice>>;

export type PriceOptions = {
  /** They come before the table: contracts, self-hosted models, models that are too new. */
  readonly overrides?: PriceOverrides;
  /** The model server's address: where the table knows it, its prices for the name count, not the model maker's. */
  readonly baseUrl?: string;
  /** Prices change: those in force then. Defaults to now. */
  readonly at?: Date;
};

/**
 * What `scripted/…` models are said to cost: 1 USD per million input tokens (a tenth of that where cached), 4 USD per million output
 * tokens. Nobody is paid: it makes a scripted run use up its budget as a real one does.
 */
export const scriptedPrice: TokenPrice = {
  inputPerMillion: 1_000_000,
  cachedInputPerMillion: 100_000,
  outputPerMillion: 4_000_000,
};

const overridesSchema = z.record(
  z.string().min(1),
  z
    .strictObject({
      inputPerMillion: z.int().nonnegative(),
      cachedInputPerMillion: z.int().nonnegative().optional(),
      outputPerMillion: z.int().nonnegative(),
    })
    .transform((price) => ({ ...price, cachedInputPerMillion: price.cachedInputPerMillion ?? price.inputPerMillion })),
);

/**
 * Checks an operator's price file, already parsed: `{ "MODEL": { "inputPerMillion": 2500000, "outputPerMillion": 10000000 } }`, in
 * whole micro-USD for a million tokens; `cachedInputPerMillion` defaults to the input price. Throws `prices_invalid`.
 */
export function parsePriceOverrides(value: unknown, fileName: string): PriceOverrides {
  const parsed = overridesSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(
    (issue) => `${issue.path.map(String).join(".") || "file"}: ${issue.message.toLowerCase()}`,
  );
  throw new PriceError("prices_invalid", `${fileName}: ${problems.join("; ")}`, {
    hint: "prices are whole micro-USD for a million tokens: 2.50 USD is 2500000",
  });
}

/**
 * The model's price in whole micro-USD for a million tokens, rounded up; undefined where none is known, or where the price has parts
 * that tokens alone do not determine (a fee per request). Where it depends on the prompt's length or on the time of day, the highest.
 */
export function priceOf(model: string, options: PriceOptions = {}): TokenPrice | undefined {
  if (options.overrides !== undefined && Object.hasOwn(options.overrides, model)) return options.overrides[model];
  if (model.startsWith("scripted/")) return scriptedPrice;
  const prices = tablePrices(model, options);
  return prices === undefined ? undefined : highest(prices.map(tokenPriceOf));
}

function tablePrices(model: string, options: PriceOptions): readonly ModelPrice[] | undefined {
  const timestamp = options.at ?? new Date();
  // An address that the table does not know, such as a proxy's, says nothing about whose model it is.
  const provider = options.baseUrl === undefined ? undefined : findProvider({ providerApiUrl: options.baseUrl });
  const found = calcPrice({ input_tokens: 0, output_tokens: 0 }, model, {
    timestamp,
    ...(provider === undefined ? {} : { provider }),
  });
  if (found === null) return undefined;
  return [found.model_price, ...atOtherTimesOfDay(found.model.prices)];
}

function atOtherTimesOfDay(prices: readonly ConditionalPrice[] | ModelPrice): readonly ModelPrice[] {
  if (!isConditional(prices) || !prices.some((price) => price.constraint?.type === "time_of_date")) return [];
  return prices.filter((price) => price.constraint?.type !== "start_date").map((price) => price.prices);
}

function isConditional(prices: readonly ConditionalPrice[] | ModelPrice): prices is readonly ConditionalPrice[] {
  return Array.isArray(prices);
}

/** Fees that a text answer cannot avoid and that the number of tokens does not tell. */
const feesPerCall = ["requests_kcount", "input_text_messages_kcount"];

function tokenPriceOf(price: ModelPrice): TokenPrice | undefined {
  if (feesPerCall.some((fee) => price[fee] !== undefined)) return undefined;
  const input = perMillion(price["input_mtok"]);
  const output = perMillion(price["output_mtok"]);
  if (input === undefined || output === undefined) return undefined;
  return {
    inputPerMillion: input,
    cachedInputPerMillion: perMillion(price["cache_read_mtok"]) ?? input,
    outputPerMillion: Math.max(output, perMillion(price["output_reasoning_mtok"]) ?? 0),
  };
}

function perMillion(price: ModelPrice[string]): number | undefined {
  if (price === undefined) return undefined;
  const dollars = typeof price === "number" ? price : Math.max(price.base, ...price.tiers.map((tier) => tier.price));
  return microUsdOf(dollars);
}

/** Rounded up. What binary fractions add (16.1 × 10⁶ is 16100000.000000002) is not a price: less than a thousandth does not count. */
export function microUsdOf(dollars: number): number {
  return Math.ceil(Number((dollars * 1_000_000).toFixed(3)));
}

function highest(prices: readonly (TokenPrice | undefined)[]): TokenPrice | undefined {
  const known = prices.filter((price) => price !== undefined);
  if (known.length === 0 || known.length < prices.length) return undefined;
  return {
    inputPerMillion: Math.max(...known.map((price) => price.inputPerMillion)),
    cachedInputPerMillion: Math.max(...known.map((price) => price.cachedInputPerMillion)),
    outputPerMillion: Math.max(...known.map((price) => price.outputPerMillion)),
  };
}
