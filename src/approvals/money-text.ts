import type { Json } from "../core/json.ts";

/** ISO 4217 currencies whose smallest unit is not a hundredth. */
const digitsOf: Readonly<Record<string, number>> = {
  BHD: 3,
  BIF: 0,
  CLP: 0,
  DJF: 0,
  GNF: 0,
  IQD: 3,
  ISK: 0,
  JOD: 3,
  JPY: 0,
  KMF: 0,
  KRW: 0,
  KWD: 3,
  LYD: 3,
  OMR: 3,
  PYG: 0,
  RWF: 0,
  TND: 3,
  UGX: 0,
  UYI: 0,
  VND: 0,
  VUV: 0,
  XAF: 0,
  XOF: 0,
  XPF: 0,
};

/** `123456`, `"EUR"`: `1,234.56 EUR`. Without a currency the amount alone, in hundredths: the currency is the tool's to know. */
export function minorUnits(amount: number, currency: Json | undefined): string {
  const code = typeof currency === "string" && /^[A-Z]{3}$/.test(currency) ? currency : undefined;
  const digits = (code === undefined ? undefined : digitsOf[code]) ?? 2;
  const text = Math.abs(amount)
    .toString()
    .padStart(digits + 1, "0");
  const whole = text.slice(0, text.length - digits).replace(/\B(?=(\d{3})+$)/g, ",");
  const fraction = digits === 0 ? "" : `.${text.slice(text.length - digits)}`;
  return `${amount < 0 ? "-" : ""}${whole}${fraction}${code === undefined ? "" : ` ${code}`}`;
}
