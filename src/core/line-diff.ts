export type DiffLine = { readonly mark: " " | "-" | "+"; readonly line: string };

/**
 * How one text becomes another, line by line: what they begin and end with alike stays, what is between goes and comes as a whole. Linear
 * in the length of both, however they were chosen; nothing of either is left out.
 */
export function lineDiff(before: readonly string[], after: readonly string[]): readonly DiffLine[] {
  const shorter = Math.min(before.length, after.length);
  let head = 0;
  while (head < shorter && before[head] === after[head]) head += 1;
  let tail = 0;
  while (tail < shorter - head && before.at(-1 - tail) === after.at(-1 - tail)) tail += 1;
  const marked = (mark: DiffLine["mark"], lines: readonly string[]) => lines.map((line): DiffLine => ({ mark, line }));
  return [
    ...marked(" ", before.slice(0, head)),
    ...marked("-", before.slice(head, before.length - tail)),
    ...marked("+", after.slice(head, after.length - tail)),
    ...marked(" ", before.slice(before.length - tail)),
  ];
}
