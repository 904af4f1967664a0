import type { Json } from "../core/json.ts";
import { linksIn, mixesScripts, tokensOf } from "../core/provenance.ts";
import { textsIn } from "./flow-leaves.ts";

/** A result in two parts: names that are the system's own, and all else that can be read in it. */
export type ResultParts = { readonly identifiers: readonly string[]; readonly texts: readonly string[] };

const longestIdentifier = 128;
/** In a place: each item of a list. */
const eachItem = "*";

/**
 * Parts a result by the places that its tool declares as `identifiers`, such as `*.sender`. What stands at one is an identifier if it is a
 * number or one word that is no link; anything else is text, as is a whole result that has another shape. Names of declared properties are the tool's own.
 */
export function partsOf(value: Json, places: readonly string[]): ResultParts {
  return partsAt(
    value,
    places.map((place) => place.split(".")),
  );
}

function partsAt(value: Json, places: readonly (readonly string[])[]): ResultParts {
  if (places.length === 0) return { identifiers: [], texts: textsIn(value) };
  if (value === null || typeof value === "boolean") return { identifiers: [], texts: [] };
  if (typeof value !== "object") {
    const text = String(value);
    return places.some((rest) => rest.length === 0) && isIdentifier(text)
      ? { identifiers: [text], texts: [] }
      : { identifiers: [], texts: [text] };
  }
  if (Array.isArray(value)) {
    const within = below(places, eachItem);
    return joined(value.map((item: Json) => partsAt(item, within)));
  }
  return joined(
    Object.entries(value).map(([name, inner]) => {
      const within = name === eachItem ? [] : below(places, name);
      const { identifiers, texts } = partsAt(inner, within);
      return { identifiers, texts: within.length === 0 ? [name, ...texts] : texts };
    }),
  );
}

function below(places: readonly (readonly string[])[], step: string): readonly (readonly string[])[] {
  return places.filter(([first]) => first === step).map((place) => place.slice(1));
}

function joined(parts: readonly ResultParts[]): ResultParts {
  return {
    identifiers: parts.flatMap(({ identifiers }) => identifiers),
    texts: parts.flatMap(({ texts }) => texts),
  };
}

/** A word can name something; it takes several to say something, and a link leads somewhere. */
function isIdentifier(text: string): boolean {
  return (
    text.length <= longestIdentifier &&
    !/\s/u.test(text) &&
    tokensOf(text).length === 1 &&
    !mixesScripts(text) &&
    linksIn(text).length === 0
  );
}
