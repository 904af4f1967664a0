/** A place in a text: line and column from 1, columns in characters. */
export type Place = { readonly line: number; readonly column: number };

/** Of a byte of UTF-8, which is how Cedar counts. */
export function placeOf(text: string, byte: number): Place {
  return endOf(Buffer.from(text, "utf8").subarray(0, byte).toString("utf8"));
}

/** What comes right after this text. */
export function endOf(before: string): Place {
  const lines = before.split("\n");
  return { line: lines.length, column: Array.from(lines.at(-1) ?? "").length + 1 };
}

/** A place within a text that itself begins at `start`. */
export function placeWithin(start: Place, { line, column }: Place): Place {
  return line === 1 ? { line: start.line, column: start.column + column - 1 } : { line: start.line + line - 1, column };
}

/** Where a policy has an annotation; strings and comments are not looked into. */
export function placeOfAnnotation(text: string, name: string): Place | undefined {
  const found = [...bareOf(text).matchAll(/@([a-zA-Z_]\w*)/g)].find((match) => match[1] === name);
  return found === undefined ? undefined : endOf(text.slice(0, found.index));
}

/** Where a policy's nth `when` or `unless` begins. */
export function placeOfClause(text: string, clause: number): Place | undefined {
  const found = [...bareOf(text).matchAll(/\b(?:when|unless)\s*\{/g)][clause];
  return found === undefined ? undefined : endOf(text.slice(0, found.index));
}

/** The text with blanks for its strings and comments. */
function bareOf(text: string): string {
  return text.replace(/"(?:[^"\\]|\\.)*"|\/\/[^\n]*/g, (found) => " ".repeat(found.length));
}
