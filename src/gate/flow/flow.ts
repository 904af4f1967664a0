import { isObject } from "../../core/json.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import { confidentialities, defaultResultLabels, flowRules, joinLabels, labelsOfAll } from "../../core/labels.ts";
import type { FlowFacts, FlowRules, ResultLabels, ToolResultLabels, ValueLabels } from "../../core/labels.ts";
import { indexTexts } from "../../core/provenance.ts";
import type { IndexedText } from "../../core/provenance.ts";
import { callablesOf, retrievalIn } from "../../core/retrieval.ts";
import type { Callable, RetrievedDocument } from "../../core/retrieval.ts";
import type { FinishedStep, ModelResult, ToolResult } from "../../core/transcript.ts";
import { dataClassesIn } from "../../policy/index.ts";
import type { RunContext } from "../governed-call.ts";
import { partsOf } from "./identifiers.ts";
import { schemaOfArgument, valuesOf, wordsOf } from "./leaves.ts";
import { traceOf } from "./trace.ts";

/**
 * What a run has read, and whose text each part is. Immutable: a step's flow is that of the conversation which its model was shown, so it
 * does not depend on the timing of parallel calls, and an auditor who reads the record finds the same.
 */
export type Flow = {
  readonly rules: FlowRules;
  readonly user: IndexedText;
  readonly operator: IndexedText;
  readonly trusted: readonly LabelledText[];
  readonly untrusted: readonly LabelledText[];
  readonly seen: FlowFacts["seen"];
  /** The calls that the latest model step asked for, with the flow that it was shown. */
  readonly asked: Asked | undefined;
  /** Characters of text in it, about. */
  readonly characters: number;
};

/** A text with the labels of whatever is found in it. `isNames`: single words that a system keeps, and nobody's sentences. */
type LabelledText = { readonly text: IndexedText; readonly labels: ValueLabels; readonly isNames: boolean };

type Asked = {
  /** By call id; undefined where two calls have the same, so that a result cannot be told whose it is. */
  readonly calls: ReadonlyMap<string, AskedCall | undefined>;
  readonly flow: Flow;
};
type AskedCall = { readonly name: string; readonly args: JsonObject };

/** The flow of a run that has read nothing but what it was asked. `rules`: others than today's only for what a record says was found by them. */
export function startFlow({ release, input }: RunContext, rules: FlowRules = flowRules): Flow {
  const facts = [input.subject?.id, input.subject?.email].filter((fact) => fact !== undefined);
  return {
    rules,
    user: indexTexts([input.prompt]),
    operator: indexTexts([release.document.prompt, ...facts]),
    trusted: [],
    untrusted: [],
    seen: { untrusted: false, confidentiality: 0, sources: [], dataClasses: dataClassesIn(input.prompt, rules) },
    asked: undefined,
    characters: input.prompt.length + release.document.prompt.length,
  };
}

/** The flow after more steps, in the order of their `seq`. */
export function extendFlow(flow: Flow, { release }: RunContext, steps: readonly FinishedStep[]): Flow {
  return steps.reduce(
    (before, step) =>
      step.kind === "model"
        ? { ...before, asked: { calls: callsOf(step.result), flow: { ...before, asked: undefined } } }
        : afterResult(before, callablesOf(release.document), step.callId, step.result),
    flow,
  );
}

function callsOf({ toolCalls }: ModelResult): ReadonlyMap<string, AskedCall | undefined> {
  const calls = new Map<string, AskedCall | undefined>();
  for (const { id, name, arguments: text } of toolCalls)
    calls.set(id, calls.has(id) ? undefined : { name, args: objectIn(text) });
  return calls;
}

