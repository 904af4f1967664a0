import type { ActionType, AttributesOrContext, SchemaJson, Type } from "@cedar-policy/cedar-wasm/nodejs";

import { effectClasses } from "../core/action.ts";
import type { StepKind } from "../core/action.ts";
import { toolNamePattern } from "../core/ids.ts";
import type { HistoryFact } from "../core/decision.ts";
import { dataClasses } from "../core/labels.ts";
import { callKinds, confidentialityOf, kindOf } from "../core/retrieval.ts";
import type { Callable, CallKind, SourceFacts } from "../core/retrieval.ts";
import { inputAttributes } from "./argument-types.ts";
import type { ArgumentType, Attribute } from "./argument-types.ts";
import { reader } from "./engine.ts";
import { PolicyError } from "./errors.ts";

/** What policies need to know of a tool or, with `source`, of a retrieval source. Every {@link Callable} is one. */
export type PolicyTool = Pick<Callable, "name" | "parameters" | "effect" | "groups"> & {
  readonly source?: Pick<SourceFacts, "results" | "dataClasses" | "topK">;
};

export type CedarSchema = SchemaJson<string>;

export const groupNamePattern = /^[a-z][a-z0-9_-]{0,62}$/;
export const modelAction = "model";
/** A model's answer, before it goes further. Asked about only where a policy of the set mentions it. */
export const responseAction = "response";

export function toolAction(name: string): string {
  return `tool/${name}`;
}

/** The Cedar action of a step: `model`, `tool/NAME` or `retrieval/NAME`. Kinds that are not served have none that a policy could name. */
export function callAction(kind: StepKind, name: string): string {
  return kind === "model" ? modelAction : `${kind}/${name}`;
}

export function actionOfTool(tool: PolicyTool): string {
  return callAction(kindOf(tool), tool.name);
}

/** Whether an action is the group of every tool, or of every retrieval. */
export function isKindGroup(action: string): action is CallKind {
  return callKinds.some((kind) => kind === action);
}

/** The action groups that a tool's or source's action is in, so that policies can speak of many at once. */
export function groupsOfTool(tool: PolicyTool): readonly string[] {
  return [...new Set([kindOf(tool), `effect/${tool.effect}`, ...tool.groups.map((group) => `group/${group}`)])].sort();
}

const string: Type<string> = { type: "String" };
const long: Type<string> = { type: "Long" };

const entityTypes = {
  Team: {},
  Agent: {
    memberOfTypes: ["Team"],
    shape: record({ team: string, name: string, release: string, useCase: string, riskTier: string }),
  },
  Run: {
    shape: record({
      id: string,
      requestedBy: string,
      subject: { ...record({ id: string, email: { ...string, required: false } }), required: false },
    }),
  },
};

const bool: Type<string> = { type: "Boolean" };
const stringSet: Type<string> = { type: "Set", element: string };

/** What policies see of a source beside what they see of every tool. */
const sourceType = record({ origin: string, confidentiality: long, dataClasses: stringSet, topK: long });

/** The same of one source. */
export function classificationOf({ results, dataClasses: declared, topK }: NonNullable<PolicyTool["source"]>) {
  const { origin } = results;
  // One that says nothing may hold anything.
  const held = declared === undefined ? dataClasses : declared;
  return { origin, confidentiality: confidentialityOf(results), dataClasses: [...held].sort(), topK };
}

/** How far a value may travel; the number is the place in the list of confidentialities. */
const labels = { confidentiality: long, sources: stringSet };

/** The part of `context` that every action has; policies/README.md says what each attribute means. */
const circumstances = {
  now: record({ unix: long, hour: long, weekday: long }),
  environment: record({ name: string, region: string }),
  requester: record({ roles: stringSet, groups: stringSet }),
  run: record({ steps: long, spentMicroUsd: long, sameName: long, sameNameApproved: long, approvals: long }),
  content: record({
    dataClasses: stringSet,
    ungroundedLinks: long,
    bestOrigin: string,
    worstOrigin: string,
    ...labels,
  }),
  seen: record({ untrusted: bool, confidentiality: long, sources: stringSet, dataClasses: stringSet }),
};

function contextType(own: Record<string, Type<string>>, history: readonly HistoryFact[]): AttributesOrContext<string> {
  const counted = record(Object.fromEntries(history.map(({ name }) => [name, long])));
  return record({ ...own, ...circumstances, history: counted });
}

/**
 * The Cedar schema of a set of tools (no namespace): entity types `Team`, `Agent` and `Run`; the action `model`; an
 * action `tool/NAME` for each tool, in `tool`, `effect/CLASS` and `group/NAME`, with its arguments typed at
 * `context.input`; an action `retrieval/NAME`, in `retrieval`, for each source, with its classification at `context.source`; with
 * `asksResponses`, the action `response`. Throws PolicyError `tools_invalid`.
 */
export function schemaFor(
  tools: readonly PolicyTool[],
  history: readonly HistoryFact[] = [],
  asksResponses = false,
): CedarSchema {
  return schemaOf(tools, asksResponses ? [responseAction] : [], history);
}

/** The same in Cedar's own notation, for people. */
export function schemaText(
  tools: readonly PolicyTool[],
  history: readonly HistoryFact[] = [],
  asksResponses = false,
): string {
  const answer = reader.run((cedar) => cedar.schemaToText(schemaFor(tools, history, asksResponses)));
  if (answer.type === "success") return answer.text;
  throw new PolicyError(
    "tools_invalid",
    `cedar refuses the tools' schema: ${answer.errors[0]?.message ?? "no reason"}`,
  );
}

