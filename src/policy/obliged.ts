import type { Obligation } from "../core/decision.ts";
import type { JsonObject, JsonSchema } from "../core/json.ts";
import { flowRules } from "../core/labels.ts";
import type { DataClass } from "../core/labels.ts";
import { fits } from "../tools/arguments.ts";
import { ownDataClasses } from "./data-classes.ts";
import { meetObligations, modelInput } from "./obligations.ts";
import type { PolicyRequest, RedactedAnswer } from "./request.ts";
import type { ActionSlice } from "./slices.ts";

/** A step with its obligations met, which is another step. */
export type Obliged =
  | {
      readonly status: "met";
      /** Itself where nothing has to change. */
      readonly request: PolicyRequest;
      /** What it is made with, or the answer as it goes further: the classes that it lacks, where nobody has its text. Absent: as it was asked. */
      readonly effective?: JsonObject;
      /** Policies that are met though they fire again. */
      readonly met: ReadonlySet<string>;
    }
  /** `detail` holds no contents. */
  | { readonly status: "unmet"; readonly detail: string };

type Step<Kind> = Extract<PolicyRequest["step"], { readonly kind: Kind }>;

export function obliged(request: PolicyRequest, slice: ActionSlice, obligations: readonly Obligation[]): Obliged {
  const { step, rules = flowRules } = request;
  if (rules < 4 && (step.kind === "model" || step.kind === "response"))
    return unmet("by the rules of then, no obligation was met by a model call or an answer");
  switch (step.kind) {
    case "model":
      return obligedModel(request, step, obligations);
    case "response":
      return obligedAnswer(request, step, obligations);
    case "tool":
    case "retrieval":
      return obligedCall(request, step, slice, obligations);
  }
}

/** Facts about the contents are of the call as it was asked, so what was redacted may fire again; what was capped may not. */
function liftedBy(obligations: readonly Obligation[]): ReadonlySet<string> {
  return new Set(obligations.flatMap((one) => (one.kind === "cap" ? [] : [one.policy])));
}

function obligedCall(
  request: PolicyRequest,
  step: Step<"tool" | "retrieval">,
  { input = new Map(), parameters }: ActionSlice,
  obligations: readonly Obligation[],
): Obliged {
  const args = meetObligations(step.arguments, obligations, input);
  if (args === undefined) return unmet("an obligation cannot be met by this call");
  const met = liftedBy(obligations);
  if (args === step.arguments) return { status: "met", request, met };
  // The tool was promised arguments that fit: what a policy made of them has to as well.
  const fault = schemaFaultOf(args, parameters);
  if (fault !== undefined) return unmet(`what an obligation makes of the arguments does not fit the tool: ${fault}`);
  return { status: "met", request: { ...request, step: { ...step, arguments: args } }, effective: args, met };
}

/** Undefined where they fit. A tool whose schema is not known takes nothing that was changed. */
function schemaFaultOf(args: JsonObject, parameters: JsonSchema | undefined): string | undefined {
  if (parameters === undefined) return "it has no schema";
  const fitting = fits(args, parameters);
  return fitting.ok ? undefined : fitting.problem;
}

/** Nothing of a conversation is changed on its way to a model: what it was shown is what is recorded. */
function obligedModel(request: PolicyRequest, step: Step<"model">, obligations: readonly Obligation[]): Obliged {
  const args = meetObligations({ maxOutputTokens: step.maxOutputTokens }, obligations, modelInput);
  const maxOutputTokens = args?.["maxOutputTokens"];
  if (typeof maxOutputTokens !== "number" || obligations.some(({ kind }) => kind === "cosigned"))
    return unmet("an obligation cannot be met by a model call");
  if (maxOutputTokens < 1) return unmet("an obligation leaves the model no tokens to answer with");
  const met = liftedBy(obligations);
  if (maxOutputTokens === step.maxOutputTokens) return { status: "met", request, met };
  return {
    status: "met",
    request: { ...request, step: { ...step, maxOutputTokens } },
    effective: { maxOutputTokens },
    met,
  };
}

/**
 * What is redacted is the text. The calls that an answer asks for are decided on by themselves later; where a policy fires again for what is
 * left in them, it is not met.
 */
function obligedAnswer(request: PolicyRequest, step: Step<"response">, obligations: readonly Obligation[]): Obliged {
  const { redacted, ...answered } = step;
  const redactions = obligations.flatMap((one) => (one.kind === "redact" && "dataClasses" in one ? [one] : []));
  if (obligations.some((one) => one.kind !== "shadow" && !redactions.some((redaction) => redaction === one)))
    return unmet("an obligation cannot be met by an answer");
  if (redactions.length === 0) return { status: "met", request, met: liftedBy(obligations) };

  const classes = [...new Set(redactions.flatMap(({ dataClasses }) => dataClasses))].sort();
  const { facts } = request;
  const fault = redacted === undefined ? undefined : elsewhereFault(classes, facts);
  if (fault !== undefined) return unmet(fault);
  const made: RedactedAnswer | undefined =
    redacted === undefined ? byFacts(classes, facts) : redacted(classes, facts.detectedAt ?? []);
  if (made === undefined) return unmet("what is to be redacted in the answer cannot be told from the rest of it");
  const flow = made.flow ?? {
    ...facts.flow,
    dataClasses: facts.flow.dataClasses.filter((name) => !classes.includes(name)),
  };
  const response = made.response ?? answered.response;
  const left = [...flow.dataClasses, ...response.callDataClasses];
  const unable = redactions.filter(({ dataClasses }) => intersects(dataClasses, left)).map(({ policy }) => policy);
  const elsewhere =
    facts.detected === undefined ? {} : { detected: facts.detected.filter((name) => !classes.includes(name)) };
  const changed = { ...request, step: { ...answered, response }, facts: { ...facts, flow, response, ...elsewhere } };
  return {
    status: "met",
    request: changed,
    ...(made.answer === undefined ? {} : { effective: made.answer }),
    met: new Set([...liftedBy(obligations)].filter((policy) => !unable.includes(policy))),
  };
}

/** For who has no text: what of it would be redacted. */
function byFacts(classes: readonly DataClass[], { flow }: PolicyRequest["facts"]): RedactedAnswer {
  const found = classes.filter((name) => flow.dataClasses.includes(name));
  return found.length === 0 ? {} : { answer: { redacted: found } };
}

/** What only another detector finds has to have been looked for by one, and what one has found, it has to have said where. */
function elsewhereFault(
  classes: readonly DataClass[],
  { detected, detectedAt = [] }: PolicyRequest["facts"],
): string | undefined {
  if (detected === undefined)
    return classes.every((name) => ownDataClasses.includes(name))
      ? undefined
      : "what is to be redacted in the answer is found by another detector only, and none was asked";
  const told = new Set(detectedAt.map(({ name }) => name));
  return classes.some((name) => detected.includes(name) && !told.has(name))
    ? "another detector has found what is to be redacted in the answer, and where is not known"
    : undefined;
}

function intersects(some: readonly DataClass[], others: readonly DataClass[]): boolean {
  return some.some((name) => others.includes(name));
}

function unmet(detail: string): Obliged {
  return { status: "unmet", detail };
}
