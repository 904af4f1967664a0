/**
 * Whether a value stands in a text: word for word, so that where a call's values came from can be told without asking what a text means.
 * Comparison is by whole tokens: a part of a trusted address is not that address, and neither is a look-alike.
 */

/** A text made ready to be searched. */
export type IndexedText = {
  /** All tokens in their order, each between NULs. */
  readonly joined: string;
  readonly tokens: ReadonlySet<string>;
  /** Words that are nothing but punctuation, as they are. */
  readonly marks: ReadonlySet<string>;
};

/** Between texts that do not follow each other: no value has such a token. */
const gap = "\u0001";
const separators = /[\s"'`“”‘’«»[\](){}<>,;|]+/u;
/** Line breaks and quotes as a text that quotes another writes them. */
const writtenEscapes = /\\[nrt"'\\/]/g;
const groupedThousands = /(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])/g;
const edges = /^[.!?:*~\\#@_=-]+|[.!?:*~\\_=-]+$/g;
const amount = /^[$€£¥]?(\d+)(?:\.(\d+))?[$€£¥%]?$/;
/** Account and card numbers, which people write in groups of four. */
const accountLike = /^(?:[a-z]{2}\d{2}[a-z0-9]{8,30}|\d{12,19})$/;
/** Digits alone are too often the same by accident: a day, a count, an id. */
const weakDigits = /^\d{1,4}$/;

/**
 * The tokens of a text: what stands between white space, quotes, brackets, commas and semicolons, without punctuation at its ends,
 * `http(s)://`, a trailing slash, thousands separators, currency signs and zeros after the decimals. ASCII letters in lower case; all else
 * as it is.
 */
export function tokensOf(text: string): readonly string[] {
  return readingOf(text).tokens;
}

/** The tokens of a text, and the words of which nothing is left: `/`, `~/`, `..`, `*`. */
function readingOf(text: string): { readonly tokens: readonly string[]; readonly marks: readonly string[] } {
  const tokens: string[] = [];
  const marks: string[] = [];
  const words = text
    .replaceAll(writtenEscapes, " ")
    // They stand between tokens and texts here.
    .replaceAll("\0", " ")
    .replaceAll(gap, " ")
    .replaceAll(groupedThousands, (number) => number.replaceAll(",", ""))
    .split(separators);
  for (const word of words) {
    const token = normalized(word);
    if (token !== "") tokens.push(token);
    else if (word !== "") marks.push(word);
  }
  return { tokens, marks };
}

function normalized(word: string): string {
  const lower = word.replaceAll(/[A-Z]+/g, (letters) => letters.toLowerCase());
  const token = lower
    .replaceAll(edges, "")
    .replace(/^https?:\/\//, "")
    .replace(/\/+$/, "");
  const number = amount.exec(token);
  if (number === null) return token;
  const decimals = (number[2] ?? "").replace(/0+$/, "");
  return decimals === "" ? (number[1] ?? "") : `${number[1]}.${decimals}`;
}

/** Makes texts ready to be searched as one; a value that begins in one and ends in the next is not found. */
export function indexTexts(texts: readonly string[]): IndexedText {
  const readings = texts.map(readingOf);
  const tokens = readings.flatMap((reading, index) => (index === 0 ? reading.tokens : [gap, ...reading.tokens]));
  const marks = readings.flatMap((reading) => reading.marks);
  return {
    joined: `\0${tokens.join("\0")}\0`,
    tokens: new Set(tokens),
    // A full stop behind one ends a sentence, unless there are more of them.
    marks: new Set([...marks, ...marks.map((mark) => mark.replace(/(?<=[^.])[.!?:]$/, ""))]),
  };
}

const day = String.raw`(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4})`;
const hour = String.raw`\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:z|[+-]\d{2}:?\d{2})?`;
const moment = new RegExp(`^(?:${day}(?:[t\\s]+${hour})?|${hour})$`, "i");

/** Short digits, and days and hours in figures: they stand in too many texts to say whose idea a value was. */
export function isCommon(value: string): boolean {
  return soughtValue(value).weak || moment.test(value.trim());
}

/** A value made ready to be searched for. */
export type SoughtValue = {
  /** The ways in which it may be written. None: it has no token. */
  readonly spellings: readonly (readonly string[])[];
  /** Punctuation by itself that has to stand in the text too: all of it in a value without tokens, else what may name a place. */
  readonly marks: readonly string[];
  readonly weak: boolean;
};

/** The root, a home, the folder above, whatever there is: unlike dashes and dots between words, these say something. */
const telling = /[/\\~*@#%$^&+]|^\.{1,2}$/;

export function soughtValue(value: string): SoughtValue {
  const { tokens, marks: all } = readingOf(value);
  if (tokens.length === 0) return { spellings: [], marks: all, weak: false };
  const marks = all.filter((mark) => telling.test(mark));
  const glued = tokens.join("");
  const spellings = [tokens];
  if (accountLike.test(glued)) {
    if (tokens.length > 1) spellings.push([glued]);
    spellings.push(glued.match(/.{1,4}/g) ?? []);
  }
  return { spellings, marks, weak: tokens.length === 1 && weakDigits.test(tokens[0] ?? "") };
}

/** Whether the text has the value's tokens one after the other, and its punctuation. A value that has neither stands nowhere. */
export function standsIn({ spellings, marks }: SoughtValue, text: IndexedText): boolean {
  if (!marks.every((mark) => text.marks.has(mark))) return false;
  if (spellings.length === 0) return marks.length > 0;
  return spellings.some(
    (tokens) =>
      tokens.length > 0 &&
      tokens.every((token) => text.tokens.has(token)) &&
      text.joined.includes(`\0${tokens.join("\0")}\0`),
  );
}

const hidden = /[\u00AD\u200B-\u200F\u202A-\u202E\u2060-\u2064\u2066-\u2069\uFEFF]/u;
const punycode = /(?:^|[./@])xn--/i;
/** Scripts with letters that look like another's. */
const scripts = [
  /\p{Script=Latin}/u,
  /\p{Script=Cyrillic}/u,
  /\p{Script=Greek}/u,
  /\p{Script=Armenian}/u,
  /\p{Script=Cherokee}/u,
];

/** A word that mixes scripts with look-alike letters, characters that are not seen, or an encoded international host name. */
export function mixesScripts(text: string): boolean {
  if (hidden.test(text) || punycode.test(text)) return true;
  const words = text.match(/[\p{L}\p{M}]+/gu) ?? [];
  return words.some((word) => scripts.filter((script) => script.test(word)).length > 1);
}

const linkPattern =
  /(?:[a-z][a-z0-9+.-]{0,20}:\/\/|www\.)[^\s"'<>()[\]{},;]+|(?<![@\w.-])(?:[a-z0-9-]{1,63}\.){1,8}[a-z]{2,24}(?::\d{1,5})?\/[^\s"'<>()[\]{},;]*|(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?\/[^\s"'<>()[\]{},;]*|(?<![@\w./-])(?:[a-z0-9-]{1,63}\.){1,8}(?:com|net|org|info|biz|io|co|app|dev|xyz|top|site|online|shop|club|link|click|ru|cn|de|uk|fr|eu|me|ly|gg|to|cc|tk|ai)(?![\w@-])/gi;
/** Links in one text that are looked at. */
const maxLinks = 1_000;
/** Stands for all links that are not looked at, and is nobody's: no pattern finds it. */
export const otherLinks = "…";

/**
 * What a reader could follow: URLs, `www.` names, addresses with a path, and bare host names under common top-level domains. With
 * {@link otherLinks} at the end where there are more than are looked at.
 */
export function linksIn(text: string): readonly string[] {
  const found = new Set<string>();
  for (const [link] of text.matchAll(linkPattern)) {
    if (found.size === maxLinks && !found.has(link)) return [...found, otherLinks];
    found.add(link);
  }
  return [...found];
}
