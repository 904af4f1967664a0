import type { CedarValueJson, PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";

import type { CedarRequest } from "./request.ts";

/** Attributes that are read: all of a value, or only those named. */
type ReadTree = { whole: boolean; readonly children: Map<string, ReadTree> };

/** What of a request a policy's conditions can look at. */
export type Reads = {
  readonly context: ReadTree;
  readonly principal: ReadTree;
  readonly resource: ReadTree;
  /** What is in what: the action in its groups, the agent in its team. */
  hierarchy: boolean;
};

const roots = ["context", "principal", "resource"] as const;
type Root = (typeof roots)[number];
type CedarEntity = CedarRequest["entities"][number];
type Path = { readonly root: Root | "action"; readonly names: readonly string[] };

/** Operators that look at which entity it is, and not at its attributes. */
const identityOperators = new Set(["==", "!=", "in", "is"]);

/** Operators that cannot tell what an entity is in. `is` is one without its `in`. */
const flatOperators = new Set(
  `Value Var Set Record Literal . has like if-then-else ! neg == != < <= > >= && || + - * contains containsAll containsAny isEmpty
   decimal lessThan lessThanOrEqual greaterThan greaterThanOrEqual ip isIpv4 isIpv6 isLoopback isMulticast isInRange
   datetime duration offset durationSince toDate toTime toMilliseconds toSeconds toMinutes toHours toDays`.split(/\s+/),
);

/**
 * Every chain of attributes in the conditions that begins at a variable. Whatever is used in any other way counts as read
 * as a whole, so no expression of Cedar, known here or not, can find less than is there. The policy MUST NOT be deeper than
 * our own stack.
 */
export function readsOf({ conditions }: Pick<PolicyJson, "conditions">): Reads {
  const reads = nothing();
  for (const { body } of conditions) visit(body, reads);
  return reads;
}

/** What any of several policies reads. */
export function readsOfAll(all: Iterable<Reads>): Reads {
  const together = nothing();
  for (const reads of all) {
    for (const root of roots) merge(together[root], reads[root]);
    together.hierarchy ||= reads.hierarchy;
  }
  return together;
}

/**
 * The request without the attributes, and what is in what, that are not in `reads`. Cedar's time goes into reading the request, so it gets no
 * more. For policies without the scopes that name what a principal or an action is in.
 */
export function prunedTo(reads: Reads, request: CedarRequest): CedarRequest {
  const { principal, resource } = request;
  const placed = ({ uid, attrs, parents }: CedarEntity): CedarEntity => ({
    uid,
    attrs,
    parents: reads.hierarchy ? parents : [],
  });
  const pruned = (entity: CedarEntity): CedarEntity => {
    const { attrs } = entity;
    if (isSame(entity.uid, principal)) return placed({ ...entity, attrs: pruneRecord(attrs, reads.principal) });
    if (isSame(entity.uid, resource)) return placed({ ...entity, attrs: pruneRecord(attrs, reads.resource) });
    return placed(entity);
  };
  return {
    ...request,
    context: pruneRecord(request.context, reads.context) as CedarRequest["context"],
    // An entity with neither attributes nor parents is to Cedar as one that is not there.
    entities: request.entities
      .map(pruned)
      .filter(({ attrs, parents }) => parents.length + Object.keys(attrs).length > 0),
  };
}

function nothing(): Reads {
  return { context: leaf(), principal: leaf(), resource: leaf(), hierarchy: false };
}

function leaf(): ReadTree {
  return { whole: false, children: new Map() };
}

function visit(expression: unknown, reads: Reads): void {
  if (!isObject(expression)) return;
  if (Array.isArray(expression)) {
    for (const one of expression) visit(one, reads);
    return;
  }
  const path = pathOf(expression);
  if (path !== undefined) {
    if (path.root !== "action") add(reads[path.root], path.names);
    return;
  }
  for (const [operator, operands] of Object.entries(expression)) {
    if (operator === "Value") continue;
    if (!flatOperators.has(operator) && !(operator === "is" && isObject(operands) && operands["in"] === undefined))
      reads.hierarchy = true;
    if (operator === "." || operator === "has") {
      // An attribute of an entity that is not reached through a variable: it may be the principal or the resource.
      reads.principal.whole = true;
      reads.resource.whole = true;
    }
    for (const operand of isObject(operands) ? Object.values(operands) : []) {
      if (!(identityOperators.has(operator) && isEntityVariable(operand))) visit(operand, reads);
    }
  }
}

/** `context.input.amount`, `context.input has note`, `principal`: a variable with the attributes that follow it. */
function pathOf(expression: Readonly<Record<string, unknown>>): Path | undefined {
  const { has } = expression;
  if (!isObject(has)) return accessOf(expression);
  const left = isObject(has["left"]) ? accessOf(has["left"]) : undefined;
  const { attr } = has;
  const names = Array.isArray(attr) ? attr : [attr];
  if (left === undefined || !names.every((name) => typeof name === "string")) return undefined;
  return { root: left.root, names: [...left.names, ...names] };
}

function accessOf(expression: Readonly<Record<string, unknown>>): Path | undefined {
  const { Var: variable, ".": access } = expression;
  if (variable === "action" || roots.some((root) => root === variable)) {
    return { root: variable as Path["root"], names: [] };
  }
  if (!isObject(access) || !isObject(access["left"]) || typeof access["attr"] !== "string") return undefined;
  const left = accessOf(access["left"]);
  return left === undefined ? undefined : { root: left.root, names: [...left.names, access["attr"]] };
}

function isEntityVariable(operand: unknown): boolean {
  return isObject(operand) && ["principal", "resource", "action"].some((name) => operand["Var"] === name);
}

function add(tree: ReadTree, names: readonly string[]): void {
  let at = tree;
  for (const name of names) at = childOf(at, name);
  at.whole = true;
}

function merge(into: ReadTree, from: ReadTree): void {
  into.whole ||= from.whole;
  for (const [name, child] of from.children) merge(childOf(into, name), child);
}

function childOf(tree: ReadTree, name: string): ReadTree {
  const known = tree.children.get(name);
  if (known !== undefined) return known;
  const made = leaf();
  tree.children.set(name, made);
  return made;
}

type CedarRecord = Record<string, CedarValueJson>;

function pruneRecord(record: CedarRecord, tree: ReadTree): CedarRecord {
  if (tree.whole) return record;
  const kept: [string, CedarValueJson][] = [];
  for (const [name, child] of tree.children) {
    const value = Object.hasOwn(record, name) ? record[name] : undefined;
    if (value !== undefined) kept.push([name, isPlainRecord(value) ? pruneRecord(value, child) : value]);
  }
  return Object.fromEntries(kept);
}

/** Neither a set nor a decimal, whose JSON is an object too. */
function isPlainRecord(value: CedarValueJson): value is CedarRecord {
  return isObject(value) && !Array.isArray(value) && !Object.hasOwn(value, "__extn");
}

function isSame(uid: CedarRequest["entities"][number]["uid"], other: CedarRequest["principal"]): boolean {
  const [a, b] = [uid, other].map((one) => ("__entity" in one ? one.__entity : one));
  return a?.type === b?.type && a?.id === b?.id;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
