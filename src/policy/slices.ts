import { LRUCache } from "lru-cache";

import type { HistoryFact } from "../core/decision.ts";
import type { JsonSchema } from "../core/json.ts";
import type { DataClass } from "../core/labels.ts";
import type { Attribute } from "./argument-types.ts";
import { actionFrame, policySlice, screenOf } from "./evaluator.ts";
import type { ActionFrame, PolicySlice, Screen } from "./evaluator.ts";
import { guardsOf } from "./guards.ts";
import type { Guard } from "./guards.ts";
import type { ReadPolicy } from "./policy.ts";
import { coversAction, coversEntity, entityName } from "./scope.ts";
import {
  actionOfTool,
  classificationOf,
  groupsOfTool,
  inputOf,
  modelAction,
  responseAction,
  schemaOfAction,
} from "./schema.ts";
import type { PolicyTool } from "./schema.ts";

/** All that is needed to decide one action: Cedar's cost grows with what it is given, so it gets no more. */
export type ActionSlice = {
  readonly action: string;
  /** The types of `context.input`; absent for a model call. */
  readonly input?: ReadonlyMap<string, Attribute>;
  /** The tool's own JSON Schema, for arguments that obligations change; absent for a model call. */
  readonly parameters?: JsonSchema;
  /** What policies see of the tool itself; absent for a model call. */
  readonly tool?: { readonly name: string; readonly effect: string; readonly groups: string[] };
  /** How a source is classified; present for a retrieval. */
  readonly source?: ReturnType<typeof classificationOf>;
  /** What has to be counted: the facts that a policy about this action reads. */
  readonly history: readonly HistoryFact[];
  /** A policy about this action looks at the data classes of its contents: other detectors are asked only then. */
  readonly readsDataClasses: boolean;
  /** Classes of data that a policy about this action redacts. */
  readonly redacts: readonly DataClass[];
  readonly frame: ActionFrame;
  /** Of the policies about this action, those that can apply to this agent. */
  of(agent: { readonly team: string; readonly name: string }): AgentSlice;
};

/** The policies that can apply when one agent takes one action. */
export type AgentSlice = {
  readonly all: PolicySlice;
  /** The permits alone: asked where every forbid that fired can be lifted, and where none can fire. */
  readonly permits: PolicySlice;
  /** Tell without Cedar, of most requests, that no forbid can fire. Absent where they could not. */
  readonly guards?: readonly Guard[];
  /** Asked first, as it is faster. Absent where it would not be. */
  readonly screen?: Screen;
};

/** Agents for which one action's slices are kept. */
const rememberedAgents = 200;

export function slicesOf(
  policies: readonly ReadPolicy[],
  tools: readonly PolicyTool[],
  history: readonly HistoryFact[],
): ReadonlyMap<string, ActionSlice> {
  const model = sliceOf(modelAction, [], policies, modelAction, history);
  const responses = mentionsResponse(policies) ? [sliceOf(responseAction, [], policies, responseAction, history)] : [];
  const others = tools.map((tool) => sliceOf(actionOfTool(tool), groupsOfTool(tool), policies, tool, history));
  return new Map([model, ...responses, ...others].map((slice) => [slice.action, slice]));
}

/** Whether a set wants answers of models to be decided on: a policy of it says so by name, in its scope or a condition. */
export function mentionsResponse(policies: readonly Pick<ReadPolicy, "mentions">[]): boolean {
  return policies.some(({ mentions }) => mentions.includes(responseAction));
}

function sliceOf(
  action: string,
  groups: readonly string[],
  policies: readonly ReadPolicy[],
  what: PolicyTool | typeof modelAction | typeof responseAction,
  declared: readonly HistoryFact[],
): ActionSlice {
  const tool = typeof what === "string" ? undefined : what;
  const relevant = policies.filter(({ scope }) => coversAction(scope.action, action, groups));
  const history = declared.filter(({ name }) => relevant.some((policy) => readsFact(policy, name)));
  const agents = new LRUCache<string, AgentSlice>({ max: rememberedAgents });
  return {
    action,
    history,
    readsDataClasses: relevant.some((policy) => readsDataClasses(policy, action)),
    redacts: [...new Set(relevant.flatMap(redactedBy))],
    ...(tool === undefined
      ? {}
      : {
          input: inputOf(tool),
          parameters: tool.parameters,
          tool: { name: tool.name, effect: tool.effect, groups: [...tool.groups] },
        }),
    ...(tool?.source === undefined ? {} : { source: classificationOf(tool.source) }),
    frame: actionFrame(action, groups, schemaOfAction(what, history)),
    of({ team, name }) {
      const id = `${team}/${name}`;
      const known = agents.get(id);
      if (known !== undefined) return known;
      const principal = { type: "Agent", name: entityName("Agent", id), parents: [entityName("Team", team)] };
      const mine = relevant.filter(({ scope }) => coversEntity(scope.principal, principal));
      const permits = mine.filter(({ effect }) => effect === "permit");
      const screen = screenOf(mine);
      const guards = guardsOf(mine.filter(({ effect }) => effect === "forbid"));
      const made: AgentSlice = {
        all: policySlice(mine),
        permits: policySlice(permits),
        ...(guards === undefined ? {} : { guards }),
        ...(screen === undefined ? {} : { screen }),
      };
      agents.set(id, made);
      return made;
    },
  };
}

function redactedBy({ obligation }: ReadPolicy): readonly DataClass[] {
  return obligation !== undefined && "dataClasses" in obligation ? obligation.dataClasses : [];
}

/** A model is called with what was read before. */
function readsDataClasses({ reads: { context } }: Pick<ReadPolicy, "reads">, action: string): boolean {
  if (context.whole) return true;
  const contents = context.children.get(action === modelAction ? "seen" : "content");
  return contents !== undefined && (contents.whole || contents.children.has("dataClasses"));
}

/** Whether a policy may look at `context.history.NAME`. */
export function readsFact({ reads: { context } }: Pick<ReadPolicy, "reads">, name: string): boolean {
  if (context.whole) return true;
  const history = context.children.get("history");
  return history !== undefined && (history.whole || history.children.has(name));
}
