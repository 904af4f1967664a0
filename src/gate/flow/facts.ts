import { noFacts } from "../../core/decision.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import { joinLabels, labelsOfAll, origins } from "../../core/labels.ts";
import type { FlowFacts, Origin, ValueLabels } from "../../core/labels.ts";
import { linksIn, otherLinks } from "../../core/links.ts";
import { isCommon, looksLikeAnother, mixesScripts } from "../../core/provenance.ts";
import type { Callable } from "../../core/retrieval.ts";
import { dataClassesIn } from "../../policy/index.ts";
import type { Flow } from "./flow.ts";
import { hasBoolean, schemaOfArgument, textsIn, valuesOf, wordsOf } from "./leaves.ts";
import { isMadeOfUsersWords, originOfLink, repeatsUser, traceOf } from "./trace.ts";
import type { Trace } from "./trace.ts";

/** What a step is decided by: where a call's values came from, and what the run had read when its model asked for it. */
export function flowFacts(flow: Flow, call?: { readonly tool: Callable; readonly args: JsonObject }): FlowFacts {
  if (call === undefined) return { ...noCall, ...worstAs(flow, []), ...rulesAs(flow), seen: flow.seen };
  const { tool, args } = call;
  const tracer = tracerOf(flow);
  const given = Object.entries(args).map(([name, value]) => {
    const words = flow.rules === 1 ? valuesOf(value) : wordsOf(value, schemaOfArgument(tool.parameters, name));
    return { name, value, words, traces: words.map(tracer) };
  });
  const named = destinationsOf(tool, args);
  const where = given.filter(({ name }) => named.includes(name));
  const texts = textsIn(args);
  return {
    origins: Object.fromEntries(given.map((one) => [one.name, originOfArgument(flow, one)])),
    destination: destinationOf(flow, where),
    contested: where.some(({ traces }) => traces.some(({ contested }) => contested)),
    mixedScript: where.some(({ words }) => words.some(flow.rules < 4 ? mixesScripts : looksLikeAnother)),
    best: bestOf(flow, args, tracer),
    ...worstAs(flow, given),
    ungroundedLinks: linksOf(flow, texts).filter((link) => !grounded.includes(originOfLink(flow, link))).length,
    dataClasses: dataClassesIn(texts.join("\n"), flow.rules),
    labels: {
      arguments: Object.fromEntries(given.map((one) => [one.name, labelsOfArgument(flow, one)])),
      destination: joinLabels(where.map((one) => labelsOfArgument(flow, one))),
      content: joinLabels(given.map((one) => labelsOfArgument(flow, one))),
    },
    ...rulesAs(flow),
    seen: flow.seen,
  };
}

function rulesAs({ rules }: Flow): Pick<FlowFacts, "rules"> {
  return rules === 3 || rules === 4 ? { rules } : {};
}

const noCall: FlowFacts = {
  ...noFacts.flow,
  labels: { arguments: {}, destination: joinLabels([]), content: joinLabels([]) },
};

const grounded: readonly Origin[] = ["user", "operator", "trusted"];
/** Characters that a value needs to show that a call was somebody's idea. */
const shortestAnchor = 5;

type Argument = {
  readonly name: string;
  readonly value: Json;
  readonly words: readonly string[];
  readonly traces: readonly Trace[];
};

/** The same value is often in a call several times. */
function tracerOf(flow: Flow): (value: string) => Trace {
  const known = new Map<string, Trace>();
  return (value) => {
    const trace = known.get(value) ?? traceOf(flow, value);
    known.set(value, trace);
    return trace;
  };
}

function destinationsOf({ destinations, effect }: Callable, args: JsonObject): readonly string[] {
  return destinations ?? (effect === "read" ? [] : Object.keys(args));
}

/** Yes, no, and a list of nothing stand nowhere: the model made them. Null is as good as not given. */
function isMade({ value, words }: Argument): boolean {
  return words.length === 0 && value !== null;
}

function originOfArgument(flow: Flow, argument: Argument): Origin {
  const found = worst(argument.traces.map(({ origin }) => origin));
  return found ?? (flow.rules !== 1 && isMade(argument) ? "derived" : "user");
}

function labelsOfArgument(flow: Flow, argument: Argument): ValueLabels {
  return isMade(argument) ? labelsOfAll(flow.seen) : joinLabels(argument.traces.map(({ labels }) => labels));
}

function destinationOf(flow: Flow, where: readonly Argument[]): FlowFacts["destination"] {
  const found = where.flatMap(({ traces }) => traces.map(({ origin }) => origin));
  if (flow.rules === 1) return worst(found) ?? "none";
  // A list of nobody beside one of somebody goes nowhere; alone, it may go to everybody.
  const made = where.filter(isMade).filter(({ value }) => found.length === 0 || hasBoolean(value));
  return worst([...found, ...made.map(() => "derived" as const)]) ?? "none";
}

/** Names of properties do not count: they say more of a tool than of whose idea a call was. */
function bestOf(flow: Flow, args: JsonObject, tracer: (value: string) => Trace): FlowFacts["best"] {
  const values = valuesOf(args);
  const found = values.map((value): Origin => {
    const { origin } = tracer(value);
    // A short word is in the user's text by accident too often to speak for the call.
    return value.length < shortestAnchor && origins.indexOf(origin) < origins.indexOf("derived") ? "derived" : origin;
  });
  const best = found.toSorted((a, b) => origins.indexOf(a) - origins.indexOf(b))[0] ?? "none";
  return flow.rules >= 3 && best !== "user" && values.some((value) => repeatsUser(flow, value)) ? "user" : best;
}

/** The worst of the values that say something: digits that are in many texts by accident, days and hours speak neither for a call nor against. */
function worstAs(flow: Flow, given: readonly Argument[]): Pick<FlowFacts, "worst"> {
  if (flow.rules < 4) return {};
  const found = given.flatMap(({ words, traces }) =>
    words.flatMap((word, index): Origin[] => {
      const origin = traces[index]?.origin ?? "derived";
      if (word === "" || isCommon(word)) return [];
      return origin === "derived" && isMadeOfUsersWords(flow, word) ? ["user"] : [origin];
    }),
  );
  return { worst: worst(found) ?? "none" };
}

function worst(found: readonly Origin[]): Origin | undefined {
  return found.toSorted((a, b) => origins.indexOf(b) - origins.indexOf(a))[0];
}

/** Different links in texts, and one for those that are not looked at. */
export function linksOf(flow: Flow, texts: readonly string[]): readonly string[] {
  const links = [...new Set(texts.flatMap((text) => linksIn(text, flow.rules)))];
  return flow.rules === 1 ? links.filter((link) => link !== otherLinks) : links;
}
