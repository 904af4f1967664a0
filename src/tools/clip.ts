/** `text` as one well-formed line of at most `max` characters. For what others wrote and we repeat. */
export function clip(text: string, max: number): string {
  const line = text.toWellFormed().replaceAll(/[\p{Cc}\u2028\u2029]+/gu, " ");
  return line.length <= max ? line : `${line.slice(0, max - 1).toWellFormed()}…`;
}
