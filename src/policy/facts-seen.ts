import type { Json, JsonObject } from "../core/json.ts";
import type { Reads } from "./reads.ts";
import type { CedarRequest } from "./request.ts";

/** One attribute of a request, by the name that policies have for it. Absent ones have no value. */
export type SeenFact = { readonly path: string; readonly value?: Json };

type ReadTree = Reads["context"];

const roots = ["principal", "resource", "context"] as const;

/** Everything that policies could look at. */
export function factsOf(request: CedarRequest): readonly SeenFact[] {
  return roots.flatMap((root) => leavesOf(root, attributesOf(request, root)));
}

/** What a policy does look at, absent attributes too. Who asks and about which run is left to its scope. */
export function factsRead(request: CedarRequest, reads: Reads): readonly SeenFact[] {
  return roots.flatMap((root) => leavesRead(root, attributesOf(request, root), reads[root]));
}

function attributesOf({ context, entities, ...named }: CedarRequest, root: (typeof roots)[number]): Json {
  if (root === "context") return context as Json;
  const uid = (one: CedarRequest["principal"]) => JSON.stringify("__entity" in one ? one.__entity : one);
  return (entities.find((entity) => uid(entity.uid) === uid(named[root]))?.attrs as Json | undefined) ?? {};
}

function leavesOf(path: string, value: Json): readonly SeenFact[] {
  if (!isRecord(value)) return [{ path, value }];
  return Object.entries(value).flatMap(([name, inner]) => leavesOf(`${path}.${name}`, inner));
}

function leavesRead(path: string, value: Json | undefined, tree: ReadTree): readonly SeenFact[] {
  if (value === undefined) return tree.whole || tree.children.size > 0 ? [{ path }] : [];
  if (tree.children.size === 0 || !isRecord(value)) return tree.whole ? leavesOf(path, value) : [];
  return [...tree.children].flatMap(([name, child]) =>
    leavesRead(`${path}.${name}`, Object.hasOwn(value, name) ? value[name] : undefined, child),
  );
}

/** Neither a set nor a decimal, whose JSON is an object too. */
function isRecord(value: Json): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !Object.hasOwn(value, "__extn");
}