function objectIn(text: string): JsonObject {
  try {
    const value = JSON.parse(text) as Json;
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
}

function afterResult(flow: Flow, tools: readonly Callable[], callId: string, result: ToolResult): Flow {
  // The gate's own words, and nobody's who could attack.
  if (result.status === "denied") return flow;
  const call = flow.asked?.calls.get(callId);
  const tool = tools.find(({ name }) => name === call?.name);
  const labels: ToolResultLabels = tool?.results ?? defaultResultLabels;
  const documents =
    tool?.source !== undefined && result.status === "ok" ? retrievalIn(result.value)?.documents : undefined;
  if (documents !== undefined)
    return documents.reduce(
      (before, document) =>
        afterTexts(before, textsOfDocument(document), labelsIn(document, labels), { source: tool?.name ?? "" }),
      flow,
    );
  const echo = call === undefined ? undefined : echoOf(flow.asked?.flow ?? flow, tool, asMade(call, result));
  const isOwn = echo?.foreign === false;
  const { identifiers, strangers, texts } =
    result.status === "ok"
      ? partsOf(result.value, isOwn ? (labels.identifiers ?? []) : [], flow.rules)
      : { identifiers: [], strangers: [], texts: [result.message] };
  const told = { source: call?.name ?? "unknown", echoed: echo?.labels ?? labelsOfAll(flow.seen) };
  // Of a result with identifiers, others wrote the rest: also where there is none, the run has read what they chose.
  const read = afterTexts(flow, texts, isOwn ? labels : { ...labels, origin: "untrusted" }, told);
  const named = strangers.length === 0 ? read : afterTexts(read, strangers, labels, { ...told, isNames: true });
  if (identifiers.length === 0) return named;
  return afterTexts(named, identifiers, { ...labels, origin: "trusted" }, { ...told, isNames: true });
}

/** No document is more trusted than its source. */
function labelsIn({ origin, confidentiality }: RetrievedDocument, ofSource: ResultLabels): ResultLabels {
  return { origin: origin === "trusted" ? ofSource.origin : "untrusted", confidentiality };
}

/** What stands in a document: its labels are the gate's own words. */
function textsOfDocument({ id, title, text }: RetrievedDocument): readonly string[] {
  return [id, ...(title === undefined ? [] : [title]), text];
}

type Told = {
  readonly source: string;
  /** Of what the texts may say again. */
  readonly echoed?: ValueLabels;
  readonly isNames?: boolean;
};

function afterTexts(
  flow: Flow,
  texts: readonly string[],
  { origin, confidentiality }: ResultLabels,
  { source, echoed = joinLabels([]), isNames = false }: Told,
): Flow {
  const trusted = origin === "trusted";
  const own = { confidentiality: confidentialities.indexOf(confidentiality), sources: [source] };
  const labelled = { text: indexTexts(texts), labels: joinLabels([own, echoed]), isNames };
  const { seen } = flow;
  return {
    ...flow,
    ...(trusted ? { trusted: [...flow.trusted, labelled] } : { untrusted: [...flow.untrusted, labelled] }),
    seen: {
      untrusted: seen.untrusted || !trusted,
      confidentiality: Math.max(seen.confidentiality, own.confidentiality),
      sources: sorted([...seen.sources, source]),
      dataClasses: sorted([...seen.dataClasses, ...dataClassesIn(texts.join("\n"), flow.rules)]),
    },
    characters: flow.characters + 3 * texts.reduce((sum, text) => sum + text.length, 0),
  };
}

/** A reviewer may have changed it before it was made. */
function asMade({ args }: AskedCall, { changed }: Exclude<ToolResult, { status: "denied" }>): readonly JsonObject[] {
  return changed === undefined ? [args] : [args, changed.arguments];
}

type Echo = { readonly foreign: boolean; readonly labels: ValueLabels };

/**
 * A tool that was called with somebody's words may say them again. What it answers may then travel no further than they, and that of a
 * trusted one is no better. Documents were there before they were asked for.
 */
function echoOf(flow: Flow, tool: Callable | undefined, made: readonly JsonObject[]): Echo {
  const words = made
    .flatMap((args) => Object.entries(args))
    .flatMap(([name, value]) =>
      flow.rules === 1 ? valuesOf(value) : wordsOf(value, schemaOfArgument(tool?.parameters, name)),
    );
  const traces = [...new Set(words)].map((word) => traceOf(flow, word));
  return {
    foreign: traces.some(({ origin }) => origin === "untrusted" || (origin === "derived" && flow.seen.untrusted)),
    labels: joinLabels(traces.map(({ labels }) => labels)),
  };
}

function sorted<Value extends string>(values: readonly Value[]): readonly Value[] {
  return [...new Set(values)].sort();
}