/**
 * With `mentioned` added as actions that apply to nothing: a team's policies may name tools and groups that this
 * release does not have. Only those can be added; a misspelt `effect/…` stays unknown.
 */
export function schemaOf(
  tools: readonly PolicyTool[],
  mentioned: Iterable<string>,
  history: readonly HistoryFact[],
): CedarSchema {
  checkTools(tools);
  const groups = new Set([
    ...callKinds,
    ...effectClasses.map((effect) => `effect/${effect}`),
    ...tools.flatMap(groupsOfTool),
  ]);
  const mentions = [...mentioned];
  for (const id of mentions) if (mayBeAbsent(id)) groups.add(id);
  const actions = new Map<string, ActionType<string>>([...groups].sort().map((id) => [id, {}]));
  actions.set(modelAction, modelActionType(history));
  // Where it is not mentioned, policies without a scope need not be right for it.
  if (mentions.includes(responseAction)) actions.set(responseAction, responseActionType(history));
  for (const tool of tools) actions.set(actionOfTool(tool), toolActionType(tool, history));
  return { "": { entityTypes, actions: Object.fromEntries(actions) } };
}

/** The schema of one action alone: Cedar copies the schema on every call, so it should be no larger than needed. */
export function schemaOfAction(
  what: PolicyTool | typeof modelAction | typeof responseAction,
  history: readonly HistoryFact[],
): CedarSchema {
  const groups = typeof what === "string" ? [] : groupsOfTool(what);
  const actions = new Map<string, ActionType<string>>(groups.map((id) => [id, {}]));
  if (what === modelAction) actions.set(modelAction, modelActionType(history));
  else if (what === responseAction) actions.set(responseAction, responseActionType(history));
  else actions.set(actionOfTool(what), toolActionType(what, history));
  return { "": { entityTypes, actions: Object.fromEntries(actions) } };
}

/** The attributes of a tool's `context.input`. Throws PolicyError `tools_invalid`. */
export function inputOf(tool: PolicyTool): ReadonlyMap<string, Attribute> {
  const attributes = inputAttributes(tool.parameters);
  if (attributes !== undefined) return attributes;
  throw new PolicyError("tools_invalid", `tool ${tool.name}: expected parameters that describe an object`, {
    hint: "give a JSON Schema of type object, without properties named __entity, __extn or __expr",
  });
}

function mayBeAbsent(action: string): boolean {
  const [kind, ...rest] = action.split("/");
  const name = rest.join("/");
  return (isKindGroup(kind ?? "") && toolNamePattern.test(name)) || (kind === "group" && groupNamePattern.test(name));
}

function modelActionType(history: readonly HistoryFact[]): ActionType<string> {
  return applied(contextType({ model: string, maxOutputTokens: long }, history), []);
}

function responseActionType(history: readonly HistoryFact[]): ActionType<string> {
  const response = record({
    final: bool,
    finishReason: string,
    characters: long,
    calls: long,
    tools: stringSet,
    callDataClasses: stringSet,
    links: record({ grounded: long, untrusted: long, ungrounded: long, hosts: stringSet }),
  });
  return applied(contextType({ model: string, response }, history), []);
}

function toolActionType(tool: PolicyTool, history: readonly HistoryFact[]): ActionType<string> {
  const input = inputOf(tool);
  const own = {
    input: recordType(input),
    // An argument that the call does not have has no origin.
    origins: record(Object.fromEntries([...input.keys()].map((name) => [name, { ...string, required: false }]))),
    labels: record(Object.fromEntries([...input.keys()].map((name) => [name, { ...record(labels), required: false }]))),
    destination: record({ origin: string, contested: bool, mixedScript: bool, ...labels }),
    tool: record({ name: string, effect: string, groups: stringSet }),
    ...(tool.source === undefined ? {} : { source: sourceType }),
  };
  return applied(contextType(own, history), groupsOfTool(tool));
}

function applied(context: AttributesOrContext<string>, groups: readonly string[]): ActionType<string> {
  return {
    ...(groups.length === 0 ? {} : { memberOf: groups.map((id) => ({ id })) }),
    appliesTo: { principalTypes: ["Agent"], resourceTypes: ["Run"], context },
  };
}

function cedarType(type: ArgumentType): Type<string> {
  switch (type.kind) {
    case "string":
    case "text":
      return string;
    case "long":
      return long;
    case "bool":
      return { type: "Boolean" };
    case "decimal":
      return { type: "Extension", name: "decimal" };
    case "set":
      return { type: "Set", element: cedarType(type.element) };
    case "record":
      return recordType(type.attributes);
  }
}

function recordType(attributes: ReadonlyMap<string, Attribute>): Type<string> {
  const entries = [...attributes].map(
    ([name, { type, required }]) => [name, { ...cedarType(type), required }] as const,
  );
  return record(Object.fromEntries(entries));
}

function record(attributes: Record<string, Type<string> & { required?: boolean }>): Type<string> {
  return { type: "Record", attributes };
}

function checkTools(tools: readonly PolicyTool[]): void {
  const seen = new Set<string>();
  for (const tool of tools) {
    const group = tool.groups.find((name) => !groupNamePattern.test(name));
    const fault = !toolNamePattern.test(tool.name)
      ? "expected a name of letters, digits, _ and -"
      : seen.has(tool.name)
        ? "there are two tools of this name"
        : !effectClasses.includes(tool.effect)
          ? `expected an effect of ${effectClasses.join(", ")}`
          : group === undefined
            ? undefined
            : "expected group names of lower-case letters, digits, _ and -";
    if (fault !== undefined) throw new PolicyError("tools_invalid", `tool ${JSON.stringify(tool.name)}: ${fault}`);
    seen.add(tool.name);
  }
}
