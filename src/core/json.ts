/** A JSON value as RFC 8259 knows it. Numbers must be finite; RFC 8785 refuses the others. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = { readonly [key: string]: Json };

/** A JSON Schema document (2020-12 subset that tool parameters and final outputs use). */
export type JsonSchema = JsonObject;

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
