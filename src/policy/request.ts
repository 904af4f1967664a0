import type { StatefulAuthorizationCall } from "@cedar-policy/cedar-wasm/nodejs";

import type { DetectedPlace, HistoryFact, ResponseFacts, RunFacts } from "../core/decision.ts";
import type { Json, JsonObject } from "../core/json.ts";
import { flowRules, labelsOfAll } from "../core/labels.ts";
import type { CallLabels, DataClass, FlowFacts, FlowRules, ValueLabels } from "../core/labels.ts";
import type { RiskTier } from "../core/release.ts";
import type { CallKind } from "../core/retrieval.ts";
import { recordValue, Unrepresentable, unicode } from "./argument-values.ts";
import type { CompiledPolicies } from "./compile.ts";
import type { ActionSlice } from "./slices.ts";
import { callAction, responseAction } from "./schema.ts";

/** What the gate asks: who would do what, in which run. */
export type PolicyRequest = {
  readonly agent: {
    readonly team: string;
    readonly name: string;
    /** The release's digest. */
    readonly release: string;
    readonly useCase: string;
    readonly riskTier: RiskTier;
  };
  readonly run: {
    readonly id: string;
    readonly requestedBy: string;
    readonly subject?: { readonly id: string; readonly email?: string };
  };
  readonly step:
    | { readonly kind: "model"; readonly model: string; readonly maxOutputTokens: number }
    /** `tool`: the name of the tool or source. */
    | { readonly kind: CallKind; readonly tool: string; readonly arguments: JsonObject }
    /** What a model answered. `redacted`: from the answer itself, for who has it. */
    | {
        readonly kind: "response";
        readonly model: string;
        readonly response: ResponseFacts;
        readonly redacted?: RedactionOf;
      };
  readonly facts: RunFacts;
  /** By which rules it is decided; absent: today's. Those of before are for who decides again what was recorded. */
  readonly rules?: FlowRules;
};

/** `places`: where another detector has found some of the classes. */
export type RedactionOf = (
  classes: readonly DataClass[],
  places: readonly DetectedPlace[],
) => RedactedAnswer | undefined;

/**
 * An answer without what was found of some classes in its text. `answer`: absent where nothing was; facts that are absent are those of the
 * answer as it was, less the classes. Undefined in its place: it cannot be made.
 */
export type RedactedAnswer = {
  readonly answer?: JsonObject;
  readonly response?: ResponseFacts;
  readonly flow?: FlowFacts;
};

/** The same as Cedar sees it. Plain JSON: its RFC 8785 digest names the question that was asked. */
export type CedarRequest = Pick<
  StatefulAuthorizationCall,
  "principal" | "action" | "resource" | "context" | "entities"
>;

export type Asked =
  | { readonly status: "ready"; readonly request: CedarRequest; readonly slice: ActionSlice }
  /** No faithful request can be made. `detail` names the place, never contents. */
  | { readonly status: "undecidable"; readonly detail: string };

type Attributes = CedarRequest["context"];

/** The Cedar request for a step, or why there is none: an unknown action, or arguments Cedar cannot hold. */
export function requestOf(compiled: CompiledPolicies, request: PolicyRequest): Asked {
  const action = actionNamed(request.step);
  const slice = compiled.slices.get(action);
  if (slice === undefined) return { status: "undecidable", detail: "the release has no such action" };
  try {
    return { status: "ready", slice, request: cedarRequest(request, slice) };
  } catch (error) {
    if (error instanceof Unrepresentable) return { status: "undecidable", detail: error.message };
    return { status: "undecidable", detail: "the request is malformed" };
  }
}

/** The name of the Cedar action that a step is. */
export function actionNamed(step: PolicyRequest["step"]): string {
  switch (step.kind) {
    case "model":
      return callAction("model", step.model);
    case "response":
      return responseAction;
    case "tool":
    case "retrieval":
      return callAction(step.kind, step.tool);
  }
}

