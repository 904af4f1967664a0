import type { Json } from "../core/json.ts";
import { indexTexts, soughtValue, standsIn } from "../core/provenance.ts";

export type PlacedText = { readonly place: string; readonly text: string };
export type PlacedValue = {
  /** Of a property's name: `name of` and where the property is. */
  readonly path: string;
  /** The top-level argument it is in. */
  readonly argument: string;
  readonly value: string;
  readonly places: readonly string[];
};

/** A reviewer waits: a longer conversation is not searched to its beginning. In characters. */
const maxSearched = 1_000_000;
/** Of values, and of names: neither crowds out the other. */
const maxValues = 100;
const maxPlaces = 5;
const maxShown = 120;
const maxPath = 300;

/**
 * Where each value of a call stands word for word, the newest texts first, and each name of a property that `schema`, the tool's
 * parameters, does not give: a model may choose those as it chooses a text. By the same rules as labels are given. `unlisted`: how many
 * more there are.
 */
export function placesOf(
  args: Json,
  texts: readonly PlacedText[],
  schema?: Json,
): { readonly values: readonly PlacedValue[]; readonly unlisted: number; readonly searchedAll: boolean } {
  const leaves = leavesOf(args, at(schema));
  const [names, others] = [leaves.filter(({ isName }) => isName), leaves.filter(({ isName }) => !isName)];
  const values = [...others.slice(0, maxValues), ...names.slice(0, maxValues)];
  let searched = 0;
  let searchedAll = true;
  const places = values.map((): string[] => []);
  const sought = values.map(({ value }) => soughtValue(value));
  for (const { place, text } of texts.toReversed()) {
    if (searched + text.length > maxSearched) {
      searchedAll = false;
      continue;
    }
    searched += text.length;
    const indexed = indexTexts([text]);
    for (const [index, value] of sought.entries()) {
      const own = places[index] ?? [];
      if (own.length < maxPlaces && !own.includes(place) && standsIn(value, indexed)) own.push(place);
    }
  }
  return {
    searchedAll,
    unlisted: leaves.length - values.length,
    values: values.map(({ path, argument, value }, index) => ({
      path: path.slice(0, maxPath).toWellFormed(),
      argument,
      value: value.slice(0, maxShown).toWellFormed(),
      places: places[index] ?? [],
    })),
  };
}

/** The paths whose values are others in `after`, or were not there in `before`, and those of names that were not. */
export function changedPaths(before: Json, after: Json, schema?: Json): ReadonlySet<string> {
  const known = new Map(leavesOf(before, at(schema)).map(({ path, value }) => [path, value]));
  const fresh = leavesOf(after, at(schema)).filter(({ path, value }) => known.get(path) !== value);
  return new Set(fresh.map(({ path }) => path.slice(0, maxPath).toWellFormed()));
}

type Leaf = { readonly path: string; readonly argument: string; readonly value: string; readonly isName: boolean };
/** Where a value is, and what the tool's parameters say of it there. */
type Place = { readonly path: string; readonly argument: string; readonly schema: Json | undefined };

/** Without a schema the names of the arguments are the tool's all the same. */
const at = (schema: Json | undefined): Place => ({ path: "", argument: "", schema });

function leavesOf(value: Json, { path, argument, schema }: Place): readonly Leaf[] {
  if (value === null || typeof value === "boolean") return [];
  if (typeof value !== "object") return [{ path, argument, value: String(value), isName: false }];
  if (Array.isArray(value)) {
    const items = propertyOf(schema, "items");
    return value.flatMap((inner: Json, index) =>
      leavesOf(inner, { path: `${path}[${index}]`, argument, schema: items }),
    );
  }
  const declared = propertyOf(schema, "properties");
  return Object.entries(value).flatMap(([name, inner]): readonly Leaf[] => {
    const isTop = path === "";
    const own = isTop ? name : argument;
    const where = isTop ? name : `${path}.${name}`;
    const ofTool = propertyOf(declared, name) ?? (isTop && schema === undefined ? {} : undefined);
    const within = { path: where, argument: own, schema: ofTool ?? propertyOf(schema, "additionalProperties") };
    const named = { path: `name of ${where}`, argument: own, value: name, isName: true };
    return [...(ofTool === undefined ? [named] : []), ...leavesOf(inner, within)];
  });
}

function propertyOf(value: Json | undefined, name: string): Json | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value) || !Object.hasOwn(value, name))
    return undefined;
  return (value as { readonly [key: string]: Json })[name];
}
