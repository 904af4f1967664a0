import type { StepKind } from "../../core/action.ts";
import type { HistoryFact } from "../../core/decision.ts";
import { CodedError } from "../../core/errors.ts";
import { isObject } from "../../core/json.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import type { ToolDefinition } from "../../core/release.ts";

/** A fact has no value that a policy could go by: the step is denied as `undecidable`. Messages name facts and tools, no contents. */
export class HistoryError extends CodedError<"history_uncountable"> {}

/** A step as its run's record has it, from its intent on. */
export type CountedStep = {
  readonly kind: StepKind;
  readonly name: string;
  /** Those that it was made with. */
  readonly arguments: JsonObject;
  /** Of the decision that allowed it. */
  readonly at: Date;
};

/**
 * The facts of one run alone (`per: run`), worked out from its record: an auditor has to find what the gate found. `before`: the steps
 * whose intents were recorded before the decision at `now`; `actionsOf`: a call's Cedar action and its groups, in the run's release, whose
 * tools are `tools`. Throws `history_uncountable` where the gate does.
 */
export function countRunHistory(
  facts: readonly HistoryFact[],
  before: readonly CountedStep[],
  now: Date,
  tools: readonly Pick<ToolDefinition, "name" | "parameters">[],
  actionsOf: (step: CountedStep) => readonly string[],
): Readonly<Record<string, number>> {
  const own = facts.filter(({ per }) => per === "run");
  return Object.fromEntries(
    own.map((fact) => {
      const steps = before.filter((step) => {
        const recent = fact.withinMs === undefined || step.at >= windowStart(now, fact.withinMs);
        return recent && actionsOf(step).some((action) => fact.actions.includes(action));
      });
      return [fact.name, steps.reduce((total, step) => plus(total, addedBy(fact, step, tools), fact.name), 0)];
    }),
  );
}

function addedBy(
  { name, argument }: HistoryFact,
  step: CountedStep,
  tools: readonly Pick<ToolDefinition, "name" | "parameters">[],
): number {
  if (argument === undefined) return 1;
  return summand(step.arguments, argument, tools.find((tool) => tool.name === step.name)?.parameters ?? {}, name);
}

/** A step on the very edge of its window counts. */
export function windowStart(now: Date, withinMs: number): Date {
  return new Date(now.getTime() - withinMs);
}

/**
 * What a call adds to the sum `fact`: the argument's value, or the default that `parameters` (the tool's JSON Schema) give it. Text and
 * nothing add nothing, and neither does a negative number: it would make room for others. Throws where the number is no integer.
 */
export function summand(args: JsonObject, argument: string, parameters: JsonObject, fact: string): number {
  const value = Object.hasOwn(args, argument) ? args[argument] : defaultOf(argument, parameters, fact);
  if (typeof value !== "number") return 0;
  if (!Number.isSafeInteger(value))
    throw uncountable(`an earlier \`${argument}\` in the sum ${fact} is not an integer`);
  return Math.max(value, 0);
}

/** The default as it stands in the schema; where it may stand behind a reference, a zero could be wrong. */
function defaultOf(argument: string, parameters: JsonObject, fact: string): Json | undefined {
  const { properties } = parameters;
  const property = isObject(properties) && Object.hasOwn(properties, argument) ? properties[argument] : undefined;
  if (isObject(property) && "default" in property) return property["default"];
  if ([parameters, property].some((schema) => isObject(schema) && ("$ref" in schema || "allOf" in schema)))
    throw uncountable(`the default of \`${argument}\` in the sum ${fact} is behind a reference`);
  return undefined;
}

/** A total past what a number holds exactly is an error, not a rounded one. */
export function plus(total: number, value: number, fact: string): number {
  const sum = total + value;
  if (!Number.isSafeInteger(sum)) throw uncountable(`the sum ${fact} is past 2^53 - 1`);
  return sum;
}

export function uncountable(message: string, hint?: string): HistoryError {
  return new HistoryError("history_uncountable", message, hint === undefined ? {} : { hint });
}