/**
 * The request as JSON, for its digest. Facts that were recorded before there was an attribute had a request without it, which no policy of
 * then could ask about.
 */
export function requestJson(request: CedarRequest, facts: Pick<RunFacts, "flow" | "sameNameApproved">): Json {
  const { flow, sameNameApproved } = facts;
  const ofLabels = flow.labels === undefined ? ["confidentiality", "sources"] : [];
  const absent: Readonly<Record<string, readonly string[]>> = {
    destination: ofLabels,
    content: [...ofLabels, ...(flow.worst === undefined ? ["worstOrigin"] : [])],
    run: sameNameApproved === undefined ? ["sameNameApproved"] : [],
  };
  if (Object.values(absent).every((names) => names.length === 0)) return request as unknown as Json;
  const context = Object.entries(request.context)
    .filter(([name]) => name !== "labels" || flow.labels !== undefined)
    .map(([name, value]) => [name, without(value as Attributes, absent[name] ?? [])]);
  return { ...request, context: Object.fromEntries(context) } as unknown as Json;
}

function without(attributes: Attributes, names: readonly string[]): Attributes {
  if (names.length === 0) return attributes;
  return Object.fromEntries(Object.entries(attributes).filter(([name]) => !names.includes(name)));
}

function cedarRequest({ agent, run, step, facts, rules = flowRules }: PolicyRequest, slice: ActionSlice): CedarRequest {
  const principal = { type: "Agent", id: unicode(`${agent.team}/${agent.name}`, "agent") };
  const team = { type: "Team", id: unicode(agent.team, "team") };
  const resource = { type: "Run", id: unicode(run.id, "run") };
  const { team: teamName, name, release, useCase, riskTier } = agent;
  return {
    principal,
    action: { type: "Action", id: slice.action },
    resource,
    context: {
      ...contextOf(step, slice, facts, rules),
      ...circumstancesOf(step, facts),
      history: historyOf(slice.history, facts),
    },
    entities: [
      { uid: team, attrs: {}, parents: [] },
      {
        uid: principal,
        attrs: { team: teamName, name, release, useCase: unicode(useCase, "useCase"), riskTier },
        parents: [team],
      },
      { uid: resource, attrs: runAttributes(run), parents: [] },
    ],
  };
}

function contextOf(step: PolicyRequest["step"], slice: ActionSlice, { flow }: RunFacts, rules: FlowRules): Attributes {
  if (step.kind === "model") {
    return { model: unicode(step.model, "model"), maxOutputTokens: long(step.maxOutputTokens, "maxOutputTokens") };
  }
  if (step.kind === "response") {
    const { final, finishReason, tools, callDataClasses, links, ...counts } = step.response;
    return {
      model: unicode(step.model, "model"),
      response: {
        final,
        finishReason,
        characters: long(counts.characters, "facts.response.characters"),
        calls: long(counts.calls, "facts.response.calls"),
        tools: tools.map((name) => unicode(name, "facts.response.tools")),
        callDataClasses: [...callDataClasses],
        links: {
          grounded: long(links.grounded, "facts.response.links.grounded"),
          untrusted: long(links.untrusted, "facts.response.links.untrusted"),
          ungrounded: long(links.ungrounded, "facts.response.links.ungrounded"),
          hosts: links.hosts.map((host) => unicode(host, "facts.response.links.hosts")),
        },
      },
    };
  }
  const labels = labelsIn(flow);
  return {
    input: recordValue(step.arguments, slice.input ?? new Map(), "arguments", rules),
    origins: { ...flow.origins },
    labels: Object.fromEntries(
      Object.entries(labels.arguments).map(([name, one]) => [name, labelAttributes(one, `facts.flow.labels.${name}`)]),
    ),
    destination: {
      origin: flow.destination,
      contested: flow.contested,
      mixedScript: flow.mixedScript,
      ...labelAttributes(labels.destination, "facts.flow.labels.destination"),
    },
    tool: slice.tool ?? {},
    ...(slice.source === undefined ? {} : { source: slice.source }),
  };
}

