import type { Obligation } from "../core/decision.ts";
import type { Json, JsonObject } from "../core/json.ts";

/** What stands in the place of a text that a policy redacts. */
export const redacted = "[redacted]";

/**
 * The arguments with which a call may happen: `args` itself where nothing has to change. Undefined where an obligation cannot be met: an
 * argument that is neither text (or a list of texts) to redact, nor a number to cap, and one that the tool does not have. An argument
 * that the tool has and the call has not is neither redacted nor capped; whether its default is below a cap, the engine sees.
 */
export function meetObligations(
  args: JsonObject,
  obligations: readonly Obligation[],
  declared: ReadonlyMap<string, unknown>,
): JsonObject | undefined {
  let met = args;
  for (const obligation of obligations) {
    if (obligation.kind === "shadow") continue;
    const { argument } = obligation;
    if (!declared.has(argument)) return undefined;
    const value: Json | undefined = Object.hasOwn(met, argument) ? met[argument] : undefined;
    if (value === undefined || value === null) continue;
    const changed = obligation.kind === "redact" ? redactedValue(value) : cappedValue(value, obligation.max);
    if (changed === undefined) return undefined;
    if (changed !== value) met = Object.fromEntries([...Object.entries(met), [argument, changed]]);
  }
  return met;
}

function redactedValue(value: Json): Json | undefined {
  if (typeof value === "string") return redacted;
  return Array.isArray(value) && value.every((element) => typeof element === "string")
    ? value.map(() => redacted)
    : undefined;
}

function cappedValue(value: Json, max: number): Json | undefined {
  return typeof value === "number" ? Math.min(value, max) : undefined;
}

/** In the order in which they are recorded. */
export function sortedObligations(obligations: readonly Obligation[]): readonly Obligation[] {
  return obligations.toSorted((a, b) => (obligationText(a) < obligationText(b) ? -1 : 1));
}

/** `cap amount_cents 5000 refund/cap`: kind, argument, bound, policy. */
export function obligationText(obligation: Obligation): string {
  const { kind, policy } = obligation;
  if (kind === "shadow") return `${kind} ${policy}`;
  return kind === "cap"
    ? `${kind} ${obligation.argument} ${obligation.max} ${policy}`
    : `${kind} ${obligation.argument} ${policy}`;
}
