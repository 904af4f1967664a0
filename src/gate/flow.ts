import type { Json, JsonObject } from "../core/json.ts";
import { confidentialities, defaultResultLabels, origins } from "../core/labels.ts";
import type { FlowFacts, Origin, ResultLabels } from "../core/labels.ts";
import { indexTexts, linksIn, mixesScripts, soughtValue, standsIn } from "../core/provenance.ts";
import type { IndexedText } from "../core/provenance.ts";
import { callablesOf, retrievalIn } from "../core/retrieval.ts";
import type { Callable, RetrievedDocument } from "../core/retrieval.ts";
import type { FinishedStep, ModelResult, ToolResult } from "../core/transcript.ts";
import { dataClassesIn } from "../policy/index.ts";
import type { RunContext } from "./governed-call.ts";

/**
 * What a run has read, and whose text each part is. Immutable: a step's flow is that of the conversation which its model was shown, so it
 * does not depend on the timing of parallel calls, and an auditor who reads the record finds the same.
 */
export type Flow = {
  readonly user: IndexedText;
  readonly operator: IndexedText;
  readonly trusted: readonly IndexedText[];
  readonly untrusted: readonly IndexedText[];
  readonly seen: FlowFacts["seen"];
  /** The calls that the latest model step asked for, with the flow that it was shown. */
  readonly asked: Asked | undefined;
  /** Characters of text in it, about. */
  readonly characters: number;
};

type Asked = {
  /** By call id; undefined where two calls have the same, so that a result cannot be told whose it is. */
  readonly calls: ReadonlyMap<string, AskedCall | undefined>;
  readonly flow: Flow;
};
type AskedCall = { readonly name: string; readonly args: JsonObject };

/** The flow of a run that has read nothing but what it was asked. */
export function startFlow({ release, input }: RunContext): Flow {
  const facts = [input.subject?.id, input.subject?.email].filter((fact) => fact !== undefined);
  return {
    user: indexTexts([input.prompt]),
    operator: indexTexts([release.document.prompt, ...facts]),
    trusted: [],
    untrusted: [],
    seen: { untrusted: false, confidentiality: 0, sources: [], dataClasses: dataClassesIn(input.prompt) },
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
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonObject) : {};
  } catch {
    return {};
  }
}

function afterResult(flow: Flow, tools: readonly Callable[], callId: string, result: ToolResult): Flow {
  // The gate's own words, and nobody's who could attack.
  if (result.status === "denied") return flow;
  const call = flow.asked?.calls.get(callId);
  const tool = tools.find(({ name }) => name === call?.name);
  const labels = tool?.results ?? defaultResultLabels;
  const documents =
    tool?.source !== undefined && result.status === "ok" ? retrievalIn(result.value)?.documents : undefined;
  if (documents !== undefined)
    return documents.reduce(
      (before, document) => afterTexts(before, textsOfDocument(document), labelsIn(document, labels), tool?.name ?? ""),
      flow,
    );
  const texts = result.status === "ok" ? textsIn(result.value) : [result.message];
  const echoes = call === undefined || mayEcho(flow.asked?.flow ?? flow, asMade(call, result));
  return afterTexts(flow, texts, echoes ? { ...labels, origin: "untrusted" } : labels, call?.name ?? "unknown");
}

/** No document is more trusted than its source. */
function labelsIn({ origin, confidentiality }: RetrievedDocument, ofSource: ResultLabels): ResultLabels {
  return { origin: origin === "trusted" ? ofSource.origin : "untrusted", confidentiality };
}

/** What stands in a document: its labels are the gate's own words. */
function textsOfDocument({ id, title, text }: RetrievedDocument): readonly string[] {
  return [id, ...(title === undefined ? [] : [title]), text];
}

function afterTexts(flow: Flow, texts: readonly string[], labels: ResultLabels, source: string): Flow {
  const trusted = labels.origin === "trusted";
  const indexed = indexTexts(texts);
  const { seen } = flow;
  return {
    ...flow,
    ...(trusted ? { trusted: [...flow.trusted, indexed] } : { untrusted: [...flow.untrusted, indexed] }),
    seen: {
      untrusted: seen.untrusted || !trusted,
      confidentiality: Math.max(seen.confidentiality, confidentialities.indexOf(labels.confidentiality)),
      sources: sorted([...seen.sources, source]),
      dataClasses: sorted([...seen.dataClasses, ...dataClassesIn(texts.join("\n"))]),
    },
    characters: flow.characters + 3 * texts.reduce((sum, text) => sum + text.length, 0),
  };
}

