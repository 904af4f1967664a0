import type { PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";

/** The actions that a policy's scope names: all, or the actions and groups listed. */
export type ActionScope =
  | { readonly kind: "all" }
  | { readonly kind: "is"; readonly action: string }
  | { readonly kind: "in"; readonly actions: readonly string[] };

/** An entity's type and id as one text. */
export type EntityName = string;

/** The principals or resources that a policy's scope names: all, one, one with all that is in it, or a type of them. */
export type EntityScope =
  | { readonly kind: "all" }
  | { readonly kind: "is"; readonly entity: EntityName }
  | { readonly kind: "in"; readonly entity: EntityName }
  | { readonly kind: "type"; readonly type: string; readonly within?: EntityName };

export type PolicyScope = {
  readonly principal: EntityScope;
  readonly action: ActionScope;
  readonly resource: EntityScope;
};

/** One principal or resource of a request: what it is, and what it is in. */
export type Placed = { readonly type: string; readonly name: EntityName; readonly parents: readonly EntityName[] };

export function entityName(type: string, id: string): EntityName {
  return JSON.stringify([type, id]);
}

export function scopeOf(json: PolicyJson): PolicyScope {
  return { principal: entityScope(json.principal), action: actionScope(json), resource: entityScope(json.resource) };
}

/** Exactly Cedar's meaning of an action scope: `==` is the action itself, `in` is it or a group it is in. */
export function coversAction(scope: ActionScope, action: string, groups: readonly string[]): boolean {
  if (scope.kind === "all") return true;
  if (scope.kind === "is") return scope.action === action;
  return scope.actions.some((named) => named === action || groups.includes(named));
}

/** Exactly Cedar's meaning of a principal or resource scope. */
export function coversEntity(scope: EntityScope, { type, name, parents }: Placed): boolean {
  switch (scope.kind) {
    case "all":
      return true;
    case "is":
      return scope.entity === name;
    case "in":
      return scope.entity === name || parents.includes(scope.entity);
    case "type":
      return scope.type === type && (scope.within === undefined || [name, ...parents].includes(scope.within));
  }
}

/**
 * The policy without annotations and without its principal and action, for where both are known to be covered: Cedar would look them up on
 * every call. Undefined where the scope was not understood to the last.
 */
export function withoutScope(json: PolicyJson, scope: PolicyScope): PolicyJson | undefined {
  if (json.principal.op !== "All" && scope.principal.kind === "all") return undefined;
  return { ...json, annotations: {}, principal: { op: "All" }, action: { op: "All" } };
}

/** The entities that an action scope names, with their types. */
export function actionsIn({ action }: PolicyJson): { type: string; id: string }[] {
  if (action.op === "All") return [];
  const uids = "entities" in action ? action.entities : "entity" in action ? [action.entity] : [];
  return uids.map(plainUid);
}

function actionScope(json: PolicyJson): ActionScope {
  const actions = actionsIn(json).map(({ id }) => id);
  if (json.action.op === "All") return { kind: "all" };
  const [first] = actions;
  return json.action.op === "==" && first !== undefined ? { kind: "is", action: first } : { kind: "in", actions };
}

/** What is not understood covers everything: a policy too many costs time, one too few would change decisions. */
function entityScope(scope: PolicyJson["principal"] | PolicyJson["resource"]): EntityScope {
  if (scope.op === "==" && "entity" in scope) return { kind: "is", entity: nameOf(scope.entity) };
  if (scope.op === "in" && "entity" in scope) return { kind: "in", entity: nameOf(scope.entity) };
  if (scope.op === "is" && scope.in === undefined) return { kind: "type", type: scope.entity_type };
  if (scope.op === "is" && scope.in !== undefined && "entity" in scope.in) {
    return { kind: "type", type: scope.entity_type, within: nameOf(scope.in.entity) };
  }
  return { kind: "all" };
}

type EntityUidJson = Parameters<typeof plainUid>[0];

function nameOf(uid: EntityUidJson): EntityName {
  const { type, id } = plainUid(uid);
  return entityName(type, id);
}

function plainUid(uid: { type: string; id: string } | { __entity: { type: string; id: string } }): {
  type: string;
  id: string;
} {
  return "__entity" in uid ? uid.__entity : uid;
}
