import type { Json } from "../core/json.ts";
import { indexTexts, soughtValue, standsIn } from "../core/provenance.ts";

export type PlacedText = { readonly place: string; readonly text: string };
export type PlacedValue = {
  readonly path: string;
  /** The top-level argument it is in. */
  readonly argument: string;
  readonly value: string;
  readonly places: readonly string[];
};

/** A reviewer waits: a longer conversation is not searched to its beginning. In characters. */
const maxSearched = 1_000_000;
const maxValues = 100;
const maxPlaces = 5;
const maxShown = 120;

/** Where each value of a call stands word for word, the newest texts first; by the same rules as labels are given. */
export function placesOf(
  args: Json,
  texts: readonly PlacedText[],
): { readonly values: readonly PlacedValue[]; readonly searchedAll: boolean } {
  const values = leavesOf(args, "", "").slice(0, maxValues);
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
    values: values.map((leaf, index) => ({
      ...leaf,
      value: leaf.value.slice(0, maxShown).toWellFormed(),
      places: places[index] ?? [],
    })),
  };
}

/** The paths whose values are others in `after`, or were not there in `before`. */
export function changedPaths(before: Json, after: Json): ReadonlySet<string> {
  const known = new Map(leavesOf(before, "", "").map(({ path, value }) => [path, value]));
  return new Set(leavesOf(after, "", "").flatMap(({ path, value }) => (known.get(path) === value ? [] : [path])));
}

type Leaf = { readonly path: string; readonly argument: string; readonly value: string };

function leavesOf(value: Json, path: string, argument: string): readonly Leaf[] {
  if (value === null || typeof value === "boolean") return [];
  if (typeof value !== "object") return [{ path, argument, value: String(value) }];
  if (Array.isArray(value))
    return value.flatMap((inner: Json, index) => leavesOf(inner, `${path}[${index}]`, argument));
  return Object.entries(value).flatMap(([name, inner]) =>
    leavesOf(inner, path === "" ? name : `${path}.${name}`, path === "" ? name : argument),
  );
}