/** A reviewer may have changed it before it was made. */
function asMade(call: AskedCall, { changed }: Exclude<ToolResult, { status: "denied" }>): AskedCall {
  return changed === undefined ? call : { ...call, args: { asked: call.args, made: changed.arguments } };
}

/**
 * A trusted tool that was called with somebody else's words may say them again: its answer is no better than they are. Documents were
 * there before they were asked for.
 */
function mayEcho(flow: Flow, { args }: AskedCall): boolean {
  return leavesOf(args).some((leaf) => {
    const origin = originOf(flow, leaf);
    return origin === "untrusted" || (origin === "derived" && flow.seen.untrusted);
  });
}

/** What a step is decided by: the origins of a call's values, and what the run had read when its model asked for it. */
export function flowFacts(flow: Flow, call?: { readonly tool: Callable; readonly args: JsonObject }): FlowFacts {
  if (call === undefined) return { ...noCall, seen: flow.seen };
  const { tool, args } = call;
  const destinations = Object.entries(args).filter(([name]) => destinationsOf(tool, args).includes(name));
  const where = destinations.flatMap(([, value]) => leavesOf(value));
  const texts = textsIn(args);
  const all = leavesOf(args).map((leaf) => {
    const origin = originOf(flow, leaf);
    // A short word is in the user's text by accident too often to speak for the call.
    return leaf.length < shortestAnchor && origins.indexOf(origin) < origins.indexOf("derived") ? "derived" : origin;
  });
  return {
    origins: Object.fromEntries(
      Object.entries(args).map(([name, value]) => [
        name,
        worst(leavesOf(value).map((leaf) => originOf(flow, leaf))) ?? "user",
      ]),
    ),
    destination: worst(where.map((leaf) => originOf(flow, leaf))) ?? "none",
    contested: where.some((leaf) => originOf(flow, leaf) === "trusted" && isIn(flow.untrusted, leaf)),
    mixedScript: where.some(mixesScripts),
    best: best(all) ?? "none",
    ungroundedLinks: new Set(texts.flatMap(linksIn).filter((link) => !isGrounded(flow, link))).size,
    dataClasses: dataClassesIn(texts.join("\n")),
    seen: flow.seen,
  };
}

const noCall: Omit<FlowFacts, "seen"> = {
  origins: {},
  destination: "none",
  contested: false,
  mixedScript: false,
  best: "none",
  ungroundedLinks: 0,
  dataClasses: [],
};

/** Characters that a value needs to show that a call was somebody's idea. */
const shortestAnchor = 5;

function destinationsOf({ destinations, effect }: Callable, args: JsonObject): readonly string[] {
  return destinations ?? (effect === "read" ? [] : Object.keys(args));
}

export function originOf(flow: Flow, leaf: string): Origin {
  const value = soughtValue(leaf);
  // Nothing that could be said of anything: an empty text, punctuation.
  if (value.spellings.length === 0) return "user";
  if (!value.weak) {
    if (standsIn(value, flow.user)) return "user";
    if (standsIn(value, flow.operator)) return "operator";
    if (flow.trusted.some((text) => standsIn(value, text))) return "trusted";
  }
  return flow.untrusted.some((text) => standsIn(value, text)) ? "untrusted" : "derived";
}

function isIn(texts: readonly IndexedText[], leaf: string): boolean {
  const value = soughtValue(leaf);
  return texts.some((text) => standsIn(value, text));
}

function isGrounded(flow: Flow, link: string): boolean {
  return ["user", "operator", "trusted"].includes(originOf(flow, link));
}

function worst(found: readonly Origin[]): Origin | undefined {
  return found.toSorted((a, b) => origins.indexOf(b) - origins.indexOf(a))[0];
}

function best(found: readonly Origin[]): Origin | undefined {
  return found.toSorted((a, b) => origins.indexOf(a) - origins.indexOf(b))[0];
}

/** The values of a call that came from somewhere: texts, numbers, and the names of properties below the top. */
function leavesOf(value: Json): readonly string[] {
  if (value === null || typeof value === "boolean") return [];
  if (typeof value !== "object") return [String(value)];
  if (Array.isArray(value)) return value.flatMap(leavesOf);
  return Object.values(value).flatMap(leavesOf);
}

/** All that can be read in a value, names of properties included. */
export function textsIn(value: Json): readonly string[] {
  if (value === null || typeof value === "boolean") return [];
  if (typeof value !== "object") return [String(value)];
  if (Array.isArray(value)) return value.flatMap(textsIn);
  return Object.entries(value).flatMap(([name, inner]) => [name, ...textsIn(inner)]);
}

function sorted<Value extends string>(values: readonly Value[]): readonly Value[] {
  return [...new Set(values)].sort();
}
