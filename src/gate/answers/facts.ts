import type { Action } from "../../core/action.ts";
import type { ResponseFacts } from "../../core/decision.ts";
import type { Digest } from "../../core/ids.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import { joinLabels, labelsOfAll } from "../../core/labels.ts";
import type { FlowFacts } from "../../core/labels.ts";
import { otherLinks } from "../../core/links.ts";
import { callablesOf } from "../../core/retrieval.ts";
import type { Callable } from "../../core/retrieval.ts";
import type { ModelResult } from "../../core/transcript.ts";
import { dataClassesIn } from "../../policy/index.ts";
import type { RedactionOf } from "../../policy/index.ts";
import { contentDigest } from "../../store/canonical.ts";
import { flowFacts, linksOf } from "../flow/facts.ts";
import { originOfLink } from "../flow/trace.ts";
import type { RunContext } from "../governed-call.ts";
import { shownName } from "../step/resolve.ts";
import type { ResolvedModelStep } from "../step/resolve.ts";
import { readingsOf } from "./readings.ts";
import { redactedAnswer } from "./redacted.ts";

/** What is known of a model's answer before it goes further. Worked out from the record alone, so an auditor finds the same. */
export type AnswerFacts = { readonly response: ResponseFacts; readonly flow: FlowFacts };

/** Hosts that policies see by name. An answer with more has them counted, and is `…` for the rest: no list of known hosts holds that. */
const maxHosts = 50;
const maxHostCharacters = 253;
const otherHosts = "…";
/** Invented names of tools that policies see. Those of the release are seen in any case: no crowd of others hides one. */
const maxInvented = 100;

export function answerFacts(run: RunContext, step: ResolvedModelStep, answer: ModelResult): AnswerFacts {
  const { flow } = step.conversation;
  const { rules } = flow;
  const texts = readingsOf(answer.content, rules);
  const links = linksOf(flow, texts).map((link) => ({ link, origin: originOfLink(flow, link) }));
  const foreign = links.filter(({ origin }) => origin === "untrusted" || origin === "derived");
  // Those that are not looked at may be of either kind.
  const untrusted = foreign.filter(({ link, origin }) => origin === "untrusted" || link === otherLinks).length;
  const calls = answer.toolCalls.flatMap((call) => readingsOf(call.arguments, rules));
  const digest = contentDigest(run.salt, answer as unknown as Json);
  return {
    response: {
      answer: digest,
      action: contentDigest(run.salt, responseAction(step, answer, digest) as unknown as Json),
      finishReason: answer.finishReason,
      final: answer.toolCalls.length === 0 && answer.problem === undefined,
      characters: answer.content.length,
      calls: answer.toolCalls.length,
      tools: toolsIn(answer, callablesOf(run.release.document)),
      callDataClasses: dataClassesIn(calls.join("\n"), rules),
      links: {
        grounded: links.length - foreign.length,
        untrusted,
        ungrounded: foreign.filter(({ origin }) => origin === "derived").length,
        hosts: hostsOf(foreign.map(({ link }) => link)),
      },
    },
    flow: {
      ...flowFacts(flow),
      dataClasses: dataClassesIn(texts.join("\n"), rules),
      ungroundedLinks: foreign.length,
      // It is made of all that the model was shown.
      labels: { arguments: {}, destination: joinLabels([]), content: labelsOfAll(flow.seen) },
    },
  };
}

/** What policies see of the answer once it is redacted, and what then goes further. */
export function redactionOf(run: RunContext, step: ResolvedModelStep, answer: ModelResult): RedactionOf {
  return (classes, places) => {
    const made = redactedAnswer(run.release.document, answer, classes, places);
    if (made === undefined || made === answer) return made && {};
    return { answer: made as unknown as JsonObject, ...answerFacts(run, step, made) };
  };
}

function toolsIn({ toolCalls }: ModelResult, callables: readonly Callable[]): readonly string[] {
  const asked = sorted(toolCalls.map(({ name }) => shownName(name)));
  const known = new Set(callables.map(({ name }) => name));
  const invented = asked.filter((name) => !known.has(name));
  return sorted([...asked.filter((name) => known.has(name)), ...invented.slice(0, maxInvented)]);
}

/**
 * What people approve: the step's action with its answer, and so nothing that any other answer would be. Its text is in lines and pieces,
 * so that all of it is shown.
 */
export function responseAction({ action }: ResolvedModelStep, answer: ModelResult, digest: Digest): Action {
  return {
    ...action,
    arguments: {
      ...(action.arguments as JsonObject),
      answer: digest,
      text: answer.content.split("\n").flatMap(pieces),
      calls: answer.toolCalls.map(({ name, arguments: text }) => ({ name, arguments: pieces(text) })),
    },
  };
}

function hostsOf(links: readonly string[]): readonly string[] {
  const hosts = sorted(links.map(hostOf));
  return hosts.length <= maxHosts ? hosts : [...hosts.slice(0, maxHosts), otherHosts];
}

function hostOf(link: string): string {
  const url = URL.parse(link.includes("://") ? link : `https://${link}`);
  // `mailto:` and the like have none; what cannot be read is on nobody's list.
  return (url?.hostname || otherHosts).toLowerCase().slice(0, maxHostCharacters);
}

const pieceCharacters = 1_000;

/** Pieces that together are the text; no character is cut in two. */
function pieces(text: string): readonly string[] {
  const found: string[] = [];
  let start = 0;
  do {
    let end = Math.min(text.length, start + pieceCharacters);
    if (end < text.length && /[\uD800-\uDBFF]/.test(text.charAt(end - 1))) end -= 1;
    found.push(text.slice(start, end));
    start = end;
  } while (start < text.length);
  return found;
}

function sorted<Value extends string>(values: readonly Value[]): readonly Value[] {
  return [...new Set(values)].sort();
}
