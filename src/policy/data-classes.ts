import { parsePhoneNumberFromString } from "libphonenumber-js/min";
import validator from "validator";

import { dataClasses, flowRules } from "../core/labels.ts";
import type { DataClass, FlowRules } from "../core/labels.ts";

/** Candidates of one class that are checked before it is given up: a text of nothing but near misses must not cost more. */
const maxCandidates = 2_000;

type Detector = {
  readonly pattern: RegExp;
  readonly holds?: (candidate: string) => boolean;
  /** How much of a candidate that holds is the value; absent: all of it. */
  readonly reach?: (candidate: string) => number;
  /** What belongs to the value beside what tells it: sticky, at the end of what was found; and what may stand right before it. */
  readonly after?: RegExp;
  readonly before?: RegExp;
  /** What says that a value follows, and may stay. */
  readonly keeps?: RegExp;
};

/** People write numbers in groups, with whatever looks like a gap. */
const groupGap = String.raw`[\s\u2010-\u2015-]`;
const groupGaps = new RegExp(groupGap, "g");
/** A pattern tells a token by as much of it as it needs. */
const restOfToken = /[\w-]*/y;
/** `password: "`, before what it is. */
const named = /^[^:=]*[:=]\s*["']?/;

/**
 * A match begins at few places of a text, or is short: so each is linear in the text. What repeats without a bound must not be able to
 * begin anew within itself.
 */
const detectors: Readonly<Partial<Record<DataClass, readonly Detector[]>>> = {
  email: [
    {
      pattern: /(?<![\w.+-])[\w.+-]{1,64}@[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,8}/gi,
      holds: (text) => validator.isEmail(text.replace(/\.$/, "")),
    },
  ],
  // Without a country code a number could be anything.
  phone: [
    {
      pattern: /(?<![\w+])\+\d[\d ().-]{6,20}\d(?!\d)/g,
      holds: (text) => parsePhoneNumberFromString(text)?.isValid() ?? false,
    },
  ],
  // ISO 13616: the check digits are modulo 97. Looked at from each beginning: what looks like one may reach into the next.
  iban: [
    {
      pattern: new RegExp(
        `(?<![a-z0-9])(?=((?:${validator.ibanLocales.join("|")})\\d{2}(?:${groupGap}?[a-z0-9]){11,30}(?![a-z0-9])))`,
        "gi",
      ),
      holds: (text) => ibanIn(text) !== undefined,
      reach: (text) => lengthWithGaps(text, ibanIn(text)?.length ?? text.length),
    },
  ],
  // ISO/IEC 7812: Luhn's check digit, with the prefixes of the card brands.
  card: [
    {
      pattern: /(?<![\w.])\d(?:[ -]?\d){11,18}(?![\w])/g,
      holds: (text) => validator.isCreditCard(text.replaceAll(/[ -]/g, "")),
    },
  ],
  national_id: [
    // US: area, group and serial numbers that are never given out are no number.
    { pattern: /(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])/g },
    // Spain: the letter is modulo 23.
    {
      pattern: /(?<!\w)[XYZ]?\d{7,8}-?[A-HJ-NP-TV-Z](?!\w)/g,
      holds: (text) => validator.isIdentityCard(text.replace("-", ""), "ES"),
    },
    // Italy: the last letter is a check over the others.
    {
      pattern: /(?<!\w)[A-Z]{6}\d{2}[ABCDEHLMPRST]\d{2}[A-Z]\d{3}[A-Z](?!\w)/g,
      holds: (text) => validator.isTaxID(text, "it-IT"),
    },
    // Brazil: two digits modulo 11.
    { pattern: /(?<![\w.])\d{3}\.\d{3}\.\d{3}-\d{2}(?!\w)/g, holds: (text) => validator.isTaxID(text, "pt-BR") },
    // United Kingdom: no checksum; prefixes that are never used are no number.
    {
      pattern: /(?<!\w)(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D](?!\w)/g,
    },
  ],
  secret: [
    {
      pattern: /-----BEGIN (?:[A-Z]{1,12} ){0,3}PRIVATE KEY-----/g,
      // The key itself; to the end of the text where its own end is not there.
      after: /[^]*?-----END (?:[A-Z]{1,12} ){0,3}PRIVATE KEY-----|[^]*/y,
    },
    { pattern: /(?<!\w)(?:AKIA|ASIA)[A-Z0-9]{16}(?!\w)/g },
    { pattern: /(?<!\w)gh[pousr]_[A-Za-z0-9]{36,255}(?!\w)|(?<!\w)github_pat_\w{60,255}/g, after: restOfToken },
    { pattern: /(?<!\w)xox[abposr]-[A-Za-z0-9-]{10,250}/g, after: restOfToken },
    { pattern: /(?<!\w)AIza[\w-]{35}(?![\w-])/g },
    { pattern: /(?<!\w)sk-(?:ant-|proj-)?[\w-]{20,250}|(?<!\w)[rs]k_live_[A-Za-z0-9]{16,250}/g, after: restOfToken },
    // RFC 7519: from the dot in its middle, as any place in a long word could be where one begins.
    {
      pattern: /\.(?<=eyJ[\w-]{8,20000}\.)eyJ[\w-]{8,20000}\.[\w-]{16}/g,
      before: /[\w-]/,
      after: restOfToken,
    },
    {
      pattern: /(?:password|passwd|secret|api[_-]?key|access[_-]?token)["']?\s{0,3}[:=]\s{0,3}["']?[^\s"'<>]{8,200}/gi,
      holds: (text) => variety(text.replace(named, "")) >= 3,
      keeps: named,
      after: /[^\s"'<>]*/y,
    },
  ],
};

/** The classes that are found here: those that are left need another detector. */
export const ownDataClasses: readonly DataClass[] = dataClasses.filter((name) => detectors[name] !== undefined);

/** The longest first: what follows an account number may look like a part of it. */
function prefixes(text: string, shortest: number): readonly string[] {
  return Array.from({ length: Math.max(0, text.length - shortest + 1) }, (_, cut) => text.slice(0, text.length - cut));
}

/** How many kinds of characters: of a real secret at least three; a word in a sentence has one. */
function variety(text: string): number {
  return [/[a-z]/, /[A-Z]/, /\d/, /[^A-Za-z0-9]/].filter((kind) => kind.test(text)).length;
}

/**
 * The classes of personal and secret data that a text holds, sorted. By checksum where the kind has one; never a promise that there is none.
 * From the fourth rules on also in what a person reads of it: whatever the gaps, dashes and digits in it are, and whatever is not seen between.
 */
export function dataClassesIn(text: string, rules: FlowRules = flowRules): readonly DataClass[] {
  const plain = rules < 4 ? text : asSeen(text);
  const texts = plain === text ? [text] : [text, plain];
  return dataClasses
    .filter((name) => (detectors[name] ?? []).some((detector) => texts.some((one) => finds(detector, one))))
    .toSorted();
}

const beyondAscii = /[^\0-\x7f]/;
const notSeen = /\p{Default_Ignorable_Code_Point}/gu;

/** In plain signs, without those that are not seen. */
function asSeen(text: string): string {
  if (!beyondAscii.test(text)) return text;
  return text
    .normalize("NFKC")
    .replaceAll(notSeen, "")
    .replaceAll(/\p{Pd}/gu, "-");
}

function finds(detector: Detector, text: string): boolean {
  return !found(detector, text).next().done;
}

type Found = { readonly candidate: string; readonly at: number };

/** What a detector finds in a text, each as it comes; `candidate` is null where there are too many near misses to tell. */
function* found({ pattern, holds }: Detector, text: string): Generator<Found | null, undefined> {
  let misses = 0;
  for (const match of text.matchAll(pattern)) {
    const candidate = match[1] ?? match[0];
    if (holds === undefined || holds(candidate)) yield { candidate, at: match.index };
    else misses += 1;
    // As many near misses as this are not given the benefit of the doubt.
    if (misses === maxCandidates) yield null;
    if (misses === maxCandidates) return undefined;
  }
  return undefined;
}

/** What stands in the place of what is redacted. No detector may find it, nor with what may stand before and after it. */
export const redacted = "[redacted]";

/** Taking a value away may leave its neighbours looking like one. */
const maxRounds = 5;

/**
 * The text with all that its detectors find of the classes replaced; itself where they find nothing. Undefined where that cannot be made: a
 * class that only others find, more near misses than are looked at, or something new to be found each time.
 */
export function withoutDataClasses(text: string, classes: readonly DataClass[]): string | undefined {
  if (classes.some((name) => detectors[name] === undefined)) return undefined;
  const wanted = classes.flatMap((name) => detectors[name] ?? []);
  let made = text;
  for (let round = 0; round < maxRounds; round += 1) {
    const places: Place[] = [];
    for (const detector of wanted) {
      const own = placesOf(detector, made);
      if (own === undefined) return undefined;
      for (const place of own) places.push(place);
    }
    if (places.length === 0) return made;
    made = replaced(made, places);
  }
  return undefined;
}

type Place = { readonly start: number; readonly end: number };

function placesOf(detector: Detector, text: string): readonly Place[] | undefined {
  const places: Place[] = [];
  let covered = 0;
  for (const one of found(detector, text)) {
    if (one === null) return undefined;
    // What reaches far is looked for once, or a text of nothing but beginnings would be read as often as it has any.
    if (detector.after !== undefined && one.at < covered) continue;
    const place = placeOf(detector, text, one);
    covered = place.end;
    places.push(place);
  }
  return places;
}

function placeOf({ reach, after, before, keeps }: Detector, text: string, { candidate, at }: Found): Place {
  let start = at + (keeps?.exec(candidate)?.[0].length ?? 0);
  while (before !== undefined && start > 0 && before.test(text.charAt(start - 1))) start -= 1;
  const end = at + (reach?.(candidate) ?? candidate.length);
  if (after === undefined) return { start, end };
  after.lastIndex = end;
  return { start, end: end + (after.exec(text)?.[0].length ?? 0) };
}

/** Places that overlap are one. */
function replaced(text: string, places: readonly Place[]): string {
  const pieces: string[] = [];
  let at = 0;
  for (const { start, end } of places.toSorted((a, b) => a.start - b.start)) {
    if (end <= at) continue;
    if (start >= at) pieces.push(text.slice(at, start), redacted);
    at = end;
  }
  return [...pieces, text.slice(at)].join("");
}

function ibanIn(text: string): string | undefined {
  return prefixes(text.replaceAll(groupGaps, ""), 15).find((candidate) => validator.isIBAN(candidate));
}

/** How long a text is up to its so manyth character that is no gap. */
function lengthWithGaps(text: string, characters: number): number {
  let seen = 0;
  for (let at = 0; at < text.length; at += 1) {
    groupGaps.lastIndex = 0;
    if (!groupGaps.test(text.charAt(at))) seen += 1;
    if (seen === characters) return at + 1;
  }
  return text.length;
}
