import { isObject } from "../../core/json.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import type { FlowRules, IdentifierPlace } from "../../core/labels.ts";
import { linksIn } from "../../core/links.ts";
import { looksLikeAnother, mixesScripts, tokensOf } from "../../core/provenance.ts";
import { textsIn } from "./leaves.ts";

/** A result in parts: names that are the system's own, names of others that the system keeps, and all else that can be read in it. */
export type ResultParts = {
  readonly identifiers: readonly string[];
  /** What stands at a place whose conditions do not hold. */
  readonly strangers: readonly string[];
  readonly texts: readonly string[];
};

/** What is left of a place below a value. `where`: conditions that are still to be looked at; `isMet`: all others held. */
type Place = {
  readonly at: readonly string[];
  readonly where: readonly (readonly [path: readonly string[], value: Json])[];
  readonly isMet: boolean;
};

const longestIdentifier = 128;
/** In a place: each item of a list. */
const eachItem = "*";

/**
 * Parts a result by the places that its tool declares as `identifiers`, such as `*.sender`. What stands at one is an identifier if it is a
 * number or one word that is no link; anything else is text, as is a whole result that has another shape. Names of declared properties are the tool's own.
 */
export function partsOf(value: Json, places: readonly IdentifierPlace[], rules: FlowRules): ResultParts {
  return partsAt(value, places.flatMap(placesOf), rules);
}

function placesOf(place: IdentifierPlace): readonly Place[] {
  const { at, where } = typeof place === "string" ? { at: [place], where: {} } : place;
  const conditions = Object.entries(where).map(([path, value]) => [path.split("."), value] as const);
  return at.map((path) => ({ at: path.split("."), where: conditions, isMet: true }));
}

function partsAt(value: Json, places: readonly Place[], rules: FlowRules): ResultParts {
  if (places.length === 0) return { ...noParts, texts: textsIn(value) };
  if (value === null || typeof value === "boolean") return noParts;
  if (typeof value !== "object") {
    const text = String(value);
    const here = places.filter(({ at }) => at.length === 0);
    if (here.length === 0 || !isIdentifier(text, rules)) return { ...noParts, texts: [text] };
    return here.some(({ isMet }) => isMet) ? { ...noParts, identifiers: [text] } : { ...noParts, strangers: [text] };
  }
  if (!isObject(value)) {
    const within = below(places, eachItem);
    return joined(value.map((item: Json) => partsAt(item, within, rules)));
  }
  const looked = places.map((place) => lookedAt(place, value));
  return joined(
    Object.entries(value).map(([name, inner]) => {
      const within = name === eachItem ? [] : below(looked, name);
      const { texts, ...names } = partsAt(inner, within, rules);
      return { ...names, texts: within.length === 0 ? [name, ...texts] : texts };
    }),
  );
}

const noParts: ResultParts = { identifiers: [], strangers: [], texts: [] };

/** The place with those of its conditions that are about this object's own properties looked at. */
function lookedAt({ at, where, isMet }: Place, value: JsonObject): Place {
  const own = where.filter(([path]) => path.length === 1);
  const holds = own.every(([[name = ""], wanted]) => Object.hasOwn(value, name) && value[name] === wanted);
  return { at, where: where.filter(([path]) => path.length > 1), isMet: isMet && holds };
}

function below(places: readonly Place[], step: string): readonly Place[] {
  return places
    .filter(({ at }) => at[0] === step)
    .map(({ at, where, isMet }) => ({
      at: at.slice(1),
      where: where.map(([path, value]) => [path.slice(1), value] as const),
      // A condition on what was not met on the way never holds.
      isMet: isMet && where.every(([path]) => path[0] === step && path.length > 1),
    }));
}

function joined(parts: readonly ResultParts[]): ResultParts {
  return {
    identifiers: parts.flatMap(({ identifiers }) => identifiers),
    strangers: parts.flatMap(({ strangers }) => strangers),
    texts: parts.flatMap(({ texts }) => texts),
  };
}

/** A word can name something; it takes several to say something, and a link leads somewhere. */
function isIdentifier(text: string, rules: FlowRules): boolean {
  return (
    text.length <= longestIdentifier &&
    !/\s/u.test(text) &&
    tokensOf(text).length === 1 &&
    !(rules < 4 ? mixesScripts(text) : looksLikeAnother(text)) &&
    linksIn(text, rules).length === 0
  );
}