/** What another detector found is in the contents of the call: those of a model call are what was seen. */
function circumstancesOf(
  { kind }: PolicyRequest["step"],
  { at, environment, requester, flow, detected = [], ...counts }: RunFacts,
): Attributes {
  const [inContent, inSeen] = kind === "model" ? [[], detected] : [detected, []];
  return {
    now: instantOf(at),
    environment: {
      name: unicode(environment.name, "environment.name"),
      region: unicode(environment.region, "environment.region"),
    },
    requester: { roles: [...requester.roles], groups: [...requester.groups] },
    run: {
      steps: long(counts.steps, "facts.steps"),
      spentMicroUsd: long(counts.spentMicroUsd, "facts.spentMicroUsd"),
      sameName: long(counts.sameName, "facts.sameName"),
      sameNameApproved: long(counts.sameNameApproved ?? 0, "facts.sameNameApproved"),
      approvals: long(counts.approvals, "facts.approvals"),
    },
    content: {
      dataClasses: [...new Set([...flow.dataClasses, ...inContent])].sort(),
      ungroundedLinks: long(flow.ungroundedLinks, "facts.flow.ungroundedLinks"),
      bestOrigin: flow.best,
      // Where it was not recorded, it is no better than anything.
      worstOrigin: flow.worst ?? "untrusted",
      ...labelAttributes(labelsIn(flow).content, "facts.flow.labels.content"),
    },
    seen: {
      untrusted: flow.seen.untrusted,
      confidentiality: long(flow.seen.confidentiality, "facts.flow.seen.confidentiality"),
      sources: [...flow.seen.sources],
      dataClasses:
        inSeen.length === 0 ? [...flow.seen.dataClasses] : [...new Set([...flow.seen.dataClasses, ...inSeen])].sort(),
    },
  };
}

/** Where none were recorded, no value is better than all that was seen. */
function labelsIn({ labels, origins, seen }: FlowFacts): CallLabels {
  if (labels !== undefined) return labels;
  const all = labelsOfAll(seen);
  return {
    arguments: Object.fromEntries(Object.keys(origins).map((name) => [name, all])),
    destination: all,
    content: all,
  };
}

function labelAttributes({ confidentiality, sources }: ValueLabels, name: string): Attributes {
  return { confidentiality: long(confidentiality, `${name}.confidentiality`), sources: [...sources] };
}

/** Seconds since 1970, the hour from 0, and the day of the week from 1 (Monday) to 7: all in UTC. */
function instantOf(at: string): Record<string, number> {
  const time = new Date(at);
  const unix = long(Math.floor(time.getTime() / 1_000), "facts.at");
  return { unix, hour: time.getUTCHours(), weekday: time.getUTCDay() === 0 ? 7 : time.getUTCDay() };
}

/** A declared fact that was not counted makes the request one that cannot be made, and not a zero. */
function historyOf(declared: readonly HistoryFact[], { history }: RunFacts): Attributes {
  return Object.fromEntries(
    declared.map(({ name }) => [name, long(history[name] ?? Number.NaN, `facts.history.${name}`)]),
  );
}

function runAttributes({ id, requestedBy, subject }: PolicyRequest["run"]): CedarRequest["context"] {
  return {
    id,
    requestedBy: unicode(requestedBy, "run.requestedBy"),
    ...(subject === undefined ? {} : { subject: subjectAttributes(subject) }),
  };
}

function subjectAttributes({ id, email }: { readonly id: string; readonly email?: string }): Record<string, string> {
  return {
    id: unicode(id, "run.subject.id"),
    ...(email === undefined ? {} : { email: unicode(email, "run.subject.email") }),
  };
}

function long(value: number, name: string): number {
  if (!Number.isSafeInteger(value)) throw new Unrepresentable(`${name}: expected an integer within ±(2^53 - 1)`);
  return value;
}
