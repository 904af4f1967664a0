import type { Obligation } from "../core/decision.ts";
import type { Json, JsonObject } from "../core/json.ts";
import type { ArgumentType, Attribute } from "./argument-types.ts";
import { redacted } from "./data-classes.ts";
import type { PolicyProblem } from "./errors.ts";
import type { ReadPolicy } from "./policy.ts";
import { actionOfTool, groupsOfTool, inputOf, modelAction, responseAction } from "./schema.ts";
import type { PolicyTool } from "./schema.ts";
import { coversAction } from "./scope.ts";

/** Of a model call, all that an obligation can change. */
export const modelInput: ReadonlyMap<string, Attribute> = new Map([
  ["maxOutputTokens", { type: { kind: "long" }, required: true }],
]);

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
    // What is found is redacted in answers; of an argument, all of it is.
    if (!("argument" in obligation)) return undefined;
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

/** In the order in which they are recorded: by kind, argument or classes, and policy, none of which has a space. */
export function sortedObligations(obligations: readonly Obligation[]): readonly Obligation[] {
  const ofWhat = (one: Obligation): string =>
    "argument" in one ? one.argument : "dataClasses" in one ? one.dataClasses.join(",") : "";
  const placeOf = (one: Obligation): string => [one.kind, ofWhat(one), one.policy].join(" ");
  return obligations.toSorted((a, b) => (placeOf(a) < placeOf(b) ? -1 : 1));
}

/** `cap amount_cents 5000 refund/cap`: kind, argument, bound, policy. `redact card,iban answer/cards`: classes. `cosigned 2 900000 refund/large`: witnesses, milliseconds. */
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
      return `${kind} ${"argument" in obligation ? obligation.argument : obligation.dataClasses.join(",")} ${policy}`;
  }
}

/** Warnings of obligations that calls and answers they cover cannot meet: those are denied as soon as the policy fires. */
export function obligationProblems(policies: Iterable<ReadPolicy>, tools: readonly PolicyTool[]): PolicyProblem[] {
  return [...policies].flatMap(({ id, scope, obligation, mentions }) => {
    if (obligation === undefined) return [];
    const covered = tools.filter((tool) => coversAction(scope.action, actionOfTool(tool), groupsOfTool(tool)));
    const coversModel = coversAction(scope.action, modelAction, []);
    const coversAnswer = mentions.includes(responseAction) && coversAction(scope.action, responseAction, []);
    const unable = covered.filter((tool) => !canMeet(obligation, inputOf(tool))).map(({ name }) => name);
    const denied = [
      ...(unable.length === 0 ? [] : [`calls of ${unable.join(", ")}`]),
      ...(coversModel && !modelCanMeet(obligation) ? ["model calls"] : []),
      ...(coversAnswer && !answerCanMeet(obligation) ? ["answers"] : []),
    ];
    if (denied.length === 0) return [];
    const isNone = unable.length === covered.length;
    const message = `${wantText(obligation, isNone, covered.length > 0)}: ${denied.join(" and ")} are denied where it fires${hintOf(obligation, denied)}`;
    return [{ severity: "warning", policy: id, line: 1, column: 1, message }];
  });
}

/** What the obligation is about, and who has none of it. */
function wantText(obligation: Obligation, isNone: boolean, coversTools: boolean): string {
  const verb = obligation.kind === "cosigned" ? "hold back" : obligation.kind;
  const who = !coversTools
    ? "nothing that it covers has"
    : isNone
      ? "no tool that it covers has"
      : "not every call that it covers has";
  if (!("argument" in obligation))
    return "dataClasses" in obligation
      ? "only the text of an answer is redacted by data classes"
      : `${who} a tool call to ${verb}`;
  return `${who} a ${obligation.kind === "cap" ? "number" : "text"} \`${obligation.argument}\` to ${verb}`;
}

/** What can be done instead, of a model call or its answer. */
function hintOf(obligation: Obligation, denied: readonly string[]): string {
  const hints = [
    ...(denied.includes("model calls") ? ["a model call meets only a cap of `maxOutputTokens` to 1 or more"] : []),
    ...(denied.includes("answers") && obligation.kind === "redact"
      ? ["of an answer, say @data_classes and not @argument"]
      : []),
    ...(denied.includes("answers") && obligation.kind !== "redact"
      ? ["forbid the answer without @decision, or ask for approval"]
      : []),
  ];
  return hints.length === 0 ? "" : `; ${hints.join("; ")}`;
}

function canMeet(obligation: Obligation, input: ReadonlyMap<string, Attribute>): boolean {
  if (!("argument" in obligation)) return obligation.kind !== "redact";
  const type = input.get(obligation.argument)?.type;
  return type !== undefined && (obligation.kind === "cap" ? isNumber(type) : isText(type));
}

function modelCanMeet(obligation: Obligation): boolean {
  return (
    obligation.kind === "shadow" ||
    (obligation.kind === "cap" && obligation.max >= 1 && canMeet(obligation, modelInput))
  );
}

function answerCanMeet(obligation: Obligation): boolean {
  return obligation.kind === "shadow" || "dataClasses" in obligation;
}

function isNumber({ kind }: ArgumentType): boolean {
  return kind === "long" || kind === "decimal";
}

function isText(type: ArgumentType): boolean {
  return type.kind === "string" || (type.kind === "set" && type.element.kind === "string");
}
