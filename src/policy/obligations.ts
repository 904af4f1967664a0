import type { Obligation } from "../core/decision.ts";
import type { Json, JsonObject } from "../core/json.ts";
import type { ArgumentType, Attribute } from "./argument-types.ts";
import type { PolicyProblem } from "./errors.ts";
import type { ReadPolicy } from "./policy.ts";
import { actionOfTool, groupsOfTool, inputOf, modelAction, responseAction } from "./schema.ts";
import type { PolicyTool } from "./schema.ts";
import { coversAction } from "./scope.ts";

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
    if (obligation.kind === "shadow" || obligation.kind === "cosigned") continue;
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

/** In the order in which they are recorded: by kind, argument and policy, none of which has a space. */
export function sortedObligations(obligations: readonly Obligation[]): readonly Obligation[] {
  const placeOf = (one: Obligation): string => [one.kind, "argument" in one ? one.argument : "", one.policy].join(" ");
  return obligations.toSorted((a, b) => (placeOf(a) < placeOf(b) ? -1 : 1));
}

/** `cap amount_cents 5000 refund/cap`: kind, argument, bound, policy. `cosigned 2 900000 refund/large`: witnesses, milliseconds. */
export function obligationText(obligation: Obligation): string {
  const { kind, policy } = obligation;
  switch (kind) {
    case "shadow":
      return `${kind} ${policy}`;
    case "cosigned":
      return `${kind} ${obligation.witnesses} ${obligation.withinMs} ${policy}`;
    case "cap":
      return `${kind} ${obligation.argument} ${obligation.max} ${policy}`;
    case "redact":
      return `${kind} ${obligation.argument} ${policy}`;
  }
}

/** Warnings of obligations that calls they cover cannot meet: those calls are denied as soon as the policy fires. */
export function obligationProblems(policies: Iterable<ReadPolicy>, tools: readonly PolicyTool[]): PolicyProblem[] {
  return [...policies].flatMap(({ id, scope, obligation, mentions }) => {
    if (obligation === undefined) return [];
    const covered = tools.filter((tool) => coversAction(scope.action, actionOfTool(tool), groupsOfTool(tool)));
    const unable = covered.filter((tool) => !canMeet(obligation, inputOf(tool))).map(({ name }) => name);
    const calls = [
      ...(unable.length === 0 ? [] : [`calls of ${unable.join(", ")}`]),
      ...(coversAction(scope.action, modelAction, []) ? ["model calls"] : []),
      ...(mentions.includes(responseAction) && coversAction(scope.action, responseAction, []) ? ["answers"] : []),
    ];
    if (calls.length === 0) return [];
    const what =
      "argument" in obligation
        ? `${obligation.kind === "cap" ? "number" : "text"} \`${obligation.argument}\``
        : "tool call";
    const verb = obligation.kind === "cosigned" ? "hold back" : obligation.kind;
    const none = unable.length === covered.length ? "no tool that it covers has" : "not every call that it covers has";
    // Of a model's conversation and its answer nothing is changed: what was shown and said is what is recorded.
    const message =
      covered.length === 0
        ? `${calls.join(" and ")} cannot meet an obligation (${verb}), and are denied where it fires: forbid without @decision, or ask for approval`
        : `${none} a ${what} to ${verb}: ${calls.join(" and ")} are denied where it fires`;
    return [{ severity: "warning", policy: id, line: 1, message }];
  });
}

function canMeet(obligation: Obligation, input: ReadonlyMap<string, Attribute>): boolean {
  if (!("argument" in obligation)) return true;
  const type = input.get(obligation.argument)?.type;
  return type !== undefined && (obligation.kind === "cap" ? isNumber(type) : isText(type));
}

function isNumber({ kind }: ArgumentType): boolean {
  return kind === "long" || kind === "decimal";
}

function isText(type: ArgumentType): boolean {
  return type.kind === "string" || (type.kind === "set" && type.element.kind === "string");
}
