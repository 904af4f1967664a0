import { mixesScripts } from "../core/provenance.ts";

/**
 * Characters that show nothing, or turn what is around them, as `\u{…}`: control, format (bidirectional ones above all), surrogate,
 * private and unassigned ones, separators and spaces but the plain one, and what Unicode says may be ignored.
 */
export function visible(text: string): string {
  return text.replace(
    /(?! )[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Z}\p{Default_Ignorable_Code_Point}\u2800]/gu,
    (character) => `\\u{${character.codePointAt(0)?.toString(16) ?? ""}}`,
  );
}

/** Quoted, so that what follows the closing quote is ours. */
export function quoted(text: string): string {
  return visible(JSON.stringify(text));
}

/** Begins each line of somebody else's text: none of its lines can pass for one of ours. */
const margin = "│ ";

/**
 * A text of several lines as it is, each with a margin. A backslash is written twice, so that what is written out can be told from a text
 * that spells it; spaces at a line's end are written out.
 */
export function lined(text: string, mark = ""): readonly string[] {
  return text.split("\n").map((line) => `${margin}${mark}${visibleLine(line)}`.trimEnd());
}

function visibleLine(line: string): string {
  const escaped = line.replaceAll("\\", "\\\\").replaceAll("\t", "\\t").replaceAll("\r", "\\r");
  const shown = visible(escaped);
  // A pattern that ends in ` +$` would look at a long row of spaces from each of them.
  let end = shown.length;
  while (end > 0 && shown.charAt(end - 1) === " ") end -= 1;
  return `${shown.slice(0, end)}${"\\u{20}".repeat(shown.length - end)}`;
}

/** The same without margins: for a place of its own, where nothing else stands. */
export function visibleText(text: string): string {
  return text.split("\n").map(visibleLine).join("\n");
}

/** Longest list of letters that a note names. */
const maxLetters = 8;

/**
 * What the eye could miss in a text: look-alike letters among others, or, in an address, any letter beyond ASCII and an encoded host
 * name. Empty: nothing. Elsewhere whole words of one script are told nobody: texts are written in all languages.
 */
export function lookalikeNote(text: string, isAddress: boolean): string {
  if (!isAddress && !mixesScripts(text)) return "";
  const letters = [...new Set(text.match(/(?![a-z])[\p{L}\p{M}]/giu) ?? [])].filter((letter) => letter > "\x7f");
  if (letters.length === 0) return /(?:^|[./@])xn--/i.test(text) ? " [! an encoded international name]" : "";
  const named = letters.slice(0, maxLetters).map((letter) => `U+${codeOf(letter)}`);
  const more = letters.length > maxLetters ? ` and ${letters.length - maxLetters} more` : "";
  return ` [! letters that may look like others: ${named.join(" ")}${more}]`;
}

function codeOf(letter: string): string {
  return (letter.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
}
