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
  /** Words with signs at their ends that a name may have, see {@link dressedAs}. */
  readonly dressed: ReadonlySet<string>;
};

/** Between texts that do not follow each other: no value has such a token. */
const gap = "\u0001";
const separators = /[\s"'`“”‘’«»[\](){}<>,;|]+/u;
/** Line breaks and quotes as a text that quotes another writes them. */
const writtenEscapes = /\\[nrt"'\\/]/g;
const groupedThousands = /(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])/g;
const edgesBefore = ".!?:*~\\#@_=-";
const edgesBehind = ".!?:*~\\_=-";
const sentenceEnds = ".!?:";
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

function lowered(word: string): string {
  return word.replaceAll(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/** Without these at its ends. A pattern that ends in `+$` would look at a long row of them from each of its places. */
function trimmed(text: string, before: string, behind: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && before.includes(text.charAt(start))) start += 1;
  while (end > start && behind.includes(text.charAt(end - 1))) end -= 1;
  return text.slice(start, end);
}

function normalized(word: string): string {
  const name = trimmed(lowered(word), edgesBefore, edgesBehind);
  const token = trimmed(name.replace(/^https?:\/\//, ""), "", "/");
  const number = amount.exec(token);
  if (number === null) return token;
  const decimals = trimmed(number[2] ?? "", "", "0");
  return decimals === "" ? (number[1] ?? "") : `${number[1]}.${decimals}`;
}

/**
 * A word with the signs at its ends that may make it another name: `_ada`, `ada_`, `*@shop.org`, `~/notes`, `-5`, and backslashes that a text
 * which quotes another writes. Undefined where it has none: what ends a sentence is none, nor is one `@` or `#` before a name.
 */
function dressedAs(word: string): string | undefined {
  const bare = trimmed(lowered(word), "", sentenceEnds).replace(/^[@#](?![.!?:*~\\#@_=-])/, "");
  return /^[.!?:*~\\#@_=-]|[*~\\_=-]$|\\[nrt"'\\/]/.test(bare) && normalized(bare) !== "" ? bare : undefined;
}

/** Signs at a word's end that are taken off one by one, and how long a word of a text may be for it. */
const mostPeeled = 4;
const longestPeeled = 1_000;
const leading = /^[.!?:*~\\#@_=-]{0,4}/;
const trailing = /[.!?:*~\\#@_=-]{0,4}$/;

/** A word, and what is left of it without some of the signs at its ends: a text may have them around a name. */
function peeled(word: string): readonly string[] {
  if (word.length > longestPeeled || dressedAs(word) === undefined) return [];
  const lower = lowered(word);
  const [before, behind] = [leading, trailing].map((signs) => signs.exec(lower)?.[0].length ?? 0);
  const found = new Set<string>();
  for (let start = 0; start <= Math.min(before ?? 0, mostPeeled); start += 1) {
    for (let end = 0; end <= Math.min(behind ?? 0, mostPeeled); end += 1) {
      const left = dressedAs(lower.slice(start, lower.length - end));
      if (left !== undefined) found.add(left);
    }
  }
  return [...found];
}

/** Words as they are written, and where a text quotes another, as that has them. */
function wordsIn(text: string): readonly string[] {
  const written = text.split(separators);
  return text.includes("\\") ? [...written, ...text.replaceAll(writtenEscapes, " ").split(separators)] : written;
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
    dressed: new Set(texts.flatMap((text) => wordsIn(text).flatMap(peeled))),
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
  /** Words of it that have to stand in the text with the very signs at their ends: `ada_` is not `ada`. */
  readonly dressed: readonly string[];
  readonly weak: boolean;
};

/** The root, a home, the folder above, whatever there is: unlike dashes and dots between words, these say something. */
const telling = /[/\\~*@#%$^&+]|^\.{1,2}$/;

export function soughtValue(value: string): SoughtValue {
  const { tokens, marks: all } = readingOf(value);
  if (tokens.length === 0) return { spellings: [], marks: all, dressed: [], weak: false };
  const marks = all.filter((mark) => telling.test(mark));
  const glued = tokens.join("");
  const spellings = [tokens];
  if (accountLike.test(glued)) {
    if (tokens.length > 1) spellings.push([glued]);
    spellings.push(glued.match(/.{1,4}/g) ?? []);
  }
  const dressed = value.split(separators).flatMap((word) => dressedAs(word) ?? []);
  return { spellings, marks, dressed, weak: tokens.length === 1 && weakDigits.test(tokens[0] ?? "") };
}

/** Whether the text has the value's tokens one after the other, and its punctuation. A value that has neither stands nowhere. */
export function standsIn({ spellings, marks, dressed }: SoughtValue, text: IndexedText): boolean {
  if (!marks.every((mark) => text.marks.has(mark)) || !dressed.every((word) => text.dressed.has(word))) return false;
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

/** Shows nothing, but for what makes a picture of the sign before it. */
const unseen = /(?!\uFE0F)\p{Default_Ignorable_Code_Point}|(?<!\p{Extended_Pictographic})\uFE0F|\u2800/u;
/** Mathematical and circled letters, each a picture of a plain one. */
const styled = /[\u{1D400}-\u{1D7FF}\u24B6-\u24E9]/u;

/** {@link mixesScripts}, and by the other ways in which Unicode writes what looks like a plain letter, or nothing. */
export function looksLikeAnother(text: string): boolean {
  if (mixesScripts(text) || unseen.test(text) || styled.test(text)) return true;
  // Whole words of full-width letters are how some write.
  return tokensOf(text).some((token) => /[\uFF01-\uFF5E]/.test(token) && /[a-z0-9]/.test(token));
}
